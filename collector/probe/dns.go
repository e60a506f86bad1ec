package probe

import (
	"cmp"
	"context"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"
)

var (
	dnsPhaseMetric      = newMetric("probe_dns_duration_seconds", "Duration of DNS request by phase", "phase")
	dnsAnswerMetric     = newMetric("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list")
	dnsAuthorityMetric  = newMetric("probe_dns_authority_rrs", "Returns number of entries in the authority resource record list")
	dnsAdditionalMetric = newMetric("probe_dns_additional_rrs", "Returns number of entries in the additional resource record list")
	dnsAskedMetric      = newMetric("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully")
	dnsSerialMetric     = newMetric("probe_dns_serial", "Returns the serial number of the zone")
)

func probeDNS(ctx context.Context, target string, m *module, s *sheet) bool {
	d := &m.dns
	s.zero(dnsAnswerMetric, dnsAuthorityMetric, dnsAdditionalMetric, dnsAskedMetric)
	for _, phase := range []string{"resolve", "connect", "request"} {
		s.set(dnsPhaseMetric, 0, phase)
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil { // without a port
		host, port = target, "53"
		if d.overTLS {
			port = "853"
		}
	}
	ip, took, ok := s.resolve(ctx, d.network, host)
	if !ok {
		return false
	}
	s.set(dnsPhaseMetric, took.Seconds(), "resolve")
	client, err := d.client(ctx, host)
	if err != nil {
		s.log.Error("the query cannot be made", "err", err)
		return false
	}
	q := &dns.Msg{Question: []dns.Question{{Name: dns.Fqdn(d.name), Qtype: d.kind, Qclass: d.class}}}
	q.Id, q.RecursionDesired = dns.Id(), d.recursion
	began := time.Now()
	answer, trip, err := client.ExchangeContext(ctx, q, net.JoinHostPort(ip.String(), port))
	s.set(dnsPhaseMetric, (time.Since(began) - trip).Seconds(), "connect")
	s.set(dnsPhaseMetric, trip.Seconds(), "request")
	if err != nil {
		s.log.Error("the query failed", "err", err)
		return false
	}
	s.log.Info("there is an answer", "rcode", dns.RcodeToString[answer.Rcode], "answers", len(answer.Answer))
	s.set(dnsAnswerMetric, float64(len(answer.Answer)))
	s.set(dnsAuthorityMetric, float64(len(answer.Ns)))
	s.set(dnsAdditionalMetric, float64(len(answer.Extra)))
	s.set(dnsAskedMetric, 1)
	if d.kind == dns.TypeSOA {
		s.zero(dnsSerialMetric)
	}
	for _, record := range answer.Answer {
		if soa, ok := record.(*dns.SOA); ok && d.kind == dns.TypeSOA {
			s.set(dnsSerialMetric, float64(soa.Serial))
		}
	}
	if !slices.Contains(d.rcodes, answer.Rcode) {
		s.log.Error("the rcode is not one of those that are wanted", "rcode", dns.RcodeToString[answer.Rcode])
		return false
	}
	return d.answer.judge(s, "answer", answer.Answer) && d.authority.judge(s, "authority", answer.Ns) && d.additional.judge(s, "additional", answer.Extra)
}

func (d *dnsModule) client(ctx context.Context, host string) (*dns.Client, error) {
	end, _ := ctx.Deadline()
	c := &dns.Client{Net: d.transport, Timeout: time.Until(end), Dialer: &net.Dialer{Deadline: end}}
	if d.source.IsValid() {
		c.Dialer.LocalAddr = &net.TCPAddr{IP: d.source.AsSlice()}
		if d.transport == "udp" {
			c.Dialer.LocalAddr = &net.UDPAddr{IP: d.source.AsSlice()}
		}
	}
	if d.overTLS {
		config, err := d.tls.config(cmp.Or(d.tls.serverName, host))
		if err != nil {
			return nil, err
		}
		c.Net, c.TLSConfig = "tcp-tls", config
	}
	return c, nil
}

// judge holds a part of an answer against its patterns.
func (r *records) judge(s *sheet, part string, list []dns.RR) bool {
	if len(list) == 0 && len(r.good)+len(r.oneGood) > 0 {
		s.log.Error("there are no records, but they have to match", "part", part)
		return false
	}
	all, one := true, false
	for _, record := range list {
		text := record.String()
		for _, p := range r.bad {
			if p.MatchString(text) {
				s.log.Error("a record matches", "part", part, "regexp", p, "record", text)
				return false
			}
		}
		for _, p := range r.good {
			if !p.MatchString(text) {
				s.log.Error("a record does not match", "part", part, "regexp", p, "record", text)
				return false
			}
		}
		for _, p := range r.allBad {
			all = all && p.MatchString(text)
		}
		for _, p := range r.oneGood {
			one = one || p.MatchString(text)
		}
	}
	if len(r.allBad) > 0 && all {
		s.log.Error("all records match", "part", part)
		return false
	}
	if len(r.oneGood) > 0 && !one {
		s.log.Error("no record matches", "part", part)
		return false
	}
	return true
}
