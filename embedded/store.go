// Package embedded is the store of `mesoscope standalone`: one SQLite file with
// the lines, the words of their messages (FTS5), and for each stream how far
// it is stored.
//
// The way of the data: Append takes batches, cuts each message into words
// (words.go), and commits rows and the batches' cursors in one transaction, so
// that after a crash the reader goes on exactly behind the last stored line.
// Retention takes the oldest lines away again. search/ asks through DB, which
// cannot write.
//
// What the lines of one origin share is stored once (tables origin and
// origin_field); a document is put together again when it is read.
package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Options of a Store. The zero value keeps everything.
type Options struct {
	MaxSize int64         // bytes of used pages above which the oldest lines go; 0 = no limit
	MaxAge  time.Duration // lines whose @timestamp is older go; 0 = no limit
}

// A Store is the open file. All methods may be called at the same time.
type Store struct {
	path    string
	options Options
	writer  *sql.DB // one connection
	reader  *sql.DB // several, which cannot write

	mu      sync.Mutex // guards what follows; held while writing
	next    int64      // seq of the next line
	origins map[originKey]int64
	members map[string]bool
	insert  *inserter

	deletedSize, deletedAge, repaired atomic.Int64
}

// Stats are counts since Open.
type Stats struct {
	DeletedSize int64 // lines deleted because of MaxSize
	DeletedAge  int64 // lines deleted because of MaxAge
	Repaired    int64 // documents that were no valid JSON or had no time, stored as plain text
}

// readers is how many questions are answered at the same time.
const readers = 4

// Open opens the store in the file path and makes it if there is none. A file
// of an older version is migrated. A file of a newer version, of another
// program, or that is damaged is refused with an error that says so, and left
// as it is.
func Open(path string, options Options) (*Store, error) {
	s := &Store{path: path, options: options, origins: map[originKey]int64{}, members: map[string]bool{}}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, errors.Join(explain(err), s.Close()))
	}
	return s, nil
}

// OpenReader opens the store in the file path for questions only, beside the
// process that writes it. A file that does not exist is an error that wraps
// fs.ErrNotExist.
func OpenReader(path string) (*Store, error) {
	s := &Store{path: path}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.openReader(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, errors.Join(explain(err), s.Close()))
	}
	return s, nil
}

func (s *Store) open() error {
	ctx := context.Background()
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	// Lines may hold anything: the file is for its owner alone. SQLite gives
	// the files beside it the same mode.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// synchronous(full): a batch is settled when its transaction is on the
	// disk, because the reader then lets go of the file that it came from.
	s.writer, err = openDB(s.path, "busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)",
		"cache_size(-16384)", "temp_store(memory)", "journal_size_limit(67108864)")
	if err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if err := migrate(ctx, s.writer, s.path); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if s.insert, err = newInserter(ctx, s.writer); err != nil {
		return err
	}
	return s.openReader()
}

func (s *Store) openReader() error {
	var err error
	s.reader, err = openDB(s.path, "busy_timeout(10000)", "query_only(true)", "cache_size(-16384)", "temp_store(memory)")
	if err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	var version int
	if err := s.reader.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version != len(migrations) {
		return fmt.Errorf("it has schema %d, and this version of mesoscope reads schema %d: use the version of mesoscope that writes it", version, len(migrations))
	}
	return nil
}

func openDB(path string, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: absolute, RawQuery: query.Encode()}).String())
}

// load reads what Append keeps in memory.
func (s *Store) load(ctx context.Context) error {
	if err := s.writer.QueryRowContext(ctx, "SELECT next FROM state").Scan(&s.next); err != nil {
		return err
	}
	err := each(ctx, s.writer, "SELECT id, stream, dataset, fields FROM origin", func(rows *sql.Rows) error {
		var id int64
		var key originKey
		if err := rows.Scan(&id, &key.stream, &key.dataset, &key.fields); err != nil {
			return err
		}
		s.origins[key] = id
		return nil
	})
	if err != nil {
		return err
	}
	return each(ctx, s.writer, "SELECT name FROM member", func(rows *sql.Rows) error {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		s.members[name] = true
		return nil
	})
}

// each calls f for each row that query gives.
func each(ctx context.Context, db *sql.DB, query string, f func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// DB gives connections that can read and not write. schema.go says what lies
// there. Each statement sees the store as it was when the statement began.
func (s *Store) DB() *sql.DB { return s.reader }

// Path is the file.
func (s *Store) Path() string { return s.path }

// Cursors gives for each record.Stream.Name the Cursor of its last stored
// batch.
func (s *Store) Cursors() (map[string][]byte, error) {
	cursors := map[string][]byte{}
	err := each(context.Background(), s.reader, "SELECT stream, cursor FROM cursor", func(rows *sql.Rows) error {
		var stream string
		var cursor []byte
		if err := rows.Scan(&stream, &cursor); err != nil {
			return err
		}
		cursors[stream] = cursor
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", explain(err))
	}
	return cursors, nil
}

// Stats gives the counts since Open.
func (s *Store) Stats() Stats {
	return Stats{DeletedSize: s.deletedSize.Load(), DeletedAge: s.deletedAge.Load(), Repaired: s.repaired.Load()}
}

// Close closes the file. What Append has returned for is stored.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.insert != nil {
		errs = append(errs, s.insert.close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	return errors.Join(errs...)
}

// explain says in words what SQLite says in numbers, where somebody has to do
// something about it.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged: move it (and its -wal and -shm) away to begin a new store, or get what is left with sqlite3's .recover: %w", err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is no SQLite database, or its beginning is damaged: move it (and its -wal and -shm) away to begin a new store: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the file or its folder cannot be written: %w", err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("another process is writing to the store: %w", err)
	}
	return err
}
