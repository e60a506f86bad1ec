package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// deleteChunk is how many lines go in one transaction: few enough that a
	// writer who waits for it does not notice.
	deleteChunk = 2000
	// mergePages bounds the work of merging the word index behind each chunk.
	// Without it the words of deleted lines keep their place until new lines
	// make FTS5 merge them away, and far too many lines would be deleted.
	mergePages = 500
)

// Retain deletes the oldest lines, by @timestamp, until the store is within
// Options.MaxAge and MaxSize, in small transactions between which Append gets
// its turn. How many went, Stats says. The file does not shrink: its free
// pages are used again.
func (s *Store) Retain(ctx context.Context) error {
	err := s.retain(ctx)
	if err != nil {
		return fmt.Errorf("delete old lines from store: %w", explain(err))
	}
	return nil
}

func (s *Store) retain(ctx context.Context) error {
	if s.options.MaxAge > 0 {
		oldest := time.Now().Add(-s.options.MaxAge).UnixNano()
		for {
			n, err := s.deleteOldest(ctx, oldest)
			s.deletedAge.Add(n)
			if err != nil {
				return err
			}
			if n < deleteChunk {
				break
			}
		}
	}
	if s.options.MaxSize == 0 {
		return nil
	}
	for {
		used, err := s.Used(ctx)
		if err != nil || used <= s.options.MaxSize {
			return err
		}
		n, err := s.deleteOldest(ctx, 1<<63-1)
		s.deletedSize.Add(n)
		if err != nil || n == 0 {
			return err
		}
	}
}

// deleteOldest deletes at most deleteChunk lines whose time is before ts.
func (s *Store) deleteOldest(ctx context.Context, before int64) (deleted int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := tx.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) {
			err = errors.Join(err, e)
		}
	}()
	if _, err := tx.ExecContext(ctx, "CREATE TEMP TABLE IF NOT EXISTS old (seq INTEGER PRIMARY KEY); DELETE FROM old"); err != nil {
		return 0, err
	}
	result, err := tx.ExecContext(ctx, "INSERT INTO old SELECT seq FROM line WHERE ts < ? ORDER BY ts LIMIT ?", before, deleteChunk)
	if err != nil {
		return 0, err
	}
	if deleted, err = result.RowsAffected(); err != nil || deleted == 0 {
		return 0, err
	}
	gone, err := oldOrigins(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, statement := range []string{
		// verify tells by it what was deleted from what was lost.
		"UPDATE state SET expired = max(expired, (SELECT max(ts) FROM line WHERE seq IN (SELECT seq FROM old)))",
		"DELETE FROM message WHERE rowid IN (SELECT seq FROM old)",
		"DELETE FROM line WHERE seq IN (SELECT seq FROM old)",
		fmt.Sprintf("INSERT INTO message (message, rank) VALUES ('merge', %d)", mergePages),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return 0, err
		}
	}
	for _, id := range gone {
		if _, err := tx.ExecContext(ctx, "DELETE FROM origin_field WHERE origin = ?1; DELETE FROM origin WHERE id = ?1", id); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	for key, id := range s.origins {
		for _, g := range gone {
			if id == g {
				delete(s.origins, key)
			}
		}
	}
	return deleted, nil
}

// oldOrigins are the origins whose last line came before every line that is
// left. One that has no line but came later stays a little longer, which costs
// nothing; asking for it exactly would read all lines.
func oldOrigins(ctx context.Context, tx *sql.Tx) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM origin WHERE last < (
		SELECT coalesce((SELECT seq FROM line WHERE seq NOT IN (SELECT seq FROM old) ORDER BY seq LIMIT 1), (SELECT next FROM state)))`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Used is the size, in bytes, of the pages that hold something.
func (s *Store) Used(ctx context.Context) (int64, error) {
	var used int64
	err := s.reader.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&used)
	return used, err
}
