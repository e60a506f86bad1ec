package declare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
	"mesoscope/collector/target"
)

// scheduling are the keys that say when a check runs and what its results mean.
var scheduling = map[string]bool{"interval": true, "timeout": true, "fail": true, "of": true, "pass": true, "grace": true}

// owning are the keys that say who is told; also those of the app as a whole.
var owning = map[string]bool{"team": true, "runbook": true, "tip": true, "page": true, "alert_after": true, "realert_every": true}

// placing are the keys that say what is asked.
var placing = map[string]bool{"kind": true, "path": true, "port": true, "port_index": true, "port_name": true, "scheme": true, "target": true, "args": true, "credentials": true}

// defaults are those of all checks.
var defaults = map[string]string{"interval": "10s", "timeout": "5s", "fail": "3", "of": "3", "pass": "2", "grace": "1m0s"}

// forever is the grace of what only an image's name suggests: it ends with the
// first good result.
const forever = 100 * 365 * 24 * time.Hour

const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
)

// urlKinds are asked below a URL; the value is its usual scheme.
var urlKinds = map[string]string{
	"http": "http", "elasticsearch": "http", "spark": "http", "ceph": "http", "kubernetes": "https",
	"marathon": "http", "mesos-master": "http", "mesos-agent": "http", "chronos": "http",
}

// baseKind is the kind of checks.Kinds: https is http with TLS.
func baseKind(kind string) string {
	if kind == "https" {
		return "http"
	}
	return kind
}

// build makes a check of its values. What is wrong is said of the first key.
func (o *Options) build(name string, c, app values, i target.Instance) Declared {
	out := Declared{Name: name}
	kind, declared := c["kind"]
	switch {
	case !declared:
		for _, v := range c.list() {
			out.Problem = fmt.Sprintf("%s: there is no check %s that it could change", v.From, name)
		}
	case kind.text == off:
		out.Off = true
	default:
		b := &builder{o: o, name: name, c: c, app: app, i: i}
		ch, err := b.check()
		if err != nil {
			out.Problem = err.Error()
		}
		out.Check = ch
	}
	if !o.explain {
		return out
	}
	shown := maps.Clone(c)
	for key, text := range defaults {
		if _, set := shown[key]; !set && out.Problem == "" && !out.Off {
			shown[key] = value{text: text, from: "default"}
		}
	}
	for key, v := range app {
		if _, set := shown[key]; !set {
			shown[key] = v
		}
	}
	if out.Problem == "" && !out.Off {
		shown["target"] = value{text: out.Check.Target, from: cmp.Or(c["target"].from, "made of the address")}
	}
	out.Values = shown.list()
	return out
}

// A builder makes one check.
type builder struct {
	o      *Options
	name   string
	c, app values
	i      target.Instance

	kind     string              // of checks.Kinds
	options  map[string][]string // for checks.New
	confined bool
}

// wrong is what is wrong with a key, and where that was written.
func (b *builder) wrong(key, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %s", cmp.Or(b.c[key].from, b.app[key].from, b.c["kind"].from), key, fmt.Sprintf(format, args...))
}

func (b *builder) check() (Check, error) {
	b.kind = baseKind(b.c["kind"].text)
	kind, ok := checks.Kinds[b.kind]
	said := b.kind == command && strings.HasPrefix(b.c["kind"].from, fromHealth)
	if !ok && !said {
		return Check{}, b.wrong("kind", "there is no %q; the kinds are %s", b.c["kind"].text, strings.Join(checks.Names(), ", "))
	}
	if why, refused := refusedKinds[b.kind]; refused && !b.c["kind"].trusted {
		return Check{}, b.wrong("kind", "%s cannot be declared there: %s", b.kind, why)
	}
	for key, v := range b.c {
		if !v.trusted && expansion.MatchString(v.text) {
			return Check{}, b.wrong(key, "nothing is replaced in it: %s", expansion.FindString(v.text))
		}
	}
	d := check.Definition{
		ID: b.i.ID + "#" + b.name, Name: b.name, Kind: b.kind, Cluster: b.o.Cluster, App: b.i.App, Framework: b.i.Framework,
		Host: b.i.Host, Task: b.i.Task, Container: b.i.Container, Guessed: b.c.guessed(), From: b.from(),
	}
	if err := b.schedule(&d); err != nil {
		return Check{}, err
	}
	var err error
	if d.Owner, err = ownerOf(b.app, b.c); err != nil {
		return Check{}, err
	}
	if d.Guessed && d.Owner.Page == "" {
		d.Owner.Page = "false"
	}
	if said {
		return b.said(d)
	}
	b.options = map[string][]string{"timeout": {d.Timeout.String()}}
	if err := b.takeOptions(kind); err != nil {
		return Check{}, err
	}
	if err := b.credentials(kind); err != nil {
		return Check{}, err
	}
	address, args, err := b.address()
	if err != nil {
		return Check{}, err
	}
	t, err := checks.New(b.kind, address, args, b.options)
	if err != nil {
		var m checks.MistakeError
		if errors.As(err, &m) {
			return Check{}, b.wrong(strings.TrimPrefix(m.Option, "--"), "%s", m.Reason)
		}
		return Check{}, err
	}
	t.Confined = b.confined
	if b.kind == "exec" {
		t.User = b.o.ExecUser
	}
	d.Target = shown(t.Address)
	if d.Host == "" {
		d.Host = hostOf(t.Address)
	}
	return Check{Definition: d, Run: t}, nil
}

