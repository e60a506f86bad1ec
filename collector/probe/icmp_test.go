package probe

import (
	"net/netip"
	"strings"
	"testing"
)

// TestICMP needs a ping socket or CAP_NET_RAW; without both a probe says so.
func TestICMP(t *testing.T) {
	for _, module := range []string{"", "ttl: 3", "payload_size: 1000", "payload_size: 1", "dont_fragment: true", "source_ip_address: 127.0.0.1"} {
		p := probeWith(t, "prober: icmp\ntimeout: 10s\nicmp: {"+module+"}", "127.0.0.1", "debug", "true")
		if c, err := (&icmpModule{ttl: 64, dontFragment: strings.Contains(module, "dont")}).open(t.Context(), netip.MustParseAddr("127.0.0.1")); err != nil {
			p.wants(t, module, success(false))
			if !strings.Contains(p.body, "CAP_NET_RAW") {
				t.Errorf("%s: it does not say what is missing:\n%s", module, p.body)
			}
			continue
		} else {
			c.Close()
		}
		p.wants(t, module, map[string]float64{"probe_success": 1, "probe_ip_protocol": 4})
	}
	probeWith(t, "prober: icmp\nicmp: {ip_protocol_fallback: false}", "127.0.0.1").wants(t, "IPv6 only", map[string]float64{"probe_success": 0, "probe_ip_protocol": 0})
}
