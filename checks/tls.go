package checks

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
)

var tlsKind = Kind{
	Summary: "TLS: handshake and certificates on every address of the name",
	Target:  "HOST[:443]",
	Example: `check tls shop.example.net --warning certificate_days=30:`,
	Options: tlsOptions,
	Metrics: []Limits{certificateLimits, {Name: "addresses", Help: "addresses of the name; all of them must be good"}},
	Signals: slices.Concat(networkSignals, []Signal{certificateSignal}),
	Facts:   []string{"RESPONSE_TIME", "IP", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(443),
	check:   checkTLS,
}

// checkTLS makes a handshake with each address: one that was forgotten is bad
// for those who get it.
func checkTLS(ctx context.Context, t Target) (r Result) {
	host, _, _ := net.SplitHostPort(t.Address)
	addresses, err := resolve(ctx, &r, t.Address)
	if err != nil {
		r.failed(t, err, "resolving the name")
		return r
	}
	for i, address := range addresses {
		one := Result{}
		state, err := handshake(ctx, &one, t, address, host)
		if err != nil {
			one.failed(t, err, "in the TLS handshake")
		}
		r.merge(one, i == 0)
		if err == nil && len(one.Findings) == 0 {
			r.say("%s, certificate of %s", tls.VersionName(state.Version), subject(state.PeerCertificates[0]))
		}
	}
	r.measure("addresses", float64(len(addresses)), "")
	return r
}

func handshake(ctx context.Context, r *Result, t Target, address, host string) (tls.ConnectionState, error) {
	s, err := connect(ctx, r, "tcp", address, maxDialogue)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer s.Close()
	return s.startTLS(ctx, r, t, host)
}

// merge adds the look at one address. Of the certificates the one that expires
// first counts.
func (r *Result) merge(one Result, first bool) {
	for _, f := range one.Findings {
		if one.Evidence.Address != "" && !first {
			f.Text = one.Evidence.Address + ": " + f.Text
		}
		r.Findings = append(r.Findings, f)
	}
	r.mergePhases(one.Phases)
	if one.facts.connected && (!r.facts.connected || one.facts.certificate < r.facts.certificate) {
		r.facts, r.Evidence = one.facts, one.Evidence
	}
	for _, m := range one.Metrics {
		i := slices.IndexFunc(r.Metrics, func(n Metric) bool { return n.Name == m.Name })
		if i < 0 {
			r.Metrics = append(r.Metrics, m)
		} else if m.Value < r.Metrics[i].Value {
			r.Metrics[i] = m
		}
	}
}
