package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// applicationID marks the file as ours ("MSCP").
const applicationID = 0x4d534350

// migrations lead from each schema to the next one: migrations[0] makes schema
// 1 in an empty file. The last one is what this version reads and writes. A
// migration that has been released is never changed.
//
// line is in the order of arrival: seq only grows and is never used twice. The
// index is in the order in which people read, and holds what filters and
// counts ask most, so that they need not touch the lines themselves.
//
// message has no content of its own; its rowid is line.seq. Its text is words
// that are cut and folded already, with a space between them, hence a
// tokenizer that takes every other ASCII character for a letter.
var migrations = []string{`
CREATE TABLE origin (
	id      INTEGER PRIMARY KEY,
	stream  TEXT NOT NULL,    -- record.Stream.Name
	dataset TEXT NOT NULL,
	fields  TEXT NOT NULL,    -- record.Stream.Fields
	last    INTEGER NOT NULL  -- seq of its last line
);
CREATE TABLE origin_field (
	name   TEXT NOT NULL,     -- dotted
	value  TEXT NOT NULL,
	origin INTEGER NOT NULL,
	PRIMARY KEY (name, value, origin)
) WITHOUT ROWID;
CREATE INDEX origin_field_origin ON origin_field (origin);
CREATE TABLE line (
	seq      INTEGER PRIMARY KEY,
	ts       INTEGER NOT NULL, -- @timestamp, Unix ns
	origin   INTEGER NOT NULL,
	level    TEXT,             -- log.level
	sequence INTEGER,          -- event.sequence
	offset   INTEGER,          -- log.offset
	created  INTEGER,          -- event.created, Unix ns
	id       TEXT NOT NULL,    -- _id
	own      TEXT NOT NULL     -- record.Batch.Own
);
CREATE INDEX line_ts ON line (ts, origin, level);
CREATE TABLE member (name TEXT PRIMARY KEY) WITHOUT ROWID; -- top-level members that own has ever had
CREATE TABLE cursor (stream TEXT PRIMARY KEY, cursor BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE state (next INTEGER NOT NULL); -- the next line's seq
INSERT INTO state VALUES (1);
CREATE VIRTUAL TABLE message USING fts5 (
	words, content='', contentless_delete=1,
	tokenize="ascii tokenchars '!""#$%&''()*+,-./:;<=>?@[\]^_` + "`" + `{|}~'"
);
INSERT INTO message (message, rank) VALUES ('hashsize', 8388608);
CREATE VIRTUAL TABLE word USING fts5vocab (message, instance);
`, `
ALTER TABLE state ADD COLUMN expired INTEGER NOT NULL DEFAULT 0; -- the latest @timestamp that retention has deleted, Unix ns
`}

// migrate brings the file to the newest schema, or says why it cannot be used.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	var app, version, tables int
	for pragma, to := range map[string]*int{"application_id": &app, "user_version": &version} {
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(to); err != nil {
			return err
		}
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if app != applicationID && tables > 0 {
		return errors.New("it is the SQLite file of another program")
	}
	if version > len(migrations) {
		return fmt.Errorf("it has schema %d, and this version of mesoscope knows schemas up to %d: use the mesoscope that wrote it, or a newer one (the file is left as it is)", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA application_id=%d; PRAGMA user_version=%d", migrations[version], applicationID, version+1))
		if err != nil {
			return errors.Join(fmt.Errorf("to schema %d: %w", version+1, err), tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