// said is a check whose result Marathon has.
func (b *builder) said(d check.Definition) (Check, error) {
	for key := range b.c {
		if !scheduling[key] && !owning[key] && key != "kind" {
			return Check{}, b.wrong(key, "nothing of a command can be changed: Marathon's executor runs it")
		}
	}
	var n int
	if _, err := fmt.Sscanf(b.c["kind"].from, fromHealth+"%d]", &n); err != nil || n >= len(b.i.Health) {
		return Check{}, b.wrong("kind", "Marathon has no such check")
	}
	h := b.i.Health[n]
	r := checks.Result{Text: "Marathon says that the command is good", Duration: time.Nanosecond}
	switch {
	case !h.Known:
		r.State, r.Text = checks.Unknown, "Marathon has no result of the command"
	case !h.Alive:
		r.State, r.Text = checks.Critical, "Marathon says that the command fails: "+cmp.Or(h.Cause, "no cause given")
	}
	if r.State != checks.OK {
		r.Findings = []checks.Finding{{Signal: command, State: r.State, Text: r.Text}}
	}
	d.Target = "the command that Marathon's executor runs"
	return Check{Definition: d, Said: &r, SaidBy: b.i.Origin}, nil
}

func (b *builder) from() string {
	from := b.c["kind"].from
	if b.i.App != "" && !strings.Contains(from, b.i.App) {
		from += " of " + b.i.App
	}
	return from
}

// secretHeader are headers whose value is not for everybody who may ask where
// it comes from.
var secretHeader = regexp.MustCompile(`(?i)^([^:]*(?:authorization|cookie|token|key|secret|password)[^:]*):.*`)

// discreet is a value without what may be secret in it.
func discreet(key, text string) string {
	if m := numbered.FindStringSubmatch(key); m != nil {
		key = m[1]
	}
	switch key {
	case "path", "target":
		return shown(text)
	case "header":
		return secretHeader.ReplaceAllString(text, "$1: …")
	case "data", "send":
		return fmt.Sprintf("(%d bytes)", len(text))
	}
	return text
}

