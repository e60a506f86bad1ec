package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/lockfile"
	"mesoscope/shipper"
	"mesoscope/test/fakees"
)

// deadletter runs the command line.
func deadletter(t testing.TB, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(append([]string{"deadletter"}, args...), IO{Out: &o, Err: &e, Context: t.Context()})
	return o.String(), e.String(), code
}

// deadLetters fills data_dir/kind/deadletter.
func deadLetters(t testing.TB, dataDir, kind string, letters ...shipper.DeadLetter) *shipper.DeadLetters {
	t.Helper()
	d, err := shipper.OpenDeadLetters(filepath.Join(dataDir, kind, "deadletter"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Append(letters); err != nil {
		t.Fatal(err)
	}
	return d
}

const deadIndex = "logs-mesos.container-default"

func deadLetter(id string, age time.Duration, reason string) shipper.DeadLetter {
	return shipper.DeadLetter{
		Time: time.Now().Add(-age), Index: deadIndex, ID: id, Status: 400, Type: "document_parsing_exception", Reason: reason,
		Document: json.RawMessage(fmt.Sprintf(`{"@timestamp":"2026-11-24T10:00:00Z","message":"line %s\u001b[2J","app":{"status":"x"}}`, id)),
	}
}

func deadReason(id string) string {
	return fmt.Sprintf("[1:%d] failed to parse field [app.status] of type [long] in document with id '%s'. Preview of field's value: 'x': For input", len(id), id)
}

func TestDeadLetterList(t *testing.T) {
	data := t.TempDir()
	t.Setenv("MESOSCOPE_DATA_DIR", data)
	if out, errOut, code := deadletter(t, "list"); out != "no dead letters\n" || errOut != "" || code != Done {
		t.Errorf("nothing there: %d %s%s", code, out, errOut)
	}
	other := deadLetter("o", time.Minute, "Limit of total fields [1000] has been exceeded")
	other.Index, other.Document = "logs-mesos.other-default", json.RawMessage(`"no JSON"`)
	deadLetters(t, data, "agent", deadLetter("a", 48*time.Hour, deadReason("a")), deadLetter("b", time.Hour, deadReason("bb")))
	deadLetters(t, data, "standalone", other)
	for _, c := range []struct {
		args        string
		lines       int // with the time of a letter
		has, hasNot []string
	}{
		{"list", 3, []string{"\n3 dead letters\n", "  2  document_parsing_exception: failed to parse field [app.status] of type [long]\n", "  1  document_parsing_exception: Limit of total fields [1000] has been exceeded\n", `line a\x1b[2J`, `"no JSON"`}, []string{"\x1b"}},
		{"list -n 1", 1, []string{"3 dead letters, the newest 1 shown; all of them: -n all", "logs-mesos.other-default"}, []string{"line b"}},
		{"list -n all --since 1d", 2, []string{"2 dead letters"}, []string{"line a"}},
		{"list --index logs-mesos.o*", 1, []string{"1 dead letter\n"}, []string{"line a"}},
		{"list --index nothing", 0, []string{"no dead letters"}, nil},
		{"list --dir " + filepath.Join(data, "agent", "deadletter"), 2, []string{"2 dead letters"}, nil},
	} {
		out, errOut, code := deadletter(t, strings.Fields(c.args)...)
		bad := code != Done || errOut != "" || strings.Count(out, "\n20") != c.lines
		for _, s := range c.has {
			bad = bad || !strings.Contains(out, s)
		}
		for _, s := range c.hasNot {
			bad = bad || strings.Contains(out, s)
		}
		if bad {
			t.Errorf("%s: exit code %d, want %d lines with %q and not %q:\n%s%s", c.args, code, c.lines, c.has, c.hasNot, out, errOut)
		}
	}
	out, _, code := deadletter(t, "list", "--output", "json", "-n", "all")
	var stored []byte
	for _, kind := range []string{"agent", "standalone"} {
		b, err := os.ReadFile(filepath.Join(data, kind, "deadletter", "000001.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, b...)
	}
	if code != Done || out != string(stored) {
		t.Errorf("json: %d\n%s\nwant\n%s", code, out, stored)
	}
	// What cannot be read is said, and the rest is shown.
	if err := os.WriteFile(filepath.Join(data, "agent", "deadletter", "000002.ndjson"), []byte("broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := deadletter(t, "list"); code != Bad || !strings.Contains(out, "3 dead letters") || !strings.Contains(errOut, "000002.ndjson, line 1") || !strings.Contains(errOut, "1 letter could not be read") {
		t.Errorf("broken: %d %s%s", code, out, errOut)
	}
}

func TestDeadLetterReplay(t *testing.T) {
	data := t.TempDir()
	t.Setenv("MESOSCOPE_DATA_DIR", data)
	mended := false
	fake := &fakees.Server{OnItem: func(_, id string, _ []byte) fakees.ItemFault {
		if strings.HasPrefix(id, "bad") && !mended {
			return fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: deadReason(id)}
		}
		return fakees.ItemFault{}
	}}
	server := httptest.NewServer(fake)
	defer server.Close()
	var letters []shipper.DeadLetter
	for i := range 1200 { // more than one request
		id := fmt.Sprint("good", i)
		if i%400 == 0 {
			id = fmt.Sprint("bad", i)
		}
		letters = append(letters, deadLetter(id, time.Hour, deadReason(id)))
	}
	running := deadLetters(t, data, "agent", letters...)
	expect := func(wantCode int, want string, args ...string) {
		t.Helper()
		out, errOut, code := deadletter(t, append([]string{"replay"}, args...)...)
		if code != wantCode || !strings.Contains(out+errOut, want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s%s", args, code, wantCode, want, out, errOut)
		}
	}
	expect(Usage, "to which Elasticsearch?")
	expect(Usage, "--since: ", "--since", "x", "--to", server.URL)
	expect(Usage, "syntax error in pattern", "--index", "[", "--to", server.URL)
	expect(Done, "would send 1200 documents\n  1,200 to "+deadIndex, "--dry-run", "--to", server.URL)
	gone := httptest.NewServer(nil)
	gone.Close()
	expect(Unknown, "cannot be reached", "--to", gone.URL)
	if fake.Lines() != 0 {
		t.Fatalf("%d documents were sent", fake.Lines())
	}
	expect(Done, "nothing to replay", "--to", server.URL, "--index", "logs-mesos.other-*")
	expect(Bad, "refused  "+deadIndex+"  bad0    document_parsing_exception: [1:4] failed to parse field", "--to", server.URL)
	if n := len(fake.Docs(deadIndex)); n != 1197 {
		t.Errorf("%d documents are stored, want 1197", n)
	}
	// The agent appends on, also what was replayed before.
	if err := running.Append([]shipper.DeadLetter{deadLetter("late", 0, "x"), deadLetter("good1", 0, "x")}); err != nil {
		t.Fatal(err)
	}
	expect(Bad, "1 stored\n1 already there\n3 refused again; they stay here\n", "--to", server.URL)
	mended = true
	out, errOut, code := deadletter(t, "replay", "--to", server.URL, "--output", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != Done || errOut != "" || len(lines) != 4 || lines[0] != `{"index":"`+deadIndex+`","id":"bad0","result":"stored","status":201}` || lines[3] != `{"results":{"stored":3},"left":0,"removed_files":0}` {
		t.Errorf("json: exit code %d\n%s%s", code, out, errOut)
	}
	expect(Done, "nothing to replay", "--to", server.URL)
	if out, _, _ := deadletter(t, "list"); out != "no dead letters\n" {
		t.Error(out)
	}
	if n := len(fake.Docs(deadIndex)); n != 1201 {
		t.Errorf("%d documents are stored, want 1201", n)
	}
	// Not two at the same time.
	lock := filepath.Join(data, "agent", "deadletter")
	release := takeLock(t, lock)
	expect(Bad, "another replay is under way", "--to", server.URL)
	release()
	// An agent that started anew writes to the next file; the old one can go.
	deadLetters(t, data, "agent", deadLetter("new", 0, "x"))
	expect(Done, `{"results":{"stored":1},"left":0,"removed_files":1}`, "--to", server.URL, "--output", "json")
	if files, _ := filepath.Glob(filepath.Join(lock, "0*")); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
}

func takeLock(t *testing.T, dir string) (release func()) {
	t.Helper()
	lock, err := lockfile.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	}
}
