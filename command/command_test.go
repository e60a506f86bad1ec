package command

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/agent/status"
)

// run calls the command line like main does.
func run(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(args, IO{Out: &o, Err: &e, Context: t.Context()})
	return code, o.String(), e.String()
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in:\n%s", w, text)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"-h"}} {
		code, out, errOut := run(t, args...)
		if code != Done || errOut != "" {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
		contains(t, out, "Usage: mesoscope COMMAND", "Set up\n  validate", "$ mesoscope validate --config", "Exit codes")
	}
	code, out, _ := run(t, "status", "--help")
	if code != Done {
		t.Error(code)
	}
	contains(t, out, "--url=URL", "Example:\n  mesoscope status --all", "Exit code 0")
}

func TestVersion(t *testing.T) {
	code, out, _ := run(t, "--version")
	if code != Done || !strings.HasPrefix(out, "mesoscope 0.1.0 (commit ") || !strings.Contains(out, ") go1.") {
		t.Errorf("%d %q", code, out)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"vali", "mesoscope: unexpected argument vali, did you mean \"validate\"?\nTry: mesoscope --help\n"},
		{"validate --bad", "mesoscope: unknown flag --bad\nTry: mesoscope validate --help\n"},
		{"validate --for sidecar", "mesoscope: --for must be one of \"agent\",\"standalone\",\"collector\" but got \"sidecar\"\nTry: mesoscope validate --help\n"},
		{"status --token-file /no/such --url http://127.0.0.1:1", "mesoscope: --token-file: open /no/such: no such file or directory\n"},
	} {
		code, out, errOut := run(t, strings.Fields(c.args)...)
		if code != Usage || out != "" || errOut != c.want {
			t.Errorf("%s: %d %q %q", c.args, code, out, errOut)
		}
	}
}

func TestValidate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yml")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("output:\n  elasticsearch:\n    hosts: [http://es1:9200]\nnode: {name: n1}\n")
	code, out, errOut := run(t, "validate", "--config", path)
	want := path + ": ok for agent\n  node.name                   n1  (line 4)\n  output.elasticsearch.hosts  [http://es1:9200]  (line 3)\n"
	if code != Done || out != want || errOut != "" {
		t.Errorf("%d\n%s\n%s%s", code, out, want, errOut)
	}
	code, out, _ = run(t, "validate", "--config", path, "--output", "json")
	var ok struct {
		OK       bool
		Settings []struct{ Key, From string }
	}
	if err := json.Unmarshal([]byte(out), &ok); err != nil || code != Done || !ok.OK || len(ok.Settings) != 2 {
		t.Errorf("%d %v %s", code, err, out)
	}

	write("output:\n  elasticsearch:\n    hosts: [localhost]\n    password: hunter2\n")
	code, out, errOut = run(t, "validate", "--config", path)
	want = path + `:3:13: output.elasticsearch.hosts[0]: "localhost" is not a URL; write http://localhost:9200
    3 |     hosts: [localhost]
      |             ^
` + path + `:4:5: output.elasticsearch.password: unknown key; a secret does not stand here, put it into a file and name that in output.elasticsearch.password_file
    4 |     password: …
      |     ^
2 mistakes
`
	if code != Bad || out != want || errOut != "" {
		t.Errorf("%d %s\n%s\n%s", code, out, want, errOut)
	}
	code, out, _ = run(t, "validate", "--config", path, "--output=json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != Bad || len(lines) != 2 || !strings.Contains(lines[0], `"line":3,"column":13,"key":"output.elasticsearch.hosts[0]"`) {
		t.Errorf("%d %s", code, out)
	}

	write("# nothing\n")
	if code, out, _ = run(t, "validate", "--config", path, "--for", "standalone"); code != Done || out != path+": ok for standalone\n" {
		t.Errorf("%d %s", code, out)
	}
	code, _, errOut = run(t, "validate", "--config", path+".no")
	if code != Bad {
		t.Error(code)
	}
	contains(t, errOut, "read configuration: ", "no such file")
}