// shown is a target without what may be secret: the query of a URL.
func shown(address string) string {
	if at := strings.IndexByte(address, '?'); at >= 0 {
		return address[:at] + "?…"
	}
	return address
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	address, _, _ = strings.Cut(address, "/")
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// schedule reads when the check runs, and how results are judged.
func (b *builder) schedule(d *check.Definition) (err error) {
	get := func(key string, low, high time.Duration) time.Duration {
		text := cmp.Or(b.c[key].text, defaults[key])
		v, parsed := time.ParseDuration(text)
		if err == nil && (parsed != nil || v < low || v > high) {
			err = b.wrong(key, "%q is no duration from %s to %s", text, low, high)
		}
		return v
	}
	count := func(key string) int {
		text := cmp.Or(b.c[key].text, defaults[key])
		n, parsed := strconv.Atoi(text)
		if err == nil && (parsed != nil || n < 1 || n > state.Most) {
			err = b.wrong(key, "%q is no number from 1 to %d", text, state.Most)
		}
		return n
	}
	d.Interval = get("interval", minInterval, maxInterval)
	d.Timeout = get("timeout", time.Millisecond, time.Hour)
	r := &d.Rule
	r.Grace = get("grace", 0, maxInterval)
	r.Fail, r.Of, r.Pass = count("fail"), count("of"), count("pass")
	_, failSet := b.c["fail"]
	_, ofSet := b.c["of"]
	switch {
	case failSet && !ofSet:
		r.Of = r.Fail
	case ofSet && !failSet:
		r.Fail = min(r.Fail, r.Of)
	case r.Fail > r.Of && err == nil:
		err = b.wrong("fail", "%d of %d can never be", r.Fail, r.Of)
	}
	if d.Guessed {
		r.Grace = forever
	}
	r.Expire = 3*d.Interval + d.Timeout + 10*time.Second
	return err
}

var (
	receiver = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	teamName = regexp.MustCompile(`^[^\pC"\\]{1,64}$`)
	oneLine  = regexp.MustCompile(`^[^\pC]{0,1000}$`)
)

// ownerOf reads who is told. What a check says counts before what its app does.
func ownerOf(app, c values) (o check.Owner, err error) {
	get := func(key string) string {
		if v, ok := c[key]; ok {
			return v.text
		}
		return app[key].text
	}
	wrong := func(key, format string, args ...any) {
		if err == nil {
			err = fmt.Errorf("%s: %s: %s", cmp.Or(c[key].from, app[key].from), key, fmt.Sprintf(format, args...))
		}
	}
	if o.Team = get("team"); o.Team != "" && !teamName.MatchString(o.Team) {
		wrong("team", "at most 64 characters, none of them a quote")
	}
	if o.Runbook = get("runbook"); o.Runbook != "" {
		if u, e := url.Parse(o.Runbook); e != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(o.Runbook) > 1000 {
			wrong("runbook", "%q is no URL", o.Runbook)
			o.Runbook = ""
		}
	}
	if o.Tip = get("tip"); !oneLine.MatchString(o.Tip) {
		wrong("tip", "at most 1000 characters in one line")
	}
	if o.Page = get("page"); o.Page != "" && !receiver.MatchString(o.Page) {
		wrong("page", "%q is neither true nor false nor the name of a receiver", o.Page)
	}
	for key, to := range map[string]*time.Duration{"alert_after": &o.AlertAfter, "realert_every": &o.RealertEvery} {
		if text := get(key); text != "" {
			d, e := time.ParseDuration(text)
			if e != nil || d < 0 || d > 7*24*time.Hour {
				wrong(key, "%q is no duration from 0s to 168h", text)
			}
			*to = d
		}
	}
	return o, err
}

var numbered = regexp.MustCompile(`^(.+)\.([2-9]|[1-9][0-9])$`)

// takeOptions sorts out what is an option of the kind.
func (b *builder) takeOptions(kind checks.Kind) error {
	keys := slices.SortedFunc(maps.Keys(b.c), func(a, b string) int { // send, send.2, send.10
		return cmp.Or(len(a)-len(b), strings.Compare(a, b))
	})
	for _, key := range keys {
		v := b.c[key]
		option, text := key, v.text
		if m := numbered.FindStringSubmatch(key); m != nil {
			option = m[1]
		}
		if scheduling[key] || owning[key] || placing[key] || option == "args" {
			continue
		}
		for _, limit := range []string{"warning", "critical"} {
			if metric, ok := strings.CutPrefix(key, limit+"."); ok {
				option, text = limit, metric+"="+v.text
			}
		}
		if !slices.ContainsFunc(kind.AllOptions(), func(o checks.Option) bool { return o.Name == option }) {
			return b.wrong(key, "%s has no such option", b.kind)
		}
		if !v.trusted && !labelOptions[option] {
			return b.wrong(key, "cannot be set there: %s", cmp.Or(refusedOptions[option], "it reaches beyond the instance"))
		}
		if !v.trusted && portOptions[option] && text != off {
			port, err := b.ownPort(key, text)
			if err != nil {
				return err
			}
			text = strconv.Itoa(port)
		}
		b.options[option] = append(b.options[option], text)
	}
	if b.kind == "codis" && b.options["admin-port"] == nil && !b.c["kind"].trusted {
		b.options["admin-port"] = []string{off} // the usual one may be somebody else's
	}
	return nil
}

// credentials takes the name and the password that the check has chosen.
func (b *builder) credentials(kind checks.Kind) error {
	v, ok := b.c["credentials"]
	if !ok {
		return nil
	}
	c, ok := b.o.Credentials[v.text]
	if !ok || !slices.ContainsFunc(c.Apps, func(p string) bool { return b.i.App != "" && Match(p, b.i.App) }) {
		return b.wrong("credentials", "collector.credentials has no %q for %s", v.text, cmp.Or(b.i.App, "what is no app"))
	}
	has := func(option string) bool {
		return slices.ContainsFunc(kind.Options, func(o checks.Option) bool { return o.Name == option })
	}
	secret := ""
	switch {
	case has("password-file"):
		secret = "password-file"
	case has("token-file"):
		secret = "token-file"
	default:
		return b.wrong("credentials", "%s takes none", b.kind)
	}
	b.options[secret] = []string{c.PasswordFile}
	if c.Username != "" && has("username") {
		b.options["username"] = []string{c.Username}
	}
	return nil
}
