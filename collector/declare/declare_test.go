package declare

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/checks"
	"mesoscope/collector/target"
)

// web is an instance in bridge mode: 8080 and 9000 of the container are 31000
// and 31001 of the host.
func web(labels ...string) target.Instance {
	i := target.Instance{
		ID: "prod_web.1", App: "/prod/web", Task: "prod_web.1", Host: "n1", Framework: "marathon", Address: "n1",
		Ports: []target.Port{{Number: 31000, Container: 8080, Name: "http"}, {Number: 31001, Container: 9000, Name: "admin"}}, Labels: map[string]string{},
	}
	for n := 0; n < len(labels); n += 2 {
		i.Labels[labels[n]] = labels[n+1]
	}
	return i
}

func overlay(t *testing.T, text string) *Overlay {
	t.Helper()
	o, err := ParseOverlay([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// said is what is declared, one line a check.
func said(list []Declared, problems []Problem) string {
	var lines []string
	for _, d := range list {
		switch {
		case d.Off:
			lines = append(lines, d.Name+" off")
		case d.Problem != "":
			lines = append(lines, d.Name+" BAD "+d.Problem)
		default:
			lines = append(lines, fmt.Sprintf("%s %s %s", d.Name, d.Check.Kind, d.Check.Target))
		}
	}
	for _, p := range problems {
		lines = append(lines, "PROBLEM "+p.Where+": "+p.Text)
	}
	return strings.Join(lines, "\n")
}

func TestInstance(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(i target.Instance) target.Instance {
		i.Ports = []target.Port{{Number: 31000}, {Number: 31001}}
		return i
	}
	image := func(name string, ports ...target.Port) target.Instance {
		i := web()
		i.Image, i.Ports = name, ports
		return i
	}
	health := func(h target.Health, labels ...string) target.Instance {
		i := web(labels...)
		i.Health = []target.Health{h}
		return i
	}
	const c = "mesoscope.check."
	for name, tc := range map[string]struct {
		i       target.Instance
		overlay string
		want    string // "…" stands for any text
	}{
		"nothing":          {i: web(), want: ""},
		"http":             {i: web(c+"health", "http:/health"), want: "health http http://n1:31000/health"},
		"http without":     {i: web(c+"health", "http"), want: "health http http://n1:31000/"},
		"https":            {i: web(c+"health", "https:/x"), want: "health http https://n1:31000/x"},
		"query":            {i: web(c+"health", "http:/x?token=1"), want: "health http http://n1:31000/x?…"},
		"container port":   {i: web(c+"a", "tcp", c+"a.port", "9000"), want: "a tcp n1:31001"},
		"host port":        {i: host(web(c+"a", "tcp", c+"a.port", "31001")), want: "a tcp n1:31001"},
		"port index":       {i: web(c+"a", "redis", c+"a.port_index", "1"), want: "a redis n1:31001"},
		"port name":        {i: web(c+"a", "redis", c+"a.port_name", "admin"), want: "a redis n1:31001"},
		"database":         {i: web(c+"a", "mysql:shop"), want: "a mysql n1:31000/shop"},
		"base URL":         {i: web(c+"a", "elasticsearch:/es"), want: "a elasticsearch http://n1:31000/es"},
		"kubernetes":       {i: web(c+"a", "kubernetes"), want: "a kubernetes https://n1:31000"},
		"dns":              {i: web(c+"a", "dns:example.net"), want: "a dns example.net."},
		"off":              {i: web(c+"a", "off"), want: "a off"},
		"not ours":         {i: web("mesoscope.logs.dataset", "mesos.x", "other", "x"), want: ""},
		"bad name":         {i: web(c+"Bad_Name", "tcp"), want: "PROBLEM label mesoscope.check.Bad_Name: …"},
		"unknown kind":     {i: web(c+"a", "htp"), want: `a BAD label mesoscope.check.a: kind: there is no "htp"; …`},
		"unknown option":   {i: web(c+"a", "tcp", c+"a.intervall", "1s"), want: "a BAD label mesoscope.check.a.intervall: intervall: tcp has no such option"},
		"one bad label":    {i: web(c+"a", "tcp", c+"a.interval", "never", c+"b", "tcp"), want: "a BAD …interval: \"never\" is no duration…\nb tcp n1:31000"},
		"too quick":        {i: web(c+"a", "tcp", c+"a.interval", "10ms"), want: "a BAD …"},
		"option alone":     {i: web(c+"a.interval", "1s"), want: "a BAD label mesoscope.check.a.interval: there is no check a that it could change"},
		"no such port":     {i: web(c+"a", "tcp", c+"a.port", "22"), want: "a BAD …port: 22 is no port of the instance"},
		"no such index":    {i: web(c+"a", "tcp", c+"a.port_index", "2"), want: "a BAD …"},
		"no ports":         {i: image("", nil...), want: ""},
		"no port at all":   {i: func() target.Instance { i := web(c+"a", "redis"); i.Ports = nil; return i }(), want: "a BAD …the instance has no port"},
		"path for redis":   {i: web(c+"a", "redis:/x"), want: "a BAD …"},
		"expect":           {i: web(c+"a", "http", c+"a.expect", "[STATUS] == 200", c+"a.expect.2", "[BODY].ok == true"), want: "a http http://n1:31000/"},
		"bad expect":       {i: web(c+"a", "http", c+"a.expect", "[STATUS] = 200"), want: "a BAD label mesoscope.check.a.expect: expect: …"},
		"limits":           {i: web(c+"a", "redis", c+"a.warning.memory", "50", c+"a.critical.time", "1"), want: "a redis n1:31000"},
		"bad limit":        {i: web(c+"a", "redis", c+"a.warning.flux", "50"), want: "a BAD …"},
		"option of kind":   {i: web(c+"a", "http", c+"a.match", "ok", c+"a.header", "X-A: b", c+"a.header.2", "X-C: d"), want: "a http http://n1:31000/"},
		"fail alone":       {i: web(c+"a", "tcp", c+"a.fail", "5"), want: "a tcp n1:31000"},
		"impossible":       {i: web(c+"a", "tcp", c+"a.fail", "5", c+"a.of", "3"), want: "a BAD …5 of 3 can never be"},
		"credentials":      {i: web(c+"a", "redis", c+"a.credentials", "cache"), want: "a redis n1:31000"},
		"no credentials":   {i: web(c+"a", "redis", c+"a.credentials", "root"), want: `a BAD …credentials: collector.credentials has no "root" for /prod/web`},
		"their password":   {i: web(c+"a", "redis", c+"a.credentials", "theirs"), want: `a BAD …credentials: collector.credentials has no "theirs" for /prod/web`},
		"takes none":       {i: web(c+"a", "tcp", c+"a.credentials", "cache"), want: "a BAD …tcp takes none"},
		"absolute URL":     {i: web(c+"a", "http:http://169.254.169.254/meta"), want: "a BAD …reaches its own instance only…"},
		"target label":     {i: web(c+"a", "tcp", c+"a.target", "10.9.9.9:22"), want: "a BAD …reaches its own instance only…"},
		"no slash":         {i: web(c+"a", "http:@evil/"), want: "a BAD …does not begin with /"},
		"two slashes":      {i: web(c+"a", "http://evil/x"), want: "a http http://n1:31000//evil/x"},
		"expansion":        {i: web(c+"a", "http:/${file:/etc/shadow}"), want: "a BAD …nothing is replaced in it…"},
		"exec":             {i: web(c+"a", "exec:/usr/lib/nagios/plugins/check_load"), want: "a BAD …cannot be declared there…"},
		"volume":           {i: web(c+"a", "volume:/data"), want: "a BAD …"},
		"docker":           {i: web(c+"a", "docker:web"), want: "a BAD …"},
		"file":             {i: web(c+"a", "redis", c+"a.password-file", "/etc/shadow"), want: "a BAD …cannot be set there…"},
		"group":            {i: web(c+"a", "kafka", c+"a.group", "g"), want: "a BAD …cannot be set there…"},
		"dashboard":        {i: web(c+"a", "codis", c+"a.dashboard", "http://x"), want: "a BAD …cannot be set there…"},
		"server":           {i: web(c+"a", "dns:x", c+"a.server", "8.8.8.8"), want: "a BAD …cannot be set there…"},
		"admin port":       {i: web(c+"a", "codis", c+"a.admin-port", "22"), want: "a BAD …22 is no port of the instance"},
		"own admin port":   {i: web(c+"a", "codis", c+"a.admin-port", "9000"), want: "a codis n1:31000"},
		"bad team":         {i: web(c+"a", "tcp", "mesoscope.team", "a\nb"), want: "a BAD label mesoscope.team: team: …"},
		"bad runbook":      {i: web(c+"a", "tcp", c+"a.runbook", "javascript:1"), want: "a BAD …is no URL"},
		"image":            {i: image("registry:5000/lib/redis:7@sha256:1", target.Port{Number: 1}, target.Port{Number: 2, Container: 6379}), want: "redis redis n1:2"},
		"image, host":      {i: image("mariadb:10", target.Port{Number: 31000}), want: "mysql mysql n1:31000"},
		"image, declared":  {i: func() target.Instance { i := web(c+"cache", "redis"); i.Image = "redis"; return i }(), want: "cache redis n1:31000"},
		"other image":      {i: image("redis-exporter", target.Port{Number: 1}), want: ""},
		"imported":         {i: health(target.Health{Kind: "http", Path: "/h", PortIndex: 1}), want: "marathon http http://n1:31001/h"},
		"imported https":   {i: health(target.Health{Kind: "https"}), want: "marathon http https://n1:31000/"},
		"imported tcp":     {i: health(target.Health{Kind: "tcp"}), want: "marathon tcp n1:31000"},
		"imported port":    {i: health(target.Health{Kind: "tcp", Port: 22}), want: "marathon BAD …22 is no port of the instance"},
		"command":          {i: health(target.Health{Kind: "command", Known: true, Alive: true}), want: "marathon command the command that Marathon's executor runs"},
		"command, changed": {i: health(target.Health{Kind: "command"}, c+"marathon.interval", "30s"), want: "marathon command …"},
		"command, path":    {i: health(target.Health{Kind: "command"}, c+"marathon.path", "/x"), want: "marathon BAD …nothing of a command can be changed…"},
		"command by label": {i: web(c+"a", "command"), want: `a BAD …there is no "command"…`},
		"imported, off":    {i: health(target.Health{Kind: "tcp"}, c+"marathon", "off"), want: "marathon off"},
		"overlay":          {i: web(c+"a", "http:/a"), overlay: `apps: {"/prod/*": {checks: {a: {path: /b}, b: {kind: tcp, port: 22}}}}`, want: "a http http://n1:31000/b\nb tcp n1:22"},
		"overlay, order":   {i: web(), overlay: "apps:\n  '*': {checks: {a: {kind: tcp}}}\n  /prod/web: {checks: {a: off}}\n  /other: {checks: {a: {kind: redis}}}", want: "a off"},
		"overlay mends":    {i: web(c+"a", "tcp", c+"a.interval", "never"), overlay: `apps: {"*": {checks: {a: {interval: 5s}}}}`, want: "a tcp n1:31000"},
		"overlay, kind":    {i: web(c+"a", "http:/x", c+"a.match", "ok", c+"a.interval", "5s"), overlay: `apps: {"*": {checks: {a: {kind: tcp}}}}`, want: "a tcp n1:31000"},
		"overlay, URL":     {i: web(), overlay: `apps: {"*": {checks: {a: {kind: http, target: "http://other:1/"}}}}`, want: "a http http://other:1/"},
		"overlay, exec": {i: web(), overlay: `apps: {"*": {checks: {a: {kind: exec, path: /usr/lib/nagios/plugins/check_x, args: [-H, "{host}", -p, "{port}"]}}}}`,
			want: "a exec /usr/lib/nagios/plugins/check_x"},
		"exec elsewhere": {i: web(), overlay: `apps: {"*": {checks: {a: {kind: exec, path: /usr/lib/nagios/plugins/../../../bin/sh}}}}`, want: "a BAD …is not below…"},
		"exec, args by label": {i: web(c+"a", "exec", c+"a.args", "x"), overlay: `apps: {"*": {checks: {a: {kind: exec, path: /usr/lib/nagios/plugins/check_x}}}}`,
			want: "a BAD …programs are started from checks.yml only"},
		"overlay, nothing to change": {i: web(), overlay: `apps: {"*": {checks: {a: {interval: 5s}}}}`, want: ""},
		"overlay, wrong name":        {i: web(), overlay: `apps: {"/prod/web": {checks: {a: {interval: 5s}}}}`, want: "a BAD …there is no check a that it could change"},
		"datadog":                    {i: web("com.datadoghq.ad.check_names", `["redisdb"]`, "com.datadoghq.ad.instances", `[{"host":"%%host%%","port":"%%port%%"}]`), want: "dd-redisdb redis n1:31000"},
		"datadog 2": {i: web("com.datadoghq.ad.checks", `{"http_check":{"instances":[{"url":"http://%%host%%:%%port_1%%/x"}]},"oracle":{}}`),
			want: `dd-http-check http http://n1:31001/x` + "\nPROBLEM label com.datadoghq.ad.checks: no kind of check does what Datadog's \"oracle\" does"},
		"datadog elsewhere": {i: web("com.datadoghq.ad.checks", `{"tcp_check":{"instances":[{"host":"10.0.0.1","port":22}]}}`), want: "PROBLEM …which is not the instance"},
		"datadog, garbage":  {i: web("com.datadoghq.ad.checks", `[`), want: "PROBLEM …not in Datadog's form…"},
		"consul":            {i: web("mesoscope.consul", `{"check":{"http":"http://localhost:8080/h","interval":"15s","failures_before_critical":2}}`), want: "consul http http://n1:31000/h"},
		"consul list":       {i: web("mesoscope.consul", `[{"tcp":"127.0.0.1:9000"},{"args":["/bin/sh"]}]`), want: "consul tcp n1:31001\nPROBLEM …programs are started from checks.yml only"},
		"consul elsewhere":  {i: web("mesoscope.consul", `{"http":"http://10.0.0.1/"}`), want: "PROBLEM …which is not the instance"},
		"target URL":        {i: target.Instance{ID: "u", Host: "shop", Address: "shop", Ports: []target.Port{{Number: 443}}, Literal: "https://shop/x", Trusted: true}, want: "http http https://shop/x"},
		"target port":       {i: target.Instance{ID: "u", Address: "shop", Ports: []target.Port{{Number: 25}}, Literal: "shop:25", Trusted: true}, want: "tcp tcp shop:25"},
		"target kind":       {i: target.Instance{ID: "u", Address: "shop", Literal: "shop", Labels: map[string]string{"check": "redis"}, Trusted: true}, want: "redis redis shop:6379"},
		"target host":       {i: target.Instance{ID: "u", Address: "shop", Literal: "shop", Trusted: true}, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := &Options{ExecAllow: "/usr/lib/nagios/plugins", Credentials: map[string]Credential{
				"cache": {Apps: []string{"/prod/*"}, PasswordFile: secret}, "theirs": {Apps: []string{"/other"}, PasswordFile: secret}}}
			if tc.overlay != "" {
				o.Overlay = overlay(t, tc.overlay)
			}
			if got := said(o.Instance(tc.i)); !like(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// like compares with a pattern in which … stands for any text.
func like(got, want string) bool {
	return Match(strings.ReplaceAll(want, "…", "*"), got) || got == want
}

// TestValues: what a check is in the end.
func TestValues(t *testing.T) {
	with := (Options{Cluster: "prod", Overlay: overlay(t, `apps: {"/prod/*": {team: shop, checks: {health: {interval: 30s, fail: 2, of: 4, tip: "look at it"}}}}`)}).WithValues()
	o := &with
	list, problems := o.Instance(web("mesoscope.check.health", "http:/health", "mesoscope.team", "old", "mesoscope.page", "night", "mesoscope.check.health.alert_after", "2m"))
	if len(list) != 1 || len(problems) != 0 || list[0].Problem != "" {
		t.Fatal(said(list, problems))
	}
	d := list[0].Check.Definition
	if d.ID != "prod_web.1#health" || d.Cluster != "prod" || d.Interval != 30*time.Second || d.Timeout != 5*time.Second || d.Rule.Fail != 2 || d.Rule.Of != 4 || d.Rule.Pass != 2 ||
		d.Rule.Grace != time.Minute || d.Rule.Expire <= d.Interval {
		t.Errorf("%+v", d)
	}
	if w := d.Owner; w.Team != "shop" || w.Page != "night" || w.AlertAfter != 2*time.Minute || w.Tip != "look at it" {
		t.Errorf("%+v", w)
	}
	if !list[0].Check.Run.Confined || d.From != "label mesoscope.check.health of /prod/web" {
		t.Errorf("%+v %q", list[0].Check.Run, d.From)
	}
	var from []string
	for _, v := range list[0].Values {
		from = append(from, v.Key+"="+v.Value+" ("+v.From+")")
	}
	for _, want := range []string{"kind=http (label mesoscope.check.health)", `interval=30s (checks.yml apps["/prod/*"])`, "timeout=5s (default)", `team=shop (checks.yml apps["/prod/*"])`} {
		if !slices.Contains(from, want) {
			t.Errorf("%q is not in %q", want, from)
		}
	}
	if from[0] != "kind=http (label mesoscope.check.health)" {
		t.Errorf("begins with %s", from[0])
	}
	if w := o.Owner("/prod/web", map[string]string{"mesoscope.tip": "x"}); w.Team != "shop" || w.Tip != "x" {
		t.Errorf("%+v", w)
	}
}

// TestDiscreet: who asks where a value comes from need not see all of it.
func TestDiscreet(t *testing.T) {
	o := (Options{}).WithValues()
	const c = "mesoscope.check.a"
	list, _ := o.Instance(web(c, "http:/x?token=s3cret", c+".header", "Authorization: Bearer s3cret", c+".header.2", "X-Api-Key: s3cret", c+".header.3", "Host: shop", c+".data", "s3cret"))
	text := fmt.Sprint(list[0].Values, list[0].Check.Target, list[0].Problem)
	if strings.Contains(text, "s3cret") || !strings.Contains(text, "Authorization: …") || !strings.Contains(text, "Host: shop") || list[0].Problem != "" {
		t.Error(text)
	}
}

// TestGuessed: what an image suggests waits for its first good result.
func TestGuessed(t *testing.T) {
	i := web()
	i.Image = "redis"
	list, _ := (&Options{}).Instance(i)
	if d := list[0].Check.Definition; !d.Guessed || d.Rule.Grace < 1000*time.Hour || d.Owner.Page != "false" {
		t.Errorf("%+v", d)
	}
	i.Labels["mesoscope.check.redis.interval"] = "30s" // does not make it more certain
	if list, _ = (&Options{}).Instance(i); !list[0].Check.Guessed || list[0].Check.Interval != 30*time.Second {
		t.Errorf("%+v", list[0])
	}
}

// TestImported: Marathon's own rules hold.
func TestImported(t *testing.T) {
	i := web()
	i.Health = []target.Health{{Kind: "https", Grace: 300 * time.Second, Timeout: 20 * time.Second}, {Kind: "tcp"}}
	list, _ := (&Options{}).Instance(i)
	if len(list) != 2 || list[1].Name != "marathon-1" {
		t.Fatal(said(list, nil))
	}
	d := list[0].Check.Definition
	if d.Rule.Grace != 300*time.Second || d.Timeout != 20*time.Second || d.Interval != 10*time.Second {
		t.Errorf("%+v", d)
	}
}

// TestLabelTargets: the collector's configuration can open more.
func TestLabelTargets(t *testing.T) {
	o := &Options{LabelTargets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	i := web("mesoscope.check.in", "http:http://10.1.2.3/x", "mesoscope.check.out", "http:http://10.2.2.3/x", "mesoscope.check.name", "tcp", "mesoscope.check.name.target", "db:1")
	list, _ := o.Instance(i)
	want := "in http http://10.1.2.3/x\nname BAD …db is no IP address in collector.label_targets\nout BAD …"
	if got := said(list, nil); !like(got, want) {
		t.Error(got)
	}
	if !list[0].Check.Run.Confined {
		t.Error("it may be led elsewhere")
	}
	i = web("mesoscope.check.a", "tcp", "mesoscope.check.a.port", "22")
	i.Address = "10.1.0.7"
	if list, _ = o.Instance(i); list[0].Check.Target != "10.1.0.7:22" {
		t.Error(said(list, nil))
	}
}

// TestHostsAndStatic: what belongs to no app.
func TestHostsAndStatic(t *testing.T) {
	o := &Options{Overlay: overlay(t, `
hosts: {"n*": {team: ops, checks: {ssh: {kind: tcp, port: 22}, agent: {kind: mesos-agent}}}}
static:
  - {name: shop, kind: http, target: "https://shop.example.net/health", interval: 1m, team: shop, expect: ["[STATUS] == 200", "[RESPONSE_TIME] < 900"], warning: {certificate_days: "30:"}}
  - {name: disk, kind: volume, path: /, host: here}
  - {name: bad, kind: tcp, target: "nowhere"}
`)}
	if got := said(o.Hosts("n7"), nil); got != "agent mesos-agent http://n7:5051\nssh tcp n7:22" {
		t.Error(got)
	}
	if got := o.Hosts("m7"); got != nil {
		t.Error(got)
	}
	var got []string
	for _, s := range o.Static() {
		got = append(got, s.Instance.ID+" "+s.Check.Host+" "+said([]Declared{s.Declared}, nil))
	}
	want := "static shop shop.example.net shop http https://shop.example.net/health, static disk here disk volume /, static bad  bad BAD …has no port…"
	if text := strings.Join(got, ", "); !like(text, want) {
		t.Error(text)
	}
}

// TestOverlayRefused: a file is good as a whole, or refused with the place.
func TestOverlayRefused(t *testing.T) {
	for text, want := range map[string]string{
		`app: {}`:                                "app: unknown key",
		`jobs: {}`:                               "jobs: not in this version",
		`[]`:                                     "no mapping",
		`apps: [a]`:                              "apps: is no mapping",
		`apps: {/a: {tem: x}}`:                   `apps["/a"].tem: unknown key`,
		`apps: {/a: {checks: {A: off}}}`:         `"A" is no name`,
		`apps: {/a: {checks: {a: 3}}}`:           "is no mapping of keys to values, nor off",
		`apps: {/a: {checks: {a: {kind: htp}}}}`: `apps["/a"].checks.a.kind: there is no "htp"`,
		`apps: {/a: {checks: {a: {intervall: 1s}}}}`: `apps["/a"].checks.a.intervall: unknown key`,
		`apps: {/a: {checks: {a: {interval: 5}}}}`:   `apps["/a"].checks.a.interval: "5" is no duration`,
		`apps: {/a: {checks: {a: {path: {x: y}}}}}`:  "is a mapping, wanted a value",
		`apps: {/a: {checks: {a: {path: }}}}`:        "has no value",
		`apps: {/a: {runbook: x}}`:                   "is no URL",
		`static: {}`:                                 "static: is no list",
		`static: [{kind: tcp, target: "a:1"}]`:       "static[0].name",
		`static: [{name: a, kind: tcp}]`:             "wants name, kind and target",
		`static: [{name: a, kind: tcp, target: "a:1"}, {name: a, kind: tcp, target: "a:2"}]`: "twice",
		"apps: {\n": "not YAML",
	} {
		if _, err := ParseOverlay([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if o, err := ParseOverlay(nil); err != nil || o.Apps != nil {
		t.Error(o, err)
	}
}

// TestEveryOptionIsDecided: an option that a kind gets later is not open to
// labels before somebody has thought about it.
func TestEveryOptionIsDecided(t *testing.T) {
	for name, kind := range checks.Kinds {
		for _, o := range kind.AllOptions() {
			if _, refused := refusedOptions[o.Name]; refused == labelOptions[o.Name] {
				t.Errorf("--%s of %s is neither open to labels nor refused, or both", o.Name, name)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"/a", "/a", true}, {"/a", "/ab", false}, {"/a/*", "/a/b/c", true}, {"/a/*", "/a", false}, {"*", "", true}, {"/*/web", "/x/y/web", true},
		{"*a*b", "xaxb", true}, {"*a*b", "xbxa", false}, {"a*a", "a", false},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("%q %q: %v", c.pattern, c.name, got)
		}
	}
}
