package shipper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The summary says what a reader of all letters finds, whatever was replayed.
func TestDeadLetterSummary(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDeadLetters(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	check := func(what string) DeadLetterSummary {
		t.Helper()
		s, err := d.Summary()
		if err != nil {
			t.Fatal(err)
		}
		var want DeadLetterSummary
		for l, err := range ReadDeadLetters(dir) {
			if err != nil {
				t.Fatal(err)
			}
			if want.Count++; want.Count == 1 {
				want.Oldest = l.Time
			}
			want.Newest, want.Index, want.Status, want.Type, want.Reason = l.Time, l.Index, l.Status, l.Type, l.Reason
		}
		want.Dir, want.Bytes = dir, d.Bytes()
		if s != want {
			t.Errorf("%s: summary %+v, want %+v", what, s, want)
		}
		return s
	}
	check("empty")
	n := 0
	letters := func(many int) (out []DeadLetter) {
		for range many {
			n++
			out = append(out, DeadLetter{
				Time: begin.Add(time.Duration(n) * time.Minute), Index: testIndex, ID: fmt.Sprint(n), Status: 400, Type: "t",
				Reason:   fmt.Sprintf(`reason %d ,"document":{`, n),
				Document: json.RawMessage(`{"message":"` + strings.Repeat("x", n*50_000) + `"}`), // longer than any buffer
			})
		}
		return out
	}
	for range 3 {
		if err := d.Append(letters(1)); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprint(n, " letters"))
	}
	var all []DeadLetter
	for l := range ReadDeadLetters(dir) {
		all = append(all, l)
	}
	if err := MarkReplayed([]DeadLetter{all[0], all[2]}); err != nil {
		t.Fatal(err)
	}
	if s := check("replayed"); s.Count != 1 || s.Reason != `reason 2 ,"document":{` {
		t.Errorf("after a replay %+v", s)
	}
	// Half a record, and a file more.
	name := filepath.Join(dir, "000001.ndjson")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, `{"time":`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDeadLetters(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := d.Append(letters(2)); err != nil {
		t.Fatal(err)
	}
	if s := check("two files"); s.Count != 3 {
		t.Errorf("two files: %+v", s)
	}
}
