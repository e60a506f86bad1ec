package embedded

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/record"
)

func open(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// batchOf makes a batch of n documents of a stream, one a second from the
// start of seq's second on.
func batchOf(stream *record.Stream, from, n int) *record.Batch {
	b := new(record.Batch)
	b.Reset(stream, nil)
	for i := from; i < from+n; i++ {
		at := time.Date(2020, 11, 23, 10, 0, i, 123456789, time.UTC).Format(time.RFC3339Nano)
		add(b, fmt.Sprintf("%s-%d", stream.Name, i), fmt.Sprintf(`"@timestamp":%q,"message":"line %d of \"%s\"","log":{"level":"info","offset":%d},"event":{"sequence":%d,"created":%q}`, at, i, stream.Name, i*100, i, at))
	}
	b.Cursor = fmt.Appendf(nil, "%d", from+n)
	return b
}

func count(t *testing.T, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.DB().QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(query, err)
	}
	return n
}

func TestAppendAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "store.db")
	s := open(t, path, Options{})
	a, z := benchStream(1), benchStream(2)
	batches := []*record.Batch{batchOf(a, 0, 100), batchOf(z, 0, 7), batchOf(a, 100, 1)}
	if err := s.Append(t.Context(), batches); err != nil {
		t.Fatal(err)
	}
	rows, err := s.DB().Query("SELECT line.id, '{' || own || ',' || fields || '}', level, sequence, offset FROM line JOIN origin ON origin.id = line.origin ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for _, b := range batches {
		for i := range b.Len() {
			var id, doc, level string
			var sequence, offset int
			if !rows.Next() {
				t.Fatal("lines are missing")
			}
			if err := rows.Scan(&id, &doc, &level, &sequence, &offset); err != nil {
				t.Fatal(err)
			}
			if id != string(b.ID(i)) || doc != string(b.Doc(i)) || level != "info" || offset != sequence*100 {
				t.Fatalf("got %s %s %s %d %d, want %s %s", id, doc, level, sequence, offset, b.ID(i), b.Doc(i))
			}
		}
	}
	if rows.Next() {
		t.Fatal("too many lines")
	}
	if n := count(t, s, `SELECT count(*) FROM message WHERE message MATCH '"of docker"'`); n != 108 {
		t.Errorf("%d lines have the words, want 108", n)
	}
	if n := count(t, s, `SELECT count(*) FROM origin_field WHERE name = 'container.labels' AND value = 'web'`); n != 2 {
		t.Errorf("%d origins have the label, want 2", n)
	}
	cursors, err := s.Cursors()
	if err != nil || len(cursors) != 2 || string(cursors[a.Name]) != "101" || string(cursors[z.Name]) != "7" {
		t.Errorf("cursors %q, %v", cursors, err)
	}
	if _, err := s.DB().Exec("DELETE FROM line"); err == nil {
		t.Error("a reader could delete")
	}
}

func TestReopenGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for i := range 3 {
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), []*record.Batch{batchOf(benchStream(1), i*10, 10)}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, s, "SELECT count(*) + (SELECT max(seq) FROM line) + 1000 * (SELECT count(*) FROM origin) FROM line"); n != 1000+2*10*(i+1) {
			t.Errorf("opened %d times: %d", i+1, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOddDocuments(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), Options{})
	b := new(record.Batch)
	b.Reset(&record.Stream{Name: "x", Fields: []byte(`"stream":"stdout"`)}, nil)
	at := `"@timestamp":"2026-11-23T10:00:00Z"`
	for i, own := range []string{
		`"message" : "spaces" , ` + at + ` , "log" : { "offset" : 7 , "level":"warn" } `, // another order, white space
		at,                            // no message
		at + `,"message":null`,        //
		at + `,"message":"a\u00e9\n"`, // escapes
		`"message":"no time"`,         // repaired from here on
		`"@timestamp":"yesterday","message":"bad time"`,
		at + `,"message":"broken`,
		``,
	} {
		add(b, fmt.Sprint(i), own)
	}
	if err := s.Append(t.Context(), []*record.Batch{b}); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Repaired; n != 4 {
		t.Errorf("%d repaired, want 4", n)
	}
	if n := count(t, s, "SELECT count(*) FROM line JOIN origin ON origin.id = line.origin WHERE json_valid('{' || own || ',' || fields || '}')"); n != 8 {
		t.Errorf("%d valid documents, want 8", n)
	}
	if n := count(t, s, "SELECT count(*) FROM line WHERE offset = 7 AND level = 'warn'"); n != 1 {
		t.Errorf("%d with offset and level, want 1", n)
	}
	if n := count(t, s, "SELECT count(*) FROM message"); n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
	if n := count(t, s, `SELECT count(*) FROM message WHERE message MATCH '"aé"'`); n != 1 {
		t.Errorf("%d with the escaped word, want 1", n)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	f := func(name string, make func(path string) error, want string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(path, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error with %q and the path", name, err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	sqlite := func(statements string) func(string) error {
		return func(path string) error {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				return err
			}
			_, err = db.Exec(statements)
			return errors.Join(err, db.Close())
		}
	}
	f("newer.db", sqlite(fmt.Sprintf("PRAGMA journal_mode=wal; CREATE TABLE line (x); PRAGMA application_id=%d; PRAGMA user_version=99", applicationID)), "schema 99")
	f("other.db", sqlite("PRAGMA journal_mode=wal; CREATE TABLE users (x)"), "another program")
	f("text.db", func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600) }, "no SQLite database")
	f("damaged.db", func(path string) error {
		s, err := Open(path, Options{})
		if err != nil {
			return err
		}
		if err := errors.Join(s.Append(t.Context(), []*record.Batch{batchOf(benchStream(1), 0, 1000)}), s.Close()); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, 3000), 100)
		return errors.Join(err, file.Close())
	}, "damaged")
	if _, err := OpenReader(filepath.Join(dir, "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a reader of no file: %v", err)
	}
}

