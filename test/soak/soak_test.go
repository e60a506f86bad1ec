package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// TestMain makes the test binary the writers, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "writer" {
		if err := writerMain(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestLogged: what a line is expected to say is what a reader of Docker's file
// gets.
func TestLogged(t *testing.T) {
	for what := range kinds {
		for _, size := range []int{0, 100, 16383, 16384, 16385, 40_000} {
			path := filepath.Join(t.TempDir(), "log")
			w, err := jsonfile.Open(path, jsonfile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			text := lineText(lineKey{Seed: 1, Name: "c1", N: 7}, what, size)
			if err := w.WriteLine("stdout", text, time.Unix(1, 1)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var got []byte
			for dec := json.NewDecoder(f); ; {
				var e struct{ Log string }
				if err := dec.Decode(&e); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Log...)
			}
			got = bytes.TrimSuffix(bytes.TrimSuffix(got, []byte("\n")), []byte("\r"))
			if want := logged(text, true); !bytes.Equal(got, want) {
				t.Errorf("kind %d, size %d: the file says %s, not %s", what, size, quote(got), quote(want))
			}
			if what == exact && len(text) != size {
				t.Errorf("an exact line of %d bytes has %d", size, len(text))
			}
		}
	}
}

// A stage is a run without processes: what was written, and what is stored.
type stage struct {
	t *testing.T
	h *harness
	c *container
	f *fakes

	noReceipt bool // none is stored, unless the test does it
}

// fakes is a sink that holds what a test puts there.
type fakes struct {
	sink
	docs map[string][]fakees.Doc
}

func (f *fakes) Docs(index string) ([]fakees.Doc, error) { return f.docs[index], nil }

func newStage(t *testing.T) *stage {
	dir := t.TempDir()
	f := &fakes{docs: map[string][]fakees.Doc{}}
	h := &harness{dir: dir, data: filepath.Join(dir, "data"), sink: f, counts: map[string]int{}}
	c := &container{service: "s", spec: writerSpec{Seed: 1, Root: dir, ID: strings.Repeat("ab", 32), Name: "c1", Journal: filepath.Join(dir, "journal")}}
	h.containers = []*container{c}
	return &stage{t: t, h: h, c: c, f: f}
}

// write notes three lines in file 1 and one more in file 2, and what of them was
// destroyed; it returns their documents.
func (s *stage) write(lost ...lostPart) []map[string]any {
	j, err := createJournal(s.c.spec.Journal)
	if err != nil {
		s.t.Fatal(err)
	}
	defer j.file.Close()
	entries := []entry{{File: &logFile{N: 1, Ino: 10, Head: 1001}}, {File: &logFile{N: 2, Ino: 11, Head: 1004}}}
	var docs []map[string]any
	for n := int64(1); n <= 4; n++ {
		text := lineText(lineKey{1, "c1", 0, n}, plain, 20)
		p := part{File: 1, From: n * 100, To: n*100 + 100}
		sequence := n
		if n == 4 {
			p, sequence = part{File: 2, From: 0, To: 100}, 1
		}
		entries = append(entries, entry{Line: &line{N: n, Time: 1000 + n, Kind: plain, Size: 20, Bytes: len(text), Len: len(text), Sum: sumOf(text), Parts: []part{p}}})
		docs = append(docs, map[string]any{
			"@timestamp": time.Unix(0, 1000+n).UTC().Format(time.RFC3339Nano), "message": string(text), "stream": "stdout",
			"log":   map[string]any{"offset": p.From, "file": map[string]any{"path": s.c.path(), "generation": logFile{Ino: uint64(9 + p.File), Head: []int64{0, 1001, 1004}[p.File]}.generation()}},
			"event": map[string]any{"sequence": sequence, "dataset": "mesos.container"}, "host": map[string]any{"name": "n"},
			"container": map[string]any{"id": s.c.spec.ID, "name": "c1"}, "service": map[string]any{"name": "s"},
		})
	}
	for _, l := range lost {
		entries = append(entries, entry{Lost: &l})
	}
	for _, e := range entries {
		if err := j.note(e); err != nil {
			s.t.Fatal(err)
		}
	}
	return docs
}

func (s *stage) store(index string, docs ...map[string]any) {
	for _, d := range docs {
		text, err := json.Marshal(d)
		if err != nil {
			s.t.Fatal(err)
		}
		s.f.docs[index] = append(s.f.docs[index], fakees.Doc{Source: text, Arrival: len(s.f.docs[index])})
	}
}

// refuse puts a document where the agent puts what the store refuses for good.
func (s *stage) refuse(d map[string]any) {
	s.noReceipt = true
	text, err := json.Marshal(map[string]any{"document": d})
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.h.data, "agent", "deadletter")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "000001.ndjson"), append(text, '\n'), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) receipt(total int) map[string]any {
	return map[string]any{"stream": "stdout", "container": map[string]any{"id": s.c.spec.ID, "name": "c1"}, "service": map[string]any{"name": "s"},
		"log": map[string]any{"file": map[string]any{"generation": logFile{Ino: 10, Head: 1001}.generation()}}, "@timestamp": "2026-11-24T00:00:00Z",
		"mesoscope": map[string]any{"receipt": map[string]any{"final": true, "lines": map[string]any{"total": total, "delivered": total}, "bytes": map[string]any{"size": 1, "delivered": 1}}}}
}

