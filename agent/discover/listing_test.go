package discover

import (
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestPublished(t *testing.T) {
	got := published([]container.Port{
		{IP: "0.0.0.0", PublicPort: 31001, PrivatePort: 443, Type: "tcp"}, {IP: "::", PublicPort: 31001, PrivatePort: 443, Type: "tcp"},
		{PrivatePort: 9000, Type: "tcp"}, {IP: "0.0.0.0", PublicPort: 31000, PrivatePort: 53, Type: "udp"},
	})
	if want := []string{"31000->53/udp", "31001->443/tcp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHostPorts(t *testing.T) {
	c := Container{Network: "host", Env: selectEnv([]string{"PORTS=31000,31001", "PORT_SECRET=x"})}
	if got := HostPorts(c); !slices.Equal(got, []string{"31000", "31001"}) {
		t.Errorf("%q", got)
	}
	if c.Network = "bridge"; HostPorts(c) != nil {
		t.Errorf("of a bridge: %q", HostPorts(c))
	}
}
