package checks

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// resolver is a DNS server on UDP and, at the same port, TCP.
func resolver(t *testing.T) string {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		t.Skip("the port is taken for TCP") // rare; the next run has another one
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		add := func(s string) {
			record, err := dns.NewRR(s)
			if err != nil {
				t.Error(err)
			}
			a.Answer = append(a.Answer, record)
		}
		_, overTCP := w.RemoteAddr().(*net.TCPAddr)
		switch q.Question[0].Name {
		case "good.":
			add("good. 60 IN A 10.0.0.2")
			add("good. 30 IN A 10.0.0.1")
		case "alias.":
			add("alias. 60 IN CNAME good.")
			add("good. 30 IN A 10.0.0.1")
		case "srv.":
			add("srv. 5 IN SRV 0 0 31000 host.mesos.")
		case "txt.":
			add(`txt. 5 IN TXT "a b"`)
		case "large.":
			if !overTCP {
				a.Truncated = true
				break
			}
			for i := range 100 {
				add("large. 9 IN A 10.0.1." + string(rune('0'+i%10)))
			}
		case "gone.":
			a.Rcode = dns.RcodeNameError
		case "broken.":
			a.Rcode = dns.RcodeServerFailure
		}
		w.WriteMsg(a)
	})
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return udp.LocalAddr().String()
}

// deaf takes packets and says what it is told, or nothing.
func deaf(t *testing.T, says string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		packet := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(packet)
			if err != nil {
				return
			}
			if says != "" {
				c.WriteTo(append(packet[:min(n, 2):2], says...), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	at := resolver(t)
	testKind(t, "dns", "", []trial{
		{name: "good", address: "good", options: opt("server", at), text: "A good.: 10.0.0.1, 10.0.0.2", metrics: "answers=2 ttl=30s"},
		{name: "by tcp", address: "good", options: opt("server", at, "tcp", "true"), text: "10.0.0.1"},
		{name: "wanted", address: "good.", options: opt("server", at, "answer", "10.0.0.2", "answer", "10.0.0.1")},
		{name: "condition", address: "good.", options: opt("server", at, "expect", "[DNS_RCODE] == NOERROR", "expect", "[BODY] == pat(*10.0.0.2*)")},
		{name: "alias", address: "alias", options: opt("server", at), text: ": 10.0.0.1"},
		{name: "srv", address: "srv", options: opt("server", at, "type", "srv", "answer", "0 0 31000 host.mesos")},
		{name: "txt", address: "txt", options: opt("server", at, "type", "txt", "answer", "a b")},
		{name: "cut, then by TCP", address: "large", options: opt("server", at), text: "and 95 more", metrics: "answers=100"},
		{name: "other answer", address: "good", options: opt("server", at, "answer", "10.0.0.3"), want: Critical, signal: "answer", text: "wanted 10.0.0.3"},
		{name: "no such name", address: "gone", options: opt("server", at), want: Critical, signal: "rcode", text: "NXDOMAIN"},
		{name: "no such name, as wanted", address: "gone", options: opt("server", at, "expect", "[DNS_RCODE] == NXDOMAIN")},
		{name: "server failure", address: "broken", options: opt("server", at), want: Critical, signal: "rcode", text: "SERVFAIL"},
		{name: "no record", address: "empty", options: opt("server", at), want: Critical, signal: "empty"},
		{name: "silent", address: "good", options: opt("server", deaf(t, ""), "timeout", "200ms"), want: Unknown, signal: "resolver", text: "does not answer within 200ms"},
		{name: "garbage", address: "good", options: opt("server", deaf(t, strings.Repeat("\xff", 60)), "timeout", "200ms"), want: Unknown, signal: "resolver"},
		{name: "refused", address: "good", options: opt("server", closedPort(t), "tcp", "true"), want: Unknown, signal: "resolver", text: "refused"},
		{name: "cut connection", address: "good", options: opt("server", serve(t, func(c net.Conn) { c.Read(make([]byte, 2)) }), "tcp", "true"), want: Unknown, signal: "resolver"},
		{name: "bad type", address: "good", options: opt("type", "B"), want: Unknown, signal: "options", text: "--type"},
		{name: "bad name", address: "http://x", want: Unknown, signal: "options", text: "TARGET"},
	})
}