func TestRetention(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), Options{MaxSize: 6 << 20})
	old, present := benchStream(1), benchStream(2)
	if err := s.Append(t.Context(), []*record.Batch{batchOf(old, 0, 1000)}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := s.Append(t.Context(), []*record.Batch{batchOf(present, 1000+i*4000, 4000)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		used, err := s.Used(t.Context())
		if err != nil || used > 6<<20 {
			t.Fatalf("%d bytes used, %v", used, err)
		}
	}
	left := count(t, s, "SELECT count(*) FROM line")
	if int64(left)+s.Stats().DeletedSize != 41000 {
		t.Errorf("%d left and %d deleted of 41000", left, s.Stats().DeletedSize)
	}
	if left < 5000 {
		t.Errorf("only %d lines left in 6 MiB", left)
	}
	if n := count(t, s, `SELECT count(*) FROM message WHERE message MATCH 'line'`); n != left {
		t.Errorf("%d lines in the word index, %d in the table", n, left)
	}
	if n := count(t, s, "SELECT min(sequence) FROM line"); n != 41000-left {
		t.Errorf("the oldest line is %d, want %d", n, 41000-left)
	}
	if n := count(t, s, "SELECT count(*) + (SELECT count(DISTINCT origin) FROM origin_field) FROM origin"); n != 2 {
		t.Errorf("%d, want one origin with its fields", n)
	}
	// The stream that went comes again.
	if err := s.Append(t.Context(), []*record.Batch{batchOf(old, 50000, 1)}); err != nil {
		t.Fatal(err)
	}
	s.options = Options{MaxAge: time.Since(time.Date(2020, 11, 23, 10, 0, 50000, 0, time.UTC))}
	if err := s.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "SELECT count(*) FROM line JOIN origin ON origin.id = line.origin"); n != 1 {
		t.Errorf("%d lines left, want 1", n)
	}
	if n := s.Stats().DeletedAge; n != int64(left) {
		t.Errorf("%d deleted by age, want %d", n, left)
	}
}

