package command

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/embedded"
	"mesoscope/receipt"
	"mesoscope/record"
	"mesoscope/search"
	"mesoscope/web"
	"mesoscope/web/storetest"
)

// A ledger makes lines, receipts and gap documents as the agent does.
type ledger struct {
	t       testing.TB
	begin   time.Time
	now     time.Time // of receipts; zero: soon after the last line
	batches []*record.Batch
}

func newLedger(t testing.TB) *ledger {
	return &ledger{t: t, begin: time.Now().UTC().Add(-30 * time.Minute).Truncate(time.Second)}
}

func (l *ledger) stream(container, stream, dataset string) *record.Stream {
	fields := fmt.Sprintf(`"container":{"id":%q,"name":%q},"service":{"name":"/prod/%s"},"host":{"name":"node-1"},"data_stream":{"type":"logs","dataset":%q,"namespace":"default"}`,
		strings.Repeat("0", 60)+container, container, container, dataset)
	if stream != "" {
		fields = fmt.Sprintf(`"stream":%q,`, stream) + fields
	}
	return &record.Stream{Name: dataset + container + stream, Index: "logs-" + dataset + "-default", Dataset: dataset, Fields: []byte(fields)}
}

func (l *ledger) add(s *record.Stream, id string, own []byte) {
	n := len(l.batches)
	if n == 0 || l.batches[n-1].Stream.Name != s.Name {
		b := new(record.Batch)
		b.Reset(s, nil)
		l.batches = append(l.batches, b)
		n++
	}
	b := l.batches[n-1]
	b.Body = record.AppendAction(b.Body, []byte(id))
	item := record.Item{Doc: uint32(len(b.Body))}
	b.Body = append(append(append(append(b.Body, '{'), own...), ','), s.Fields...)
	b.Body = append(b.Body, "}\n"...)
	item.End = uint32(len(b.Body))
	b.Items = append(b.Items, item)
}

// at is the time of a line: one a second, each generation a minute later.
func (l *ledger) at(generation int, n int64) time.Time {
	return l.begin.Add(time.Duration(generation)*time.Minute + time.Duration(n)*100*time.Millisecond)
}

func (l *ledger) origin(container string, generation int, stream string) receipt.Origin {
	id := strings.Repeat("0", 60) + container
	return receipt.Origin{Container: id, Path: "/var/lib/docker/containers/" + id + "/" + id + "-json.log", Generation: fmt.Sprint("g", generation), Stream: stream}
}

func (l *ledger) lines(container string, generation int, stream string, first, last int64) {
	s, o := l.stream(container, stream, "mesos.container"), l.origin(container, generation, stream)
	for n := first; n <= last; n++ {
		at := l.at(generation, n).Format(time.RFC3339Nano)
		l.add(s, fmt.Sprintf("%s-%d-%s-%d", container, generation, stream, n), fmt.Appendf(nil,
			`"@timestamp":%q,"message":"line %d","log":{"offset":%d,"file":{"path":%q,"generation":%q}},"event":{"sequence":%d,"created":%q,"dataset":"mesos.container"}`,
			at, n, n*100, o.Path, o.Generation, n, at))
	}
}

func (l *ledger) receipt(container string, generation int, stream string, r receipt.Receipt) {
	r.Lines.Delivered = r.Lines.Total - r.Lines.DeadLettered - r.Lines.Pending
	r.Bytes.Size = r.Bytes.Gap
	if settled := r.Lines.Total - r.Lines.Pending; settled > 0 {
		r.First, r.Last = l.at(generation, 1), l.at(generation, settled)
	}
	o := l.origin(container, generation, stream)
	now := l.now
	if now.IsZero() {
		now = l.at(generation, r.Lines.Total+10)
	}
	own, err := o.Append(nil, r, now)
	if err != nil {
		l.t.Fatal(err)
	}
	l.add(l.stream(container, stream, receipt.Dataset), o.ID(r.Revision), own)
}

