package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

var codisKind = Kind{
	Summary: "Codis 3: a proxy answers, is online, serves all slots, reaches every backend, and agrees with the dashboard",
	Target:  "HOST[:19000]",
	Example: `check codis codis1.example.net --dashboard http://codis-dashboard.example.net:18080`,
	Options: []Option{
		{Name: "admin-port", Placeholder: "PORT", Default: "11080", Help: "Where the proxy tells about itself, on the same host; \"off\" for not at all.", parse: parse(parsePortOrOff)},
		{Name: "dashboard", Placeholder: "URL", Help: "Compare with what the dashboard knows: slots, groups, proxies.", parse: parse(baseURL("18080"))},
		{Name: "password-file", Placeholder: "FILE", Help: "File with the password of clients (session_auth).", parse: parse(readSecret)},
	},
	Metrics: []Limits{
		{Name: "sessions", Help: "clients that are connected"},
		{Name: "qps", Help: "requests per second"},
		{Name: "ops", Help: "requests since the start (counter)"},
		{Name: "fails", Help: "requests that failed since the start (counter)"},
		{Name: "redis_errors", Help: "errors that backends answered with since the start (counter)"},
		{Name: "slots", Help: "slots that have a backend, of 1024"},
		{Name: "migrating", Help: "slots that are moved"},
		{Name: "backends", Help: "backends that the proxy uses"},
	},
	Signals: slices.Concat(networkSignals, []Signal{
		{"credentials", Critical, "the password is refused"},
		{"error", Critical, "PING is answered by an error"},
		{"admin", Warning, "the proxy does not tell about itself at --admin-port"},
		{"offline", Critical, "the proxy is not online"},
		{"slots", Critical, "slots have no backend: their keys cannot be used"},
		{"backend", Critical, "a backend does not answer through this proxy"},
		{"dashboard", Warning, "--dashboard does not answer, or not as a dashboard"},
		{"unknown_proxy", Critical, "the dashboard does not know this proxy: it will not be told of changes"},
		{"stale", Critical, "the proxy sends slots elsewhere than the dashboard says"},
		{"group", Critical, "a group with slots has no server"},
		{"out_of_sync", Warning, "the dashboard has not told all proxies of a change"},
		{"migration", Warning, "slots wait to be moved, but moving is switched off"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "CONNECTED"},
	address: hostPort(19000),
	check:   checkCodis,
}

const (
	codisSlots  = 1024
	maxBackends = 256 // that are asked
)

// codisProxy is what /proxy of a proxy answers.
type codisProxy struct {
	Version string `json:"version"`
	Model   struct {
		Token   string `json:"token"`
		Product string `json:"product_name"`
	} `json:"model"`
	Stats *struct {
		Online bool `json:"online"`
		Closed bool `json:"closed"`
		Ops    struct {
			Total, Fails, QPS float64
			Redis             struct{ Errors float64 }
		} `json:"ops"`
		Sessions struct{ Total, Alive float64 } `json:"sessions"`
	} `json:"stats"`
	Slots []struct {
		ID      int    `json:"id"`
		Locked  bool   `json:"locked"`
		Backend string `json:"backend_addr"`
		From    string `json:"migrate_from"`
	} `json:"slots"`
}

// codisTopom is what /topom of a dashboard answers.
type codisTopom struct {
	Stats *struct {
		Slots []struct {
			ID     int `json:"id"`
			Group  int `json:"group_id"`
			Action struct {
				State string `json:"state"`
			} `json:"action"`
		} `json:"slots"`
		Group struct {
			Models []struct {
				ID        int  `json:"id"`
				OutOfSync bool `json:"out_of_sync"`
				Servers   []struct {
					Address string `json:"server"`
				} `json:"servers"`
			} `json:"models"`
		} `json:"group"`
		Proxy struct {
			Models []struct {
				Token string `json:"token"`
			} `json:"models"`
		} `json:"proxy"`
		Action struct {
			Disabled bool `json:"disabled"`
		} `json:"slot_action"`
	} `json:"stats"`
}

// checkCodis asks the proxy. A PING alone proves little: it is answered by the
// backend of some slot. So each backend is asked by its address.
func checkCodis(ctx context.Context, t Target) (r Result) {
	s, ok := open(ctx, &r, t, maxInfo)
	if !ok {
		return r
	}
	defer s.Close()
	if !r.codisLogin(t, s) {
		return r
	}
	r.say("PONG")
	port := value[string](t, "admin-port")
	if port == "" {
		return r
	}
	host, _, _ := net.SplitHostPort(t.Address)
	var proxy codisProxy
	if text := r.aside(ctx, t, "http://"+net.JoinHostPort(host, port), "/proxy", &proxy); text != "" || proxy.Stats == nil {
		r.find(Warning, "admin", "the proxy does not tell about itself: %s", orElse(text, "the answer is not that of a proxy"))
		return r
	}
	r.judgeProxy(proxy)
	if !proxy.Stats.Online || proxy.Stats.Closed {
		return r
	}
	if err := r.pingBackends(s, proxy); err != nil {
		r.failed(t, err, "waiting for a backend's PONG")
		return r
	}
	if base := value[string](t, "dashboard"); base != "" {
		var topom codisTopom
		if text := r.aside(ctx, t, base, "/topom", &topom); text != "" || topom.Stats == nil {
			r.find(Warning, "dashboard", "the dashboard at %s: %s", base, orElse(text, "the answer is not that of a dashboard"))
			return r
		}
		r.judgeTopom(proxy, topom)
	}
	return r
}

// aside asks another address for JSON, with no login. text says what is wrong.
func (r *Result) aside(ctx context.Context, t Target, base, path string, into any) (text string) {
	side := Result{}
	ok := side.askJSON(ctx, Target{Kind: t.Kind, Address: base, Timeout: t.Timeout}, path, into)
	r.mergePhases(side.Phases)
	switch {
	case ok:
		return ""
	case len(side.Findings) > 0:
		return side.Findings[0].Text
	}
	return side.Text
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// codisLogin sends the password and PING. false: r says what is wrong, or that
// nothing more can be asked.
func (r *Result) codisLogin(t Target, s *session) bool {
	var refused respError
	if password := value[string](t, "password-file"); password != "" {
		_, err := s.redis(r, "AUTH", password)
		if errors.As(err, &refused) {
			r.find(Critical, "credentials", "the password is refused: %s", clip(err.Error()))
			return false
		} else if err != nil {
			r.failed(t, err, "logging in")
			return false
		}
	}
	pong, err := s.redis(r, "PING")
	switch {
	case errors.As(err, &refused) && strings.HasPrefix(err.Error(), "NOAUTH"):
		r.say("alive, password needed, signals not read")
	case errors.As(err, &refused):
		r.find(Critical, "error", "PING is answered by %s", clip(err.Error()))
		return true // the rest may say why
	case err != nil:
		r.failed(t, err, "waiting for PONG")
	case pong != "PONG":
		r.failed(t, wrongProtocol("PING is answered by %s", clip(pong)), "waiting for PONG")
	default:
		return true
	}
	return false
}

func (r *Result) judgeProxy(p codisProxy) {
	stats := p.Stats
	r.measure("sessions", stats.Sessions.Alive, "")
	r.measure("qps", stats.Ops.QPS, "")
	r.measure("ops", stats.Ops.Total, "c")
	r.measure("fails", stats.Ops.Fails, "c")
	r.measure("redis_errors", stats.Ops.Redis.Errors, "c")
	if !stats.Online || stats.Closed {
		r.find(Critical, "offline", "the proxy of %s is not online", p.Model.Product)
		return
	}
	served, migrating := map[int]bool{}, 0
	for _, slot := range p.Slots {
		if slot.Backend != "" {
			served[slot.ID] = true
		}
		if slot.From != "" {
			migrating++
		}
	}
	r.measure("slots", float64(len(served)), "")
	r.measure("migrating", float64(migrating), "")
	r.say("PONG, proxy of %s, %d clients, %d slots", p.Model.Product, int(stats.Sessions.Alive), len(served))
	if len(served) < codisSlots {
		r.find(Critical, "slots", "%d of %d slots have no backend", codisSlots-len(served), codisSlots)
	}
}

// pingBackends asks each backend through the proxy, by the same connection.
func (r *Result) pingBackends(s *session, p codisProxy) error {
	var addresses, silent []string
	for _, slot := range p.Slots {
		if slot.Backend != "" {
			addresses = append(addresses, slot.Backend)
		}
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	r.measure("backends", float64(len(addresses)), "")
	for _, a := range addresses[:min(len(addresses), maxBackends)] {
		_, err := s.redis(r, "PING", a)
		var refused respError
		if errors.As(err, &refused) {
			silent = append(silent, a+" ("+clip(err.Error())+")")
		} else if err != nil {
			return fmt.Errorf("backend %s: %w", a, err)
		}
	}
	if len(silent) > 0 {
		r.find(Critical, "backend", "%d of %d backends do not answer: %s", len(silent), len(addresses), firstOf(silent))
	}
	return nil
}

func (r *Result) judgeTopom(p codisProxy, d codisTopom) {
	known := false
	for _, m := range d.Stats.Proxy.Models {
		known = known || m.Token == p.Model.Token
	}
	if !known {
		r.find(Critical, "unknown_proxy", "the dashboard does not know this proxy")
	}
	masters := map[int]string{}
	var late []string
	for _, g := range d.Stats.Group.Models {
		if len(g.Servers) > 0 {
			masters[g.ID] = g.Servers[0].Address
		}
		if g.OutOfSync {
			late = append(late, fmt.Sprintf("group %d", g.ID))
		}
	}
	if len(late) > 0 {
		r.find(Warning, "out_of_sync", "not all proxies were told of a change: %s", firstOf(late))
	}
	here := map[int]string{}
	for _, slot := range p.Slots {
		here[slot.ID] = slot.Backend
	}
	empty, stale, waiting := map[string]bool{}, 0, 0
	for _, slot := range d.Stats.Slots {
		if slot.Action.State != "" {
			waiting++
		}
		if slot.Group == 0 {
			continue
		}
		master, ok := masters[slot.Group]
		if !ok {
			empty[fmt.Sprintf("group %d", slot.Group)] = true
		} else if (slot.Action.State == "" || slot.Action.State == "pending") && here[slot.ID] != master {
			stale++
		}
	}
	if len(empty) > 0 {
		r.find(Critical, "group", "groups with slots have no server: %s", firstOf(sortedKeys(empty)))
	}
	if stale > 0 {
		r.find(Critical, "stale", "the proxy sends %d slots elsewhere than the dashboard says", stale)
	}
	if waiting > 0 && d.Stats.Action.Disabled {
		r.find(Warning, "migration", "%d slots wait to be moved, but moving is switched off", waiting)
	}
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// parsePortOrOff reads a port; "off" is "".
func parsePortOrOff(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	return parsePort(s)
}