// answer is a process with the given state.
func answer(t *testing.T, s status.Status, sources []status.Source) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(status.StatusPath, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(s) })
	mux.HandleFunc(status.SourcesPath, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(sources) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestStatusFine(t *testing.T) {
	url := answer(t, status.Status{Version: "0.1.0", Node: "n1", UptimeSeconds: 7500,
		Output: status.Output{Kind: "elasticsearch", State: status.OutputOK, InFlightBytes: 1 << 20},
		Counts: status.Counts{LinesRead: 1234567, LinesDelivered: 1234560, Dropped: map[string]int64{"too_old": 7, "none": 0}},
	}, []status.Source{{ID: "docker/1/stdout", Container: "web", Service: "/prod/web", Stream: "stdout", Driver: "json-file", State: "following", Guarantee: "exactly-once"}})
	code, out, errOut := run(t, "status", "--url", url+"/")
	want := "mesoscope 0.1.0 on n1 (" + url + `), up 2h5m

output  elasticsearch, ok, 1 MiB under way
lines   1,234,567 read, 1,234,560 delivered, 0 duplicate, 7 dropped (too_old 7), 0 refused

CONTAINER  SERVICE    STREAM  BEHIND    STATE      DRIVER     GUARANTEE
web        /prod/web  stdout  0 B       following  json-file  exactly-once
1 source, all up to date
`
	if code != Done || out != want || errOut != "" {
		t.Errorf("%d\n%s\nwant\n%s%s", code, out, want, errOut)
	}
}

// TestStatusBad: problems first, then the worst lag, hostile names harmless.
func TestStatusBad(t *testing.T) {
	sources := []status.Source{
		{ID: "a", Container: "small", LagBytes: 10, LagSeconds: 2},
		{ID: "b", Container: "big\x1b[2J\u202e", LagBytes: 5 << 20, LagSeconds: 90},
		{ID: "c", Container: "none", Stream: "stdout", State: "not readable: driver none", LastError: "permission denied"},
	}
	for range 30 {
		sources = append(sources, status.Source{ID: "quiet"})
	}
	url := answer(t, status.Status{Version: "0.1.0", Node: "n1",
		Output: status.Output{Kind: "elasticsearch", State: status.OutputPaused, PausedReason: "connection refused", Since: time.Now(),
			LastErrors: []status.OutputError{{Reason: "mapper_parsing_exception", Count: 12, Example: "object mapping"}}},
		Hold: status.Hold{Dir: "/hold", State: "off", Problem: "another file system"},
	}, sources)
	code, out, _ := run(t, "status", "--url", url)
	if code != Bad {
		t.Error(code)
	}
	contains(t, out, "  ! output elasticsearch is paused since ", ": connection refused\n", "  ! hold: another file system\n",
		"  ! none stdout: permission denied\n", "12 × mapper_parsing_exception", "… and 13 more; --all shows them\n", "33 sources, 2 behind: 5.0 MiB, at most 1m30s\n")
	if strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("control characters in %q", out)
	}
	if p, b, s := strings.Index(out, "! hold"), strings.Index(out, "big"), strings.Index(out, "small"); p > b || b > s {
		t.Errorf("order:\n%s", out)
	}
	if _, out, _ := run(t, "status", "--url", url, "--all"); strings.Contains(out, "more") || strings.Count(out, "quiet") != 30 {
		t.Errorf("not all:\n%s", out)
	}
	code, out, _ = run(t, "status", "--url", url, "--output", "json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != Bad || len(lines) != 34 || !strings.HasPrefix(lines[0], `{"status":{`) || !strings.HasPrefix(lines[1], `{"source":{`) {
		t.Errorf("%d %s", code, out)
	}
}

// TestStatusHold: what the hold folder is in for stands with its size, and each
// sentence about it once.
func TestStatusHold(t *testing.T) {
	soon, farther := 2400.0, 9000.0
	const held = "log files cannot be held in /hold"
	url := answer(t, status.Status{
		Hold:     status.Hold{Dir: "/hold", State: "off", Bytes: 5 << 30, Problem: held, FullSeconds: &soon},
		Problems: []string{held},
	}, []status.Source{{ID: "a", Container: "web", Stream: "stdout", Blocked: "waits since 5m0s for the batch at offset 4711 of generation x"}})
	code, out, _ := run(t, "status", "--url", url)
	if code != Bad || strings.Count(out, held) != 1 {
		t.Errorf("%d\n%s", code, out)
	}
	contains(t, out, "\nhold    /hold, off, 5 GiB, full in 40m0s\n", "  ! web stdout: waits since 5m0s for the batch at offset 4711 of generation x\n")
	url = answer(t, status.Status{Hold: status.Hold{Dir: "/hold", State: "ok", Bytes: 1 << 20, FullSeconds: &farther}}, nil)
	code, out, _ = run(t, "status", "--url", url)
	if code != Done {
		t.Error(code)
	}
	contains(t, out, "\nhold    /hold, ok, 1 MiB, full in 2h30m\n")
}

