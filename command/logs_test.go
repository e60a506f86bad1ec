package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"

	"mesoscope/config"
	"mesoscope/receipt"
	"mesoscope/search"
	"mesoscope/web/api"
	"mesoscope/web/storetest"
)

// logs runs the command line args over store, the way main does it.
func logs(t *testing.T, ctx context.Context, store search.Store, out, errOut *buffer, args ...string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return runLogs(t, IO{Out: out, Err: errOut, Context: ctx}, Stores{
		Embedded: func(string) (search.Store, error) { return store, nil },
	}, append(args, "--store", file)...)
}

func runLogs(t *testing.T, streams IO, stores Stores, args ...string) error {
	t.Helper()
	var cli struct {
		Logs Logs `cmd:"" help:"Search and follow lines."`
	}
	parser, err := kong.New(&cli, kong.Bind(streams, stores))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(append([]string{"logs"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return k.Run()
}

// buffer is a buffer that one goroutine may write while another reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *buffer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *buffer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func code(err error) int {
	var e Exit
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return -1
	}
	return 0
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func shop(begin time.Time) *storetest.Store {
	s := &storetest.Store{}
	s.Add("a", storetest.Doc(begin, "web", "stdout", "info", "GET / 200", 1, ""))
	s.Add("b", storetest.Doc(begin.Add(time.Second), "web-api", "stderr", "error", "Traceback:\n  File \"x\"", 2, ""))
	s.Add("c", storetest.Doc(begin.Add(2*time.Second), "/prod/pay", "stdout", "warn", "\x1b[31mred\u202e\u0085\r tab\there", 3, ""))
	s.Add("d", storetest.Doc(begin.Add(3*time.Second), "redis", "stdout", "", "saved", 4, ""))
	return s
}

func TestLogsText(t *testing.T) {
	var out, errOut buffer
	if err := logs(t, t.Context(), shop(noon), &out, &errOut, "--since", "2026-11-23T11:59:00Z", "--utc"); err != nil {
		t.Fatal(err)
	}
	want := `2026-11-23T12:00:00.123Z  node-1  web/web-1              stdout  GET / 200
2026-11-23T12:00:01.123Z  node-1  web-api/web-api-1      stderr  Traceback:
      File "x"
2026-11-23T12:00:02.123Z  node-1  /prod/pay//prod/pay-1  stdout  \x1b[31mred\u202e\u0085\r tab	here
2026-11-23T12:00:03.123Z  node-1  redis/redis-1          stdout  saved
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if errOut.String() != "" {
		t.Errorf("said %q", errOut.String())
	}
}

func TestLogsSelects(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // ids
	}{
		{"--app web", "a"},
		{"--app web*", "a b"},
		{"--app web --app redis", "a d"},
		{"--app /prod/*", "c"},
		{"--container web-api-1", "b"},
		{"--container id-of-web", ""}, // an id has 64 digits
		{"--host node-1", "a b c d"},
		{"--host node-2", ""},
		{"--stream stderr", "b"},
		{"--level warn", "b c"},
		{"--level ERROR", "b"},
		{"-n 2", "c d"},
		{"-n 0", ""},
		{"-n all", "a b c d"},
		{"--until 2026-11-23T12:00:01.123456789Z", "a"},
		{"saved or traceback", "b d"},
		{"not log.level: info and not saved", "b c"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errOut buffer
			args := append(strings.Fields(c.args), "--output", "json", "--since", "2026-11-23T12:00:00Z")
			if c.args == "saved or traceback" || strings.HasPrefix(c.args, "not") {
				args = []string{c.args, "--output", "json", "--since", "2026-11-23T12:00:00Z"}
			}
			if err := logs(t, t.Context(), shop(noon), &out, &errOut, args...); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, doc := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
				for i, sequence := range []string{"1", "2", "3", "4"} {
					if strings.Contains(doc, `"event":{"sequence":`+sequence+",") {
						ids = append(ids, string(rune('a'+i)))
					}
				}
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, out.String())
			}
			if quiet := c.want == ""; quiet != (errOut.String() == "no lines\n") {
				t.Errorf("said %q", errOut.String())
			}
		})
	}
}

func TestLogsJSONIsWhatIsStored(t *testing.T) {
	s := &storetest.Store{}
	doc := storetest.Doc(noon, "web", "stdout", "info", "<b>&\u2028", 1, `,"n":12345678901234567890`)
	s.Add("a", doc)
	server := httptest.NewServer(api.Handler(s, api.Options{}))
	defer server.Close()
	for name, store := range map[string]string{"file": "", "standalone": server.URL} {
		var out, errOut buffer
		args := []string{"--output", "json", "--since", "2026-11-23T11:00:00Z"}
		var err error
		if store == "" {
			err = logs(t, t.Context(), s, &out, &errOut, args...)
		} else {
			err = runLogs(t, IO{Out: &out, Err: &errOut, Context: t.Context()}, Stores{}, append(args, "--store", store)...)
		}
		if err != nil || out.String() != doc+"\n" {
			t.Errorf("%s: %v\ngot  %q\nwant %q", name, err, out.String(), doc+"\n")
		}
	}
}

func TestLogsPages(t *testing.T) {
	s := &storetest.Store{}
	for i := range 2500 {
		s.Add(fmt.Sprint(i), storetest.Doc(noon.Add(time.Duration(i)*time.Millisecond), "web", "stdout", "", fmt.Sprintf("line %d.", i), i, ""))
	}
	for n, first := range map[string]int{"2300": 200, "all": 0} {
		var out, errOut buffer
		if err := logs(t, t.Context(), s, &out, &errOut, "-n", n, "--since", "2026-11-23T11:00:00Z"); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2500-first {
			t.Fatalf("-n %s printed %d lines", n, len(lines))
		}
		for i, l := range lines {
			if !strings.HasSuffix(l, fmt.Sprintf(" line %d.", first+i)) {
				t.Fatalf("-n %s: line %d is %q", n, i, l)
			}
		}
	}
}

func TestLogsFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		now := time.Now()
		s := shop(now.Add(-time.Minute))
		var out, errOut buffer
		done := make(chan error)
		go func() { done <- logs(t, ctx, s, &out, &errOut, "-f", "-n", "1", "--output", "json") }()
		step := func() { time.Sleep(5 * time.Second); synctest.Wait() }
		step()
		// Later in arrival, earlier in time: shown late, but shown.
		s.Add("late", storetest.Doc(now.Add(-time.Hour), "web", "stdout", "", "late one", 5, ""))
		step()
		s.Fail(errors.New("gone"))
		step()
		step()
		s.Fail(nil)
		s.Add("back", storetest.Doc(now, "web", "stdout", "", "back again", 6, ""))
		step()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		var got []string
		for _, m := range []string{"saved", "late one", "back again"} {
			got = append(got, fmt.Sprint(strings.Count(out.String(), m)))
		}
		if strings.Join(got, "") != "111" || strings.Count(out.String(), "\n") != 3 {
			t.Errorf("printed %q", out.String())
		}
		if want := "the store does not answer (gone); trying again until it does\nthe store answers again\n"; errOut.String() != want {
			t.Errorf("said %q", errOut.String())
		}
	})
}

func TestLogsExitCodes(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/v1/" {
			fmt.Fprint(w, `{"product":"mesoscope"}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"no such thing"}`)
	}))
	defer refusing.Close()
	dir := t.TempDir()
	nothing := Stores{Standalone: dead.URL, Config: func(string) (config.Config, error) { return config.Config{DataDir: dir}, nil }}
	broken := &storetest.Store{}
	broken.Fail(errors.New("disk gone"))
	file := filepath.Join(dir, "x.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		stores Stores
		args   []string
		code   int
		say    string
	}{
		{"query", Stores{}, []string{"level: ("}, Usage, "expected a value of level\n  level: (\n          ^"},
		{"level", Stores{}, []string{"--level", "loud"}, Usage, "want one of trace, debug"},
		{"lines", Stores{}, []string{"-n", "many"}, Usage, "want a number or all"},
		{"since", Stores{}, []string{"--since", "yesterdayish"}, Usage, "is not a time; write 15m"},
		{"since after until", Stores{}, []string{"--since", "1m", "--until", "2m"}, Usage, "not before"},
		{"follow until", Stores{}, []string{"-f", "--until", "2m"}, Usage, "no meaning with --follow"},
		{"scheme", Stores{}, []string{"--store", "ftp://x"}, Usage, "http://"},
		{"no file", Stores{Embedded: func(string) (search.Store, error) { return nil, nil }}, []string{"--store", filepath.Join(dir, "none")}, Unknown, "no such file"},
		{"file, not built in", Stores{}, []string{"--store", file}, Usage, "cannot open a store's file"},
		{"Elasticsearch, not built in", Stores{}, []string{"--store", elsewhere.URL}, Usage, "cannot search in Elasticsearch"},
		{"nobody there", Stores{}, []string{"--store", dead.URL}, Unknown, "refused"},
		{"nothing anywhere", nothing, nil, Unknown, "--store, --config or MESOSCOPE_STORE"},
		{"store fails", Stores{Embedded: func(string) (search.Store, error) { return broken, nil }}, []string{"--store", file}, Unknown, "disk gone"},
		{"store refuses", Stores{}, []string{"--store", refusing.URL}, Bad, "no such thing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("MESOSCOPE_STORE", "")
			os.Unsetenv("MESOSCOPE_STORE")
			var out, errOut buffer
			err := runLogs(t, IO{Out: &out, Err: &errOut, Context: t.Context()}, c.stores, c.args...)
			if code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.say) {
				t.Errorf("exit %d (%v), want %d with %q", code(err), err, c.code, c.say)
			}
		})
	}
}

func TestLogsFindsItsStore(t *testing.T) {
	here, there := shop(time.Now().Add(-time.Minute)), &storetest.Store{}
	server := httptest.NewServer(api.Handler(here, api.Options{}))
	defer server.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "standalone", "store.db")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := ""
	stores := Stores{
		Standalone: server.URL,
		Config:     func(string) (config.Config, error) { return config.Config{DataDir: dir}, nil },
		Embedded:   func(p string) (search.Store, error) { opened = p; return there, nil },
	}
	var out, errOut buffer
	streams := IO{Out: &out, Err: &errOut, Context: t.Context()}
	if err := runLogs(t, streams, stores); err != nil || strings.Count(out.String(), "\n") < 4 || opened != "" {
		t.Errorf("with a standalone: %v, %q, opened %q", err, out.String(), opened)
	}
	server.Close()
	if err := runLogs(t, streams, stores); err != nil || opened != file {
		t.Errorf("without: %v, opened %q", err, opened)
	}
	var asked config.Elasticsearch
	stores.Config = func(string) (config.Config, error) {
		return config.Config{Output: config.Output{Elasticsearch: &config.Elasticsearch{Hosts: []string{"http://es:9200"}}}}, nil
	}
	stores.Elasticsearch = func(c config.Elasticsearch) (search.Store, error) { asked = c; return there, nil }
	if err := runLogs(t, streams, stores, "--config", "mesoscope.yml"); err != nil || len(asked.Hosts) != 1 || asked.Hosts[0] != "http://es:9200" {
		t.Errorf("configured: %v, %v", err, asked)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"15m":                            now.Add(-15 * time.Minute),
		"2h":                             now.Add(-2 * time.Hour),
		"7d":                             now.Add(-7 * 24 * time.Hour),
		"1h30m":                          now.Add(-90 * time.Minute),
		"2026-11-23T14:00:00.123456789Z": now.Add(123456789),
		"2026-11-23T15:00:00+01:00":      now,
		"2026-11-23 14:00":               time.Date(2026, 11, 23, 14, 0, 0, 0, time.Local),
		"2026-11-23":                     time.Date(2026, 11, 23, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "15", "-15m", "soon", "2026-13-01", "99999999999999999999d", "999999999d"} {
		if got, err := parseTime(s, now); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func FuzzEscapeControls(f *testing.F) {
	for _, s := range []string{"plain", "\x1b]0;title\a", "\u009b31m", "a\u202eb", "\xff\xfe", "emoji \U0001F469\u200d\U0001F4BB", "\U000e0041"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := escapeControls(s, true)
		for _, r := range got {
			if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x2028 || r == 0x2029 {
				t.Fatalf("%q became %q with %U in it", s, got, r)
			}
		}
	})
}

// Where lines were lost stands a line that nobody takes for the container's.
func TestPrinterShowsGaps(t *testing.T) {
	own, err := receipt.Origin{Container: "c", Path: "/x-json.log", Generation: "g"}.AppendGap(nil, receipt.Gap{Reason: "truncated in place", From: 7}, "mesos.container", noon)
	if err != nil {
		t.Fatal(err)
	}
	line := search.Line{Time: noon, Doc: []byte("{" + string(own) + `,"container":{"name":"web-1"},"host":{"name":"node-1"}}`)}
	const message = "lines are missing here: an unknown number of bytes of /x-json.log from offset 7 were lost (truncated in place)"
	for color, want := range map[bool]string{
		false: "node-1  web-1  GAP     " + message + "\n",
		true:  "\x1b[1;31mGAP\x1b[0m     \x1b[1;31m" + message + "\x1b[0m\n",
	} {
		var out bytes.Buffer
		p := printer{out: &out, utc: true, color: color}
		if err := p.print([]search.Line{line}); err != nil || !strings.HasSuffix(out.String(), want) {
			t.Errorf("%v: %q, want %q", err, out.String(), want)
		}
	}
}

func TestPrinterColours(t *testing.T) {
	s := shop(noon)
	res, err := s.Search(t.Context(), search.Request{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := printer{out: &out, utc: true, color: true}
	if err := p.print(res.Lines); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[31mTraceback:\x1b[0m\n    \x1b[31m  File") {
		t.Errorf("each part of a message has its own colour and end: %q", out.String())
	}
	if strings.Contains(out.String(), "\x1b[31mred") {
		t.Errorf("a container's own escape sequence came through: %q", out.String())
	}
}
