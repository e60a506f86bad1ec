package shipper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"mesoscope/config"
	"mesoscope/test/fakees"
)

func lettersOf(t *testing.T, dir string) (letters []DeadLetter) {
	t.Helper()
	for l, err := range ReadDeadLetters(dir) {
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}

func lettersIDs(letters []DeadLetter) (ids string) {
	for _, l := range letters {
		ids += l.ID
	}
	return ids
}

// letterFiles writes one file of letters for each of ids, a letter a character.
func letterFiles(t *testing.T, dir string, files ...string) *DeadLetters {
	t.Helper()
	var d *DeadLetters
	for _, ids := range files {
		var err error
		if d, err = OpenDeadLetters(dir, 1<<20); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if err := d.Append([]DeadLetter{{Index: testIndex, ID: string(id), Document: json.RawMessage(`{"@timestamp":"2026-11-23T10:00:00Z","message":"` + string(id) + `"}`)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestReplayedLettersAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	d := letterFiles(t, dir, "abc", "def", "gh")
	mark := func(ids string) {
		t.Helper()
		letters := slices.DeleteFunc(lettersOf(t, dir), func(l DeadLetter) bool { return !strings.Contains(ids, l.ID) })
		if err := MarkReplayed(letters); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string, files int) {
		t.Helper()
		if got := lettersIDs(lettersOf(t, dir)); got != want {
			t.Errorf("left %s, want %s", got, want)
		}
		if n, _ := filepath.Glob(filepath.Join(dir, "*")); len(n) != files {
			t.Errorf("%v, want %d files", n, files)
		}
	}
	remove := func(want int) {
		t.Helper()
		if n, err := RemoveReplayed(dir); err != nil || n != want {
			t.Errorf("removed %d, %v; want %d", n, err, want)
		}
	}
	mark("bde")
	remove(0)
	check("acfgh", 5)
	// A crash in the middle of a record: what stands there does not count, and
	// does not spoil the next one.
	list := filepath.Join(dir, "000001.replayed")
	f, err := os.OpenFile(list, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("000000"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	check("acfgh", 5)
	mark("c")
	check("afgh", 5)
	mark("a")
	remove(1)
	check("fgh", 3)
	// The last file stays, for the agent appends to it.
	mark("fgh")
	remove(1)
	check("", 2)
	if err := d.Append([]DeadLetter{{Index: testIndex, ID: "i", Document: json.RawMessage("{}")}}); err != nil {
		t.Fatal(err)
	}
	check("i", 2)
	// After a restart it does not: the next file has a number of its own.
	letterFiles(t, dir, "j")
	mark("i")
	remove(1)
	check("j", 1)
	if st, err := os.Stat(filepath.Join(dir, "000004.ndjson")); err != nil || st.Size() == 0 {
		t.Error(st, err)
	}
}

// A list that says nothing hides nothing.
func TestDamagedReplayedList(t *testing.T) {
	dir := t.TempDir()
	letterFiles(t, dir, "ab", "c")
	if err := os.WriteFile(filepath.Join(dir, "000001.replayed"), make([]byte, 2*replayedRecord), 0o600); err != nil {
		t.Fatal(err)
	}
	var problems []string
	ids := ""
	for l, err := range ReadDeadLetters(dir) {
		if err != nil {
			problems = append(problems, err.Error())
		}
		ids += l.ID
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "is damaged: remove it") || ids != "c" {
		t.Errorf("%q, letters %s", problems, ids)
	}
	if n, err := RemoveReplayed(dir); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
}

// A full folder takes letters again when a replay has made room.
func TestReplayMakesRoom(t *testing.T) {
	dir := t.TempDir()
	letterFiles(t, dir, "abcdefgh")
	d, err := OpenDeadLetters(dir, 2200)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	letter := []DeadLetter{{Index: testIndex, ID: "x", Document: json.RawMessage(`"` + strings.Repeat("x", 200) + `"`)}}
	for err == nil {
		err = d.Append(letter)
	}
	if !errors.Is(err, ErrDeadLettersFull) {
		t.Fatal(err)
	}
	if err := MarkReplayed(lettersOf(t, dir)); err != nil {
		t.Fatal(err)
	}
	if n, err := RemoveReplayed(dir); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := d.Append(letter); err != nil {
		t.Error(err)
	}
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := map[string]int{"busy": 2, "always": 1000}
		fake := &fakees.Server{
			MaxContentLength: 500,
			OnItem: func(_, id string, doc []byte) fakees.ItemFault {
				if busy[id] > 0 {
					busy[id]--
					return fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception"}
				}
				switch id {
				case "bad":
					return fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: "no"}
				case "noop":
					return fakees.ItemFault{Noop: true}
				case "odd":
					return fakees.ItemFault{FailureStore: true}
				}
				return fakees.ItemFault{}
			},
		}
		cfg := config.DefaultElasticsearch()
		cfg.Hosts = []string{"http://es"}
		client, err := newClient(cfg, fake.Transport())
		if err != nil {
			t.Fatal(err)
		}
		doc := json.RawMessage(`{"@timestamp":"2026-11-23T10:00:00Z","message":"x"}`)
		large := json.RawMessage(`{"@timestamp":"2026-11-23T10:00:00Z","message":"` + strings.Repeat("x", 600) + `"}`)
		var letters []DeadLetter
		want := map[string]string{}
		for _, c := range []struct {
			id, outcome string
			doc         json.RawMessage
		}{
			{"good", ReplayStored, doc}, {"bad", ReplayRefused, doc}, {"noop", ReplayDropped, doc}, {"odd", ReplayQuarantined, doc},
			{"busy", ReplayStored, doc}, {"always", ReplayPostponed, doc}, {"large", ReplayRefused, large},
			{"text", ReplayStored, json.RawMessage(`"{\"message\": torn"`)},
		} {
			letters = append(letters, DeadLetter{Index: testIndex, ID: c.id, Document: c.doc})
			want[c.id] = c.outcome
		}
		letters = append(letters, DeadLetter{Index: testIndex + "2", ID: "good", Document: doc})
		for round := range 2 {
			results, err := Replay(t.Context(), client, letters)
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range letters {
				if results[i].Outcome != want[l.ID] {
					t.Errorf("round %d: %s: %+v, want %s", round, l.ID, results[i], want[l.ID])
				}
			}
			for id, outcome := range want {
				if outcome == ReplayStored {
					want[id] = ReplayThere
				}
			}
		}
		docs := fmt.Sprint(len(fake.Docs(testIndex)), " ", len(fake.Docs(testIndex+"2")))
		if docs != "3 1" {
			t.Errorf("documents: %s", docs)
		}
		for _, d := range fake.Docs(testIndex) {
			if d.ID == "text" && !strings.Contains(string(d.Source), `"message":"{\"message\": torn","error":{"message":"the document was no JSON`) {
				t.Errorf("%s", d.Source)
			}
		}
		// Nobody knows what became of documents whose answer did not come.
		fake.OnBulk = func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Cut: true} }
		if _, err := Replay(t.Context(), client, letters); !errors.Is(err, ErrUnreachable) {
			t.Errorf("cut: %v", err)
		}
		fake.OnBulk = func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Status: 403, Type: "security_exception"} }
		if _, err := Replay(t.Context(), client, letters); !errors.Is(err, ErrReplayDenied) {
			t.Errorf("denied: %v", err)
		}
		fake.OnBulk = func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Status: 503} }
		results, err := Replay(t.Context(), client, letters[:5])
		if err != nil || slices.ContainsFunc(results, func(r ReplayResult) bool { return r.Outcome != ReplayPostponed }) {
			t.Errorf("503: %v %v", results, err)
		}
	})
}