// TestStatusAnswers: each kind of answer with a case of it, said once, and what
// could not be stored with the command that shows it.
func TestStatusAnswers(t *testing.T) {
	at := time.Date(2026, 11, 25, 10, 0, 0, 0, time.Local)
	url := answer(t, status.Status{Version: "0.1.0", Node: "n1", Output: status.Output{Kind: "elasticsearch", State: status.OutputOK,
		LastErrors: []status.OutputError{{Reason: "could not take lines now", Count: 3, Last: at, Answer: true}, {Reason: "cannot be reached", Count: 2, Last: at, Example: "refused"}},
		Answers: []status.Answer{
			{Answer: "201", Outcome: "stored", Lines: 1234567, Last: at},
			{Answer: "429, 5xx", Outcome: "sent again", Lines: 3, Last: at, Example: "status 429 \x1b[2Jqueue"},
		},
		DeadLetters: &status.DeadLetters{Dir: "/var/lib/mesoscope/agent/deadletter", Count: 12, Bytes: 5000, Oldest: at.Add(-time.Hour), Newest: at, Reason: "mapping: no", Command: "mesoscope deadletter list"},
	}}, nil)
	_, out, _ := run(t, "status", "--url", url)
	contains(t, out, `
output  elasticsearch, ok, 0 B under way
        1,234,567  × 201       stored      last 2026-11-25 10:00:00
        3          × 429, 5xx  sent again  last 2026-11-25 10:00:00
          status 429 `, `queue
        2 × cannot be reached, last 2026-11-25 10:00:00: refused
dead    12 dead letters, 4.9 KiB in /var/lib/mesoscope/agent/deadletter, given up from 2026-11-25 09:00:00 to 2026-11-25 10:00:00
        newest: mapping: no
        `+"`mesoscope deadletter list` shows them\n")
	if strings.ContainsAny(out, "\x1b") || strings.Contains(out, "could not take") {
		t.Errorf("%q", out)
	}
}

func TestStatusUnreachable(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	code, out, errOut := run(t, "status", "--url", closed.URL)
	if code != Unknown || out != "" {
		t.Errorf("%d %s", code, out)
	}
	contains(t, errOut, "nobody could be asked:\n  "+closed.URL+": connection refused\n", "http.listen")

	// without --url: first one, then the other, and both are named
	first, second := closed.URL, answer(t, status.Status{Node: "second"}, nil)
	s := Status{}
	client, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.ask(t.Context(), client, []string{first, second}); err != nil || r.(*report).Status.Node != "second" {
		t.Errorf("%v %v", r, err)
	}
	if _, err := s.ask(t.Context(), client, []string{first, first}); err == nil || strings.Count(err.Error(), first) != 2 {
		t.Error(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }))
	defer page.Close()
	code, _, errOut = run(t, "status", "--url", page.URL)
	if code != Unknown {
		t.Error(code)
	}
	contains(t, errOut, "not a status of mesoscope")
}

func TestStatusToken(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == status.SourcesPath {
			w.Write([]byte("[]"))
			return
		}
		w.Write([]byte(`{"node":"n1"}`))
	}))
	defer server.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	writeFile(t, token, "right\n")
	writeFile(t, ca, pemOf(server.Certificate().Raw))
	if code, out, errOut := run(t, "status", "--url", server.URL, "--ca-file", ca, "--token-file", token); code != Done {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	code, _, errOut := run(t, "status", "--url", server.URL, "--ca-file", ca)
	if code != Unknown {
		t.Error(code)
	}
	contains(t, errOut, "wants a token; give --token-file")
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count %d: %s", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1 << 20: "1 MiB", 1536: "1.5 KiB", 1 << 40: "1 TiB"} {
		if got := size(n); got != want {
			t.Errorf("size %d: %s", n, got)
		}
	}
	for s, want := range map[float64]string{0: "0s", 0.25: "300ms", 59: "59s", 90: "1m30s", 600: "10m0s", 7500: "2h5m", 200000: "2d7h"} {
		if got := ago(s); got != want {
			t.Errorf("ago %v: %s", s, got)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
