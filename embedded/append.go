package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"mesoscope/record"
)

// originKey tells origins apart.
type originKey struct{ stream, dataset, fields string }

// rowsPerInsert is how many lines one statement writes. More than a few dozen
// gain nothing.
const rowsPerInsert = 32

// Append stores all documents of batches and the last Cursor of each stream in
// one transaction: after an error, nothing of it is stored. When it returns
// nil, all of it is on the disk.
//
// A document of a batch that may have been stored before (Batch.Since) is looked
// up first; what is there is marked as record.Duplicate.
//
// A document that is no valid JSON, or that has no readable @timestamp, could
// not be found again: it is stored as the message of a new document, with
// error.message, and counted in Stats.Repaired.
func (s *Store) Append(ctx context.Context, batches []*record.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("append to store: %w", explain(err))
	}
	w := appending{Store: s, tx: tx, next: s.next, origins: map[originKey]int64{}, last: map[int64]int64{}, members: map[string]bool{}}
	err = w.append(ctx, batches)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		// After a failed commit Rollback says that the transaction is over.
		if e := tx.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) {
			err = errors.Join(err, e)
		}
		return fmt.Errorf("append to store: %w", explain(err))
	}
	// Only now is what the transaction learned true.
	for _, d := range w.duplicates {
		d.batch.Mark(d.item, record.Duplicate)
	}
	s.next = w.next
	s.repaired.Add(w.repaired)
	for key, id := range w.origins {
		s.origins[key] = id
	}
	for name := range w.members {
		s.members[name] = true
	}
	return nil
}

// appending is one transaction of Append.
type appending struct {
	*Store
	tx       *sql.Tx
	next     int64
	origins  map[originKey]int64 // new ones
	last     map[int64]int64     // origin -> its last seq
	members  map[string]bool     // new ones
	repaired int64
	scratch  []byte
	own      own

	duplicates []duplicate
}

// A duplicate is a document that is stored already.
type duplicate struct {
	batch *record.Batch
	item  int
}

func (w *appending) append(ctx context.Context, batches []*record.Batch) error {
	cursors := map[string][]byte{}
	w.insert.begin(w.tx)
	for _, b := range batches {
		origin, err := w.origin(ctx, b.Stream)
		if err != nil {
			return err
		}
		for i := range b.Len() {
			if err := w.line(ctx, origin, b, i); err != nil {
				return err
			}
		}
		if b.Len() > 0 {
			w.last[origin] = w.next - 1
		}
		if len(b.Cursor) > 0 {
			cursors[b.Stream.Name] = b.Cursor
		}
	}
	if err := w.insert.flush(ctx); err != nil {
		return err
	}
	for stream, cursor := range cursors {
		if _, err := w.tx.ExecContext(ctx, "INSERT OR REPLACE INTO cursor VALUES (?, ?)", stream, cursor); err != nil {
			return err
		}
	}
	for origin, last := range w.last {
		if _, err := w.tx.ExecContext(ctx, "UPDATE origin SET last = ? WHERE id = ?", last, origin); err != nil {
			return err
		}
	}
	for name := range w.members {
		if _, err := w.tx.ExecContext(ctx, "INSERT OR IGNORE INTO member VALUES (?)", name); err != nil {
			return err
		}
	}
	if _, err := w.tx.ExecContext(ctx, "UPDATE state SET next = ?", w.next); err != nil {
		return err
	}
	return w.insert.flushWords(ctx)
}

// line writes document i of b.
func (w *appending) line(ctx context.Context, origin int64, b *record.Batch, i int) error {
	members := b.Own(i)
	var ok bool
	if w.scratch, ok = w.own.parse(members, w.scratch); !ok {
		members = plain(members)
		if w.scratch, ok = w.own.parse(members, w.scratch); !ok {
			panic("BUG: embedded: a document made from text is no document")
		}
		w.repaired++
	}
	if b.Since != "" {
		there, err := w.there(ctx, w.own.ts, b.ID(i))
		if err != nil {
			return err
		}
		if there {
			w.duplicates = append(w.duplicates, duplicate{b, i})
			return nil
		}
	}
	for _, name := range w.own.members {
		if !w.Store.members[name] && !w.members[name] {
			w.members[name] = true
		}
	}
	err := w.insert.line(ctx, w.next, origin, &w.own, b.ID(i), members)
	w.next++
	return err
}

