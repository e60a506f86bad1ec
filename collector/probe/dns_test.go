package probe

import (
	"net"
	"testing"

	"github.com/miekg/dns"
)

// nameServer knows one zone, by UDP and TCP on the same port.
func nameServer(t *testing.T) string {
	t.Helper()
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		rr := func(texts ...string) (out []dns.RR) {
			for _, s := range texts {
				r, err := dns.NewRR(s)
				if err != nil {
					panic(err)
				}
				out = append(out, r)
			}
			return out
		}
		switch q := q.Question[0]; {
		case q.Name != "example.net.":
			a.Rcode = dns.RcodeNameError
		case q.Qtype == dns.TypeSOA:
			a.Answer = rr("example.net. 60 IN SOA ns.example.net. admin.example.net. 2026 1 2 3 4")
		case q.Qtype == dns.TypeA && a.RecursionDesired:
			a.Answer = rr("example.net. 60 IN A 10.0.0.1", "example.net. 60 IN A 10.0.0.2")
			a.Ns = rr("example.net. 60 IN NS ns.example.net.")
			a.Extra = rr("ns.example.net. 60 IN A 10.0.0.3")
		}
		_ = w.WriteMsg(a)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: answer}, {PacketConn: p, Handler: answer}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return l.Addr().String()
}

func TestDNS(t *testing.T) {
	at := nameServer(t)
	f := func(module string, want map[string]float64) {
		t.Helper()
		probeWith(t, "prober: dns\ntimeout: 10s\ndns: {query_name: example.net, "+module+"}", at, "debug", "true").wants(t, module, want)
	}
	f("query_type: A", map[string]float64{"probe_success": 1, "probe_dns_answer_rrs": 2, "probe_dns_authority_rrs": 1, "probe_dns_additional_rrs": 1,
		"probe_dns_query_succeeded": 1, "probe_dns_serial": absent, "probe_ip_protocol": 4})
	f("query_type: A, transport_protocol: tcp", success(true))
	f("query_type: A, recursion_desired: false", map[string]float64{"probe_success": 1, "probe_dns_answer_rrs": 0})
	f("query_type: SOA", map[string]float64{"probe_success": 1, "probe_dns_serial": 2026})
	f("query_type: A, source_ip_address: 127.0.0.1", success(true))
	f("query_type: A, transport_protocol: tcp, source_ip_address: 127.0.0.1", success(true))
	f("valid_rcodes: [NXDOMAIN]", success(false))
	other := "prober: dns\ndns: {query_name: other.net, query_type: A"
	probeWith(t, other+"}", at).wants(t, "NXDOMAIN", map[string]float64{"probe_success": 0, "probe_dns_query_succeeded": 1})
	probeWith(t, other+", valid_rcodes: [NXDOMAIN, NOERROR]}", at).wants(t, "wanted NXDOMAIN", success(true))
	probeWith(t, other+", validate_answer_rrs: {fail_if_not_matches_regexp: [x]}, valid_rcodes: [NXDOMAIN]}", at).wants(t, "no records", success(false))
	probeWith(t, other+"}", closedPort(t)).wants(t, "nobody", map[string]float64{"probe_success": 0, "probe_dns_query_succeeded": 0})
	for rule, ok := range map[string]bool{
		`fail_if_matches_regexp: ['10\.0\.0\.2']`: false, `fail_if_matches_regexp: ['10\.0\.0\.9']`: true,
		`fail_if_all_match_regexp: ['10\.0\.0\.']`: false, `fail_if_all_match_regexp: ['10\.0\.0\.1']`: true,
		`fail_if_not_matches_regexp: ['10\.0\.0\.1']`: false, `fail_if_not_matches_regexp: ['10\.0\.0\.']`: true,
		`fail_if_none_matches_regexp: ['10\.0\.0\.9']`: false, `fail_if_none_matches_regexp: ['10\.0\.0\.2']`: true,
	} {
		f("query_type: A, validate_answer_rrs: {"+rule+"}", success(ok))
	}
	f(`query_type: A, validate_authority_rrs: {fail_if_matches_regexp: [ns.example]}`, success(false))
	f(`query_type: A, validate_additional_rrs: {fail_if_not_matches_regexp: ['10\.0\.0\.3']}`, success(true))
}