func (l *ledger) gap(container string, generation int, g receipt.Gap) {
	o := l.origin(container, generation, "")
	own, err := o.AppendGap(nil, g, "mesos.container", l.at(generation, 0))
	if err != nil {
		l.t.Fatal(err)
	}
	l.add(l.stream(container, "", "mesos.container"), o.GapID(g), own)
}

// final is a receipt of n lines.
func final(revision int, n int64) receipt.Receipt {
	return receipt.Receipt{Revision: revision, Final: true, Lines: receipt.Lines{Total: n}}
}

// write fills the ledger with one container a case.
func (l *ledger) write() {
	// good: two files, both streams, revisions in no order, one far longer ago.
	l.receipt("good", 1, "stdout", final(3, 100))
	l.lines("good", 1, "stdout", 1, 100)
	l.receipt("good", 1, "stdout", receipt.Receipt{Revision: 1, Lines: receipt.Lines{Total: 50, Pending: 10}})
	l.lines("good", 1, "stderr", 1, 7)
	l.receipt("good", 1, "stderr", final(2, 7))
	l.lines("good", 2, "stdout", 1, 40)
	l.receipt("good", 2, "stdout", final(1, 40))
	l.receipt("good", 2, "stderr", final(1, 0))
	l.receipt("good", 1, "stdout", receipt.Receipt{Revision: 2, Lines: receipt.Lines{Total: 90}})
	// bad: lines 1-2, 17-19 and 100 will be deleted, 7 doubled.
	l.lines("bad1", 1, "stdout", 1, 100)
	l.receipt("bad1", 1, "stdout", final(1, 100))
	l.lines("bad1", 2, "stdout", 1, 20)
	l.receipt("bad1", 2, "stdout", final(1, 20))
	// open: the booked part is there.
	l.lines("open", 1, "stdout", 1, 30)
	l.receipt("open", 1, "stdout", receipt.Receipt{Revision: 4, Lines: receipt.Lines{Total: 25, Pending: 5}})
	// dead: booked otherwise, unproven before.
	l.lines("dead", 1, "stdout", 3, 10)
	r := final(1, 10)
	r.Unproven, r.Lines.DeadLettered, r.Ranges = "no agent ran from 09:00 to 09:30", 2, []receipt.Range{{First: 1, Last: 2, Why: "dead_lettered"}}
	r.Gaps = []receipt.Gap{{Reason: r.Unproven, From: 12}}
	l.receipt("dead", 1, "stdout", r)
	l.gap("dead", 1, r.Gaps[0])
	// none: no receipt, and one line is not there.
	l.lines("none", 1, "stdout", 1, 4)
	l.lines("none", 1, "stdout", 6, 8)
	// gaps: one in the receipt and in a document, one in a document alone.
	l.lines("gaps", 1, "stdout", 1, 5)
	g := receipt.Gap{Reason: "truncated in place", From: 500, Bytes: 77}
	r = final(1, 5)
	r.Gaps, r.Bytes.Gap = []receipt.Gap{g}, 77
	l.receipt("gaps", 1, "stdout", r)
	l.gap("gaps", 1, g)
	l.gap("gaps", 1, receipt.Gap{Reason: "files were removed while no agent ran", From: 900})
}

// verify runs the command line.
func verify(t testing.TB, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(append([]string{"verify"}, args...), IO{Out: &o, Err: &e, Context: t.Context()})
	return o.String(), e.String(), code
}