// there says whether a document is stored already. The index on ts makes it
// quick enough for the few that may be.
func (w *appending) there(ctx context.Context, ts int64, id []byte) (bool, error) {
	var n int
	err := w.tx.QueryRowContext(ctx, "SELECT count(*) FROM line WHERE ts = ? AND id = ?", ts, string(id)).Scan(&n)
	return n > 0, err
}

// plain makes members of a document from text that is none.
func plain(text []byte) []byte {
	own := []byte(`"@timestamp":"` + time.Now().UTC().Format(time.RFC3339Nano) + `","message":`)
	own = record.AppendQuoted(own, text)
	return append(own, `,"error":{"message":"the document was not valid JSON or had no valid @timestamp"}`...)
}

// inserter writes lines, many with each statement, and at the very end of the
// transaction their words, one line with each statement. Any statement of
// several rows takes a savepoint, and at a savepoint FTS5 writes to the file
// what it has gathered in memory: in another order it would merge all the time.
type inserter struct {
	lines, message *sql.Stmt // lines: for rowsPerInsert rows
	tx             *sql.Tx
	args           []any
	words          []byte // of all lines, one behind the other
	messages       []message
}

// message says where the words of a line end.
type message struct {
	seq int64
	end int
}

const (
	insertLine = "INSERT INTO line (seq, ts, origin, level, sequence, offset, created, id, own) VALUES "
	lineRow    = "(?,?,?,?,?,?,?,?,?)"
	lineArgs   = 9
)

func insertLines(n int) string { return insertLine + strings.Repeat(lineRow+",", n-1) + lineRow }

func newInserter(ctx context.Context, db *sql.DB) (*inserter, error) {
	lines, err := db.PrepareContext(ctx, insertLines(rowsPerInsert))
	if err != nil {
		return nil, err
	}
	message, err := db.PrepareContext(ctx, "INSERT INTO message (rowid, words) VALUES (?, ?)")
	if err != nil {
		return nil, errors.Join(err, lines.Close())
	}
	return &inserter{lines: lines, message: message}, nil
}

func (n *inserter) close() error { return errors.Join(n.lines.Close(), n.message.Close()) }

func (n *inserter) begin(tx *sql.Tx) {
	n.tx, n.args, n.words, n.messages = tx, n.args[:0], n.words[:0], n.messages[:0]
}

func (n *inserter) line(ctx context.Context, seq, origin int64, o *own, id, members []byte) error {
	if o.hasMessage {
		n.words = appendWords(n.words, o.message)
		n.messages = append(n.messages, message{seq, len(n.words)})
	}
	n.args = append(n.args, seq, o.ts, origin, optional(o.level, o.hasLevel), optional(o.sequence, o.hasSequence),
		optional(o.offset, o.hasOffset), optional(o.created, o.hasCreated), string(id), string(members))
	if len(n.args) < rowsPerInsert*lineArgs {
		return nil
	}
	_, err := n.tx.StmtContext(ctx, n.lines).ExecContext(ctx, n.args...)
	n.args = n.args[:0]
	return err
}

// flush writes the lines that do not fill a statement.
func (n *inserter) flush(ctx context.Context) error {
	if len(n.args) == 0 {
		return nil
	}
	_, err := n.tx.ExecContext(ctx, insertLines(len(n.args)/lineArgs), n.args...)
	return err
}

// flushWords is the last thing to be done in the transaction.
func (n *inserter) flushWords(ctx context.Context) error {
	insert := n.tx.StmtContext(ctx, n.message)
	begin := 0
	for _, m := range n.messages {
		if _, err := insert.ExecContext(ctx, m.seq, string(n.words[begin:m.end])); err != nil {
			return err
		}
		begin = m.end
	}
	return nil
}

func optional[T any](v T, has bool) any {
	if !has {
		return nil
	}
	return v
}