func (s *stage) gap() map[string]any {
	return map[string]any{"container": map[string]any{"id": s.c.spec.ID}, "event": map[string]any{"kind": "pipeline_error"}, "@timestamp": "2026-11-24T00:00:00Z",
		"log":       map[string]any{"file": map[string]any{"generation": logFile{Ino: 10, Head: 1001}.generation()}},
		"mesoscope": map[string]any{"gap": map[string]any{"reason": "for the test", "from": 250, "bytes": 100}}}
}

// TestVerdict: each kind of mistake is found, and called by its name.
func TestVerdict(t *testing.T) {
	destroyed := lostPart{File: 1, From: 300, To: 400, Why: "for the test"}
	set := func(d map[string]any, member, key string, value any) {
		d[member].(map[string]any)[key] = value
	}
	for _, c := range []struct {
		name string
		lost []lostPart
		make func(s *stage, docs []map[string]any) []map[string]any
		want []string
	}{
		{name: "all is well", make: func(_ *stage, d []map[string]any) []map[string]any { return d }},
		{name: "a line is missing", want: []string{lost}, make: func(_ *stage, d []map[string]any) []map[string]any { return slices.Delete(d, 1, 2) }},
		{name: "a line is there twice", want: []string{doubled}, make: func(_ *stage, d []map[string]any) []map[string]any { return append(d, d[0]) }},
		{name: "another text", want: []string{text}, make: func(_ *stage, d []map[string]any) []map[string]any { d[0]["message"] = "c1 stdout 1 x"; return d }},
		{name: "another number", want: []string{order}, make: func(_ *stage, d []map[string]any) []map[string]any { set(d[2], "event", "sequence", 4); return d }},
		{name: "another container's name", want: []string{metadata}, make: func(_ *stage, d []map[string]any) []map[string]any { set(d[2], "container", "name", "c2"); return d }},
		{name: "nobody wrote it", want: []string{unknown}, make: func(_ *stage, d []map[string]any) []map[string]any {
			return append(d, map[string]any{"@timestamp": "2026-11-24T00:00:00Z", "stream": "stdout", "container": d[0]["container"]})
		}},
		{name: "destroyed, and nothing says so", lost: []lostPart{destroyed}, want: []string{undeclared},
			make: func(_ *stage, d []map[string]any) []map[string]any { return slices.Delete(d, 2, 3) }},
		{name: "destroyed, and declared", lost: []lostPart{destroyed},
			make: func(s *stage, d []map[string]any) []map[string]any { return append(slices.Delete(d, 2, 3), s.gap()) }},
		{name: "destroyed, and the gap is among the dead letters", lost: []lostPart{destroyed},
			make: func(s *stage, d []map[string]any) []map[string]any {
				s.refuse(s.gap())
				return slices.Delete(d, 2, 3)
			}},
		{name: "a receipt counts otherwise", want: []string{receipts}, make: func(s *stage, d []map[string]any) []map[string]any {
			s.store(s.h.opt.receiptIndex(), s.receipt(2))
			return d
		}},
		{name: "a receipt that is refused", make: func(s *stage, d []map[string]any) []map[string]any {
			s.refuse(s.receipt(3))
			return d
		}},
		{name: "a receipt that is refused counts otherwise", want: []string{receipts}, make: func(s *stage, d []map[string]any) []map[string]any {
			s.refuse(s.receipt(2))
			return d
		}},
		{name: "no receipt", want: []string{receipts}, make: func(s *stage, d []map[string]any) []map[string]any {
			s.noReceipt = true
			return d
		}},
		{name: "the checkpoint was ahead", want: []string{ahead}, make: func(s *stage, d []map[string]any) []map[string]any {
			var state sourceState
			text := fmt.Sprintf(`{"id":%q,"gens":[{"n":5,"ino":10,"head":1001}],"settled":[{"n":5,"off":400},{"n":5,"off":0}]}`, s.c.spec.ID)
			if err := json.Unmarshal([]byte(text), &state); err != nil {
				s.t.Fatal(err)
			}
			s.h.snapshots = []snapshot{{kill: 1, arrived: 2, states: map[string]sourceState{s.c.spec.ID: state}}}
			return d
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			docs := c.make(s, s.write(c.lost...))
			if len(s.f.docs[s.h.opt.receiptIndex()]) == 0 && c.lost == nil && !s.noReceipt {
				s.store(s.h.opt.receiptIndex(), s.receipt(3))
			}
			s.store(s.h.opt.linesIndex(), docs...)
			v, err := s.h.judge(false)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.kinds(); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q: %v", got, c.want, v.failures)
			}
		})
	}
}

// TestStorm is the whole harness, for a few seconds.
func TestStorm(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "mesoscope")
	if err := build(t.Context(), bin, false); err != nil {
		t.Fatal(err)
	}
	opt, err := parseOptions([]string{"-duration", "3s", "-seed", "1", "-only", "kill,burst,sink-cut-after", "-containers", "1,3,10,12", "-dir", t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	v, err := soak(context.WithoutCancel(t.Context()), opt, bin, &said)
	if err != nil || len(v.counts) > 0 || v.Lines < 100 || v.h.kills < 2 {
		t.Fatalf("%v\n%s", err, said.String())
	}
}