// checkLedger asks a store that holds a written ledger, damaged as above.
func checkLedger(t *testing.T, l *ledger, store string) {
	t.Helper()
	since, end := l.begin.Format(time.RFC3339Nano), l.at(1, 20).Format(time.RFC3339Nano)
	for _, c := range []struct {
		args string
		code int
		rows []string // verdict and reason, in order
		last string
	}{
		{"--container good", Done, []string{"COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE"}, "COMPLETE: 4 log files, 147 lines, each is stored once or booked otherwise."},
		{"--container " + strings.Repeat("0", 60) + "dead", Bad, []string{"UNPROVEN"}, "UNPROVEN"},
		{"--container " + strings.Repeat("0", 20), Bad, nil, "INCOMPLETE"},
		{"--app /prod/good --host node-1", Done, []string{"COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE"}, "COMPLETE"},
		{"--service /prod/go* --until " + l.at(1, 200).Format(time.RFC3339Nano), Done, []string{"COMPLETE", "COMPLETE"}, "COMPLETE: 2 log files, 107 lines"},
		{"--container bad1", Bad, []string{"INCOMPLETE: missing 1-2, 17-19, 100; doubled 7", "COMPLETE"},
			"INCOMPLETE: 2 log files, 120 lines booked, 115 stored; 6 missing, 1 doubled (1 COMPLETE, 1 INCOMPLETE)."},
		{"--container open", Done, []string{"COMPLETE: still written; complete up to line 20, newer lines are not booked yet"}, "COMPLETE: "},
		{"--container open --until " + end, Done, []string{"COMPLETE: still written; booked beyond the time asked for"}, "COMPLETE: "},
		// Booked only up to a time before the one asked for.
		{"--container open --since " + l.at(1, 22).Format(time.RFC3339Nano), Bad, []string{"OPEN: complete up to line 20"}, "OPEN: "},
		{"--container dead", Bad, []string{"UNPROVEN: no agent ran from 09:00 to 09:30; 2 dead lettered"}, "UNPROVEN: "},
		{"--container none", Bad, []string{"NO RECEIPT: not booked yet; missing 5"}, "NO RECEIPT: "},
		{"--container gaps", Bad, []string{"GAP: an unknown number of bytes lost from offset 900", "COMPLETE", "GAP: at least 77 bytes lost from offset 500: truncated in place"}, "GAP: "},
		{"--host node-1", Bad, nil, "INCOMPLETE: "},
		{"--task nothing", Bad, nil, "UNPROVEN: no lines and no receipts"},
	} {
		args := append(strings.Fields(c.args), "--store", store)
		if !slices.Contains(args, "--since") {
			args = append(args, "--since", since)
		}
		out, errOut, code := verify(t, args...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		bad := code != c.code || errOut != "" || !strings.HasPrefix(lines[len(lines)-1], c.last) || c.rows != nil && len(lines) != len(c.rows)+3
		for i, want := range c.rows {
			bad = bad || i+1 >= len(lines) || !strings.Contains(lines[i+1], "  "+want)
		}
		if bad {
			t.Errorf("%s: exit code %d, want %d %q and %q:\n%s%s", c.args, code, c.code, c.rows, c.last, out, errOut)
		}
	}
	// A gap concerns every stream and level of its log.
	for _, flags := range []string{"--stream stderr", "--stream stdout --level error", "--level fatal"} {
		var out, errOut bytes.Buffer
		args := append(strings.Fields("logs --container gaps --since "+since+" --store "+store), strings.Fields(flags)...)
		if code := Main(args, IO{Out: &out, Err: &errOut, Context: t.Context()}); code != Done || strings.Count(out.String(), "lines are missing here") != 2 || strings.Contains(out.String(), "line 1") {
			t.Errorf("logs %s: exit code %d\n%s%s", flags, code, out.String(), errOut.String())
		}
	}
	out, _, code := verify(t, "--container", "bad1", "--since", since, "--store", store, "--output", "json")
	var first finding
	var total verdict
	rows := strings.Split(strings.TrimSpace(out), "\n")
	if code != Bad || len(rows) != 3 || json.Unmarshal([]byte(rows[0]), &first) != nil || json.Unmarshal([]byte(rows[2]), &total) != nil ||
		!slices.Equal(first.Missing, spans{{1, 2}, {17, 19}, {100, 100}}) || !slices.Equal(first.Doubled, spans{{7, 7}}) || first.Generation != "g1" || total.Verdict != verdictIncomplete || total.Missing != 6 {
		t.Errorf("json: exit code %d\n%s", code, out)
	}
}

func TestVerifyEmbedded(t *testing.T) {
	file, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := newLedger(t)
	l.write()
	l.lines("bad1", 1, "stdout", 7, 7)
	if err := file.Append(t.Context(), l.batches); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM line WHERE id LIKE 'bad1-1-%' AND sequence IN (1, 2, 17, 18, 19, 100)"); err != nil {
		t.Fatal(err)
	}
	t.Run("file", func(t *testing.T) { checkLedger(t, l, file.Path()) })
	t.Run("standalone", func(t *testing.T) {
		server := httptest.NewServer(web.New(search.NewEmbedded(file), web.Options{}))
		defer server.Close()
		checkLedger(t, l, server.URL)
	})
}