// Questions go on while lines are written and deleted, and see whole
// transactions only.
func TestReadWhileWriting(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), Options{MaxSize: 1 << 20})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				var lines, words int
				if err := s.DB().QueryRow(`SELECT count(*), (SELECT count(*) FROM message WHERE message MATCH 'line') FROM line`).Scan(&lines, &words); err != nil {
					t.Error(err)
					return
				}
				if lines != words {
					t.Errorf("%d lines, %d in the word index", lines, words)
					return
				}
			}
		})
	}
	for i := range 30 {
		if err := s.Append(t.Context(), []*record.Batch{batchOf(benchStream(1), i*200, 200)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
}

// TestCrash kills a process in the middle of its appends, again and again.
// Rows and cursors must agree each time, and nothing that it said was stored
// may be missing.
func TestCrash(t *testing.T) {
	if path := os.Getenv("MESOSCOPE_TEST_CRASH"); path != "" {
		crashChild(path)
		return
	}
	path := filepath.Join(t.TempDir(), "store.db")
	for round := range 8 {
		child := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		child.Env = append(os.Environ(), "MESOSCOPE_TEST_CRASH="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// It prints the cursor after each append; kill it behind a few of them,
		// while the next one is under way.
		acknowledged := 0
		for range 3 + round*2 {
			if _, err := fmt.Fscanln(out, &acknowledged); err != nil {
				t.Fatal("the child died by itself: ", err)
			}
		}
		time.Sleep(time.Duration(round) * time.Millisecond) // so that each round hits another moment
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for { // what it still had to say
			if _, err := fmt.Fscanln(out, &acknowledged); err != nil {
				break
			}
		}
		_ = child.Wait() // killed
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		cursors, err := s.Cursors()
		if err != nil {
			t.Fatal(err)
		}
		var cursor int
		fmt.Sscan(string(cursors[benchStream(1).Name]), &cursor)
		if cursor < acknowledged {
			t.Fatalf("round %d: %d lines were acknowledged, the cursor is at %d", round, acknowledged, cursor)
		}
		got := count(t, s, "SELECT count(DISTINCT id) FROM line")
		all := count(t, s, "SELECT count(*) FROM line")
		words := count(t, s, "SELECT count(*) FROM message WHERE message MATCH 'line'")
		if got != cursor || all != cursor || words != cursor {
			t.Fatalf("round %d: cursor %d, lines %d, different %d, in the word index %d", round, cursor, all, got, words)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func crashChild(path string) {
	s, err := Open(path, Options{})
	if err != nil {
		panic(err)
	}
	cursors, err := s.Cursors()
	if err != nil {
		panic(err)
	}
	stream, from := benchStream(1), 0
	fmt.Sscan(string(cursors[stream.Name]), &from)
	for {
		// Two batches: a crash must not part them.
		if err := s.Append(context.Background(), []*record.Batch{batchOf(stream, from, 300), batchOf(stream, from+300, 200)}); err != nil {
			panic(err)
		}
		from += 500
		fmt.Println(from)
	}
}

func FuzzOwn(f *testing.F) {
	f.Add(`"@timestamp":"2026-11-23T10:00:00.1Z","message":"a\"b","log":{"level":"info","offset":12},"event":{"sequence":5}`)
	f.Add(` "log":{"flags":["x",{"a":[1,2]}],"offset":1e3} , "@timestamp":"2026-11-23T10:00:00+01:00"`)
	f.Add(`"@timestamp":"2026-11-23T10:00:00Z","message":null,"log":null,"event":[]`)
	f.Fuzz(func(t *testing.T, members string) {
		var o own
		_, ok := o.parse([]byte(members), nil)
		var want struct {
			Time    any `json:"@timestamp"`
			Message any
			Log     any
		}
		var object map[string]any
		if err := json.Unmarshal([]byte("{"+members+"}"), &object); err != nil {
			if ok {
				t.Fatalf("%q is no JSON and was taken", members)
			}
			return
		}
		if !ok {
			return
		}
		if strings.Contains(members, `\u0`) {
			return // a name may be written in two ways, and stand there twice
		}
		want.Message = object["message"]
		if s, isText := want.Message.(string); isText && strings.Count(members, `"message"`) == 1 && (!o.hasMessage || o.message != s) {
			t.Fatalf("%q: message %q, want %q", members, o.message, s)
		}
	})
}

// TestAppendAgain: what may have been stored before is stored once.
func TestAppendAgain(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), Options{})
	first := batchOf(benchStream(1), 0, 10)
	if err := s.Append(t.Context(), []*record.Batch{first}); err != nil {
		t.Fatal(err)
	}
	again := batchOf(benchStream(1), 5, 10) // five of them are there
	again.Since = record.Unknown
	if err := s.Append(t.Context(), []*record.Batch{again}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "SELECT count(*) FROM line"); n != 15 {
		t.Errorf("%d lines are stored, want 15", n)
	}
	marks := again.Marks()
	if len(marks) != 5 || marks[0] != (record.Mark{Item: 0, Outcome: record.Duplicate}) {
		t.Errorf("marks are %v, want the first five as duplicates", marks)
	}
}

// A store of each older schema is brought to the newest one with its lines.
func TestOldSchemasAreMigrated(t *testing.T) {
	for version := 1; version < len(migrations); version++ {
		path := filepath.Join(t.TempDir(), "store.db")
		db, err := openDB(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(migrations[:version], ";") + fmt.Sprintf(`; PRAGMA application_id=%d; PRAGMA user_version=%d;
			INSERT INTO origin VALUES (1, 's', 'd', '"stream":"stdout"', 7);
			INSERT INTO line (seq, ts, origin, id, own) VALUES (7, 1, 1, 'x', '"@timestamp":"1970-01-01T00:00:00.000000001Z"'); UPDATE state SET next = 8`, applicationID, version)
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenReader(path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("it has schema %d", version)) {
			t.Errorf("schema %d: a reader that cannot migrate says %v", version, err)
		}
		s := open(t, path, Options{})
		if err := s.Append(t.Context(), []*record.Batch{batchOf(benchStream(1), 0, 3)}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, s, "SELECT count(*) + (SELECT expired FROM state) FROM line WHERE seq >= 7"); n != 4 {
			t.Errorf("schema %d: %d lines", version, n)
		}
	}
}
