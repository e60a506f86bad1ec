package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

var dnsKind = Kind{
	Summary: "DNS: a server answers a question, and rightly",
	Target:  "NAME",
	Example: `check dns shop.example.net --server 10.0.0.2 --answer 10.1.2.3`,
	Options: []Option{
		{Name: "server", Placeholder: "HOST[:53]", Help: "Whom to ask. Without it the first nameserver of /etc/resolv.conf.", parse: parse(hostPort(53))},
		{Name: "type", Placeholder: "TYPE", Default: "A", Help: "A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT or another type.", parse: parse(parseType)},
		{Name: "answer", Placeholder: "VALUE", Many: true, Help: "The answers must be just these, in any order.", parse: parseText},
		{Name: "tcp", Help: "Ask by TCP. Without it, UDP, and TCP if the answer was cut."},
	},
	Metrics: []Limits{{Name: "answers", Help: "records of the type asked for"}, {Name: "ttl", Help: "lowest time to live among them, in seconds"}},
	Signals: []Signal{
		{"resolver", Unknown, "the server does not answer, or not as a DNS server: nothing is known about the name"},
		{"rcode", Critical, "NXDOMAIN, SERVFAIL, REFUSED, unless a condition is about [DNS_RCODE]"},
		{"empty", Critical, "the name has no record of that type"},
		{"answer", Critical, "the answers are not those of --answer"},
	},
	Facts:   []string{"RESPONSE_TIME", "IP", "BODY", "CONNECTED", "DNS_RCODE"},
	address: parseName,
	check:   checkDNS,
}

// checkDNS asks one server one question. No answer is UNKNOWN: it says nothing
// about the name, and the server has a check of its own.
func checkDNS(ctx context.Context, t Target) (r Result) {
	server := value[string](t, "server")
	if server == "" {
		config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(config.Servers) == 0 {
			r.find(Unknown, "resolver", "/etc/resolv.conf names no server: use --server")
			return r
		}
		server = net.JoinHostPort(config.Servers[0], config.Port)
	}
	q := new(dns.Msg)
	kind := value[uint16](t, "type")
	q.SetQuestion(t.Address, kind)
	q.SetEdns0(1232, false)
	network := "udp"
	if value[bool](t, "tcp") {
		network = "tcp"
	}
	answer, err := exchange(ctx, &r, network, server, q)
	if err == nil && answer.Truncated && network == "udp" {
		answer, err = exchange(ctx, &r, "tcp", server, q)
	}
	if err != nil {
		var wrong net.Error
		switch {
		case errors.As(err, &wrong) && wrong.Timeout():
			r.find(Unknown, "resolver", "%s does not answer within %s", server, t.Timeout)
		case errors.As(err, &wrong):
			r.find(Unknown, "resolver", "%s cannot be asked: %s", server, plain(err))
		default:
			r.find(Unknown, "resolver", "%s answers with something that is no DNS: %v", server, err)
		}
		return r
	}
	r.judgeAnswer(t, answer, kind)
	return r
}

func exchange(ctx context.Context, r *Result, network, server string, q *dns.Msg) (*dns.Msg, error) {
	c := dns.Client{Net: network}
	if end, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(end)
	}
	began := time.Now()
	defer func() { r.phase("wait", began) }()
	a, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return nil, err
	}
	r.facts.connected = true
	r.Evidence.Address = server
	r.facts.ip, _, _ = net.SplitHostPort(server)
	return a, nil
}

// judgeAnswer compares what came with what was wanted.
func (r *Result) judgeAnswer(t Target, a *dns.Msg, kind uint16) {
	r.facts.rcode = dns.RcodeToString[a.Rcode]
	var got []string
	var ttl uint32
	for _, record := range a.Answer {
		h := record.Header()
		if h.Rrtype != kind {
			continue // a CNAME on the way
		}
		if len(got) == 0 || h.Ttl < ttl {
			ttl = h.Ttl
		}
		got = append(got, strings.TrimPrefix(record.String(), h.String()))
	}
	slices.Sort(got)
	r.answer([]byte(strings.Join(got, "\n")))
	r.measure("answers", float64(len(got)), "")
	name := dns.TypeToString[kind] + " " + t.Address
	switch {
	case a.Rcode != dns.RcodeSuccess:
		if !t.asserts("DNS_RCODE") {
			r.find(Critical, "rcode", "%s: %s", name, r.facts.rcode)
		}
		r.say("%s: %s", name, r.facts.rcode)
		return
	case len(got) == 0:
		r.find(Critical, "empty", "%s: there is no such record", name)
		return
	}
	r.measure("ttl", float64(ttl), "s")
	shown := strings.Join(got[:min(len(got), 5)], ", ")
	if len(got) > 5 {
		shown += fmt.Sprintf(" and %d more", len(got)-5)
	}
	r.say("%s: %s", name, shown)
	want := slices.Sorted(slices.Values(values[string](t, "answer")))
	for i := range want {
		want[i] = sameForm(want[i], kind)
	}
	if len(want) > 0 && !slices.Equal(want, got) {
		r.find(Critical, "answer", "%s: %s, wanted %s", name, shown, strings.Join(want, ", "))
	}
}

// sameForm writes a wanted value as records are written: names end with a dot.
func sameForm(s string, kind uint16) string {
	switch kind {
	case dns.TypeCNAME, dns.TypeNS, dns.TypePTR, dns.TypeMX, dns.TypeSRV:
		return dns.Fqdn(s)
	case dns.TypeTXT:
		if !strings.HasPrefix(s, `"`) {
			return `"` + s + `"`
		}
	}
	return s
}

func parseType(s string) (uint16, error) {
	n, ok := dns.StringToType[strings.ToUpper(s)]
	if !ok {
		return 0, fmt.Errorf("%q is no type of record", s)
	}
	return n, nil
}

func parseName(s string) (string, error) {
	if _, ok := dns.IsDomainName(s); !ok || s == "" || strings.ContainsAny(s, " /@:") {
		return "", fmt.Errorf("%q is no name", s)
	}
	return dns.Fqdn(s), nil
}