// What retention deleted is told from what is lost, after a restart too.
func TestVerifyExpired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	l := newLedger(t)
	file, err := embedded.Open(path, embedded.Options{MaxAge: time.Since(l.at(1, 50))})
	if err != nil {
		t.Fatal(err)
	}
	l.now = time.Now()
	l.lines("half", 1, "stdout", 1, 100)
	l.lines("whole", 0, "stdout", 1, 10)
	l.lines("lost", 1, "stdout", 1, 79) // 80 never came
	l.lines("lost", 1, "stdout", 81, 100)
	l.receipt("lost", 1, "stdout", final(1, 100))
	l.receipt("never", 1, "stdout", receipt.Receipt{Revision: 1, Lines: receipt.Lines{Total: 40}})
	l.receipt("never", 1, "stdout", final(2, 100)) // no line of it came, and 41 to 50 may have been deleted
	l.receipt("half", 1, "stdout", final(1, 100))
	l.receipt("whole", 0, "stdout", final(1, 10))
	if err := errors.Join(file.Append(t.Context(), l.batches), file.Retain(t.Context()), file.Close()); err != nil {
		t.Fatal(err)
	}
	for container, want := range map[string]string{"half": "EXPIRED: the store's retention deleted 1-", "whole": "EXPIRED: the store's retention deleted 1-10",
		"lost": "INCOMPLETE: missing 80", "never": "INCOMPLETE: missing 41-100"} {
		out, errOut, code := verify(t, "--container", container, "--since", "1h", "--store", path)
		if code != Bad || !strings.Contains(out, want) || errOut != "" || strings.Contains(want, "EXPIRED") && strings.Contains(out, "missing") {
			t.Errorf("%s: exit code %d:\n%s%s", container, code, out, errOut)
		}
	}
}

func TestVerifyUsage(t *testing.T) {
	broken := &storetest.Store{}
	server := httptest.NewServer(web.New(broken, web.Options{}))
	defer server.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	empty := filepath.Join(t.TempDir(), "no.db")
	if err := os.WriteFile(empty, []byte("this is not a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"--app x", Usage, "missing flags: --since=TIME"},
		{"--since 1h", Usage, "whose lines?"},
		{"--app x --since never", Usage, `--since: "never" is not a time`},
		{"--app x --since 1h --until 2h", Usage, "--since 1h is not before --until 2h"},
		{"--app x --since 1h --until soon", Usage, `--until: "soon" is not a time`},
		{"--app x --since 1h --store ftp://x", Usage, "want an address that begins with http"},
		{"--app x --since 1h --store " + gone.URL, Unknown, "connection refused"},
		{"--app x --since 1h --store " + empty, Unknown, "no SQLite database"},
		{"--app x --since 1h --store " + server.URL, Unknown, "cannot say which lines it holds"},
	} {
		out, errOut, code := verify(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errOut, c.text) || out != "" {
			t.Errorf("%s: exit code %d, want %d %q:\n%s%s", c.args, code, c.code, c.text, out, errOut)
		}
	}
	if out, _, code := verify(t, "--help"); code != Done || !strings.Contains(out, "\n  mesoscope verify --app /prod/web --since 2h\n  mesoscope verify --container") {
		t.Errorf("%d %s", code, out)
	}
}
