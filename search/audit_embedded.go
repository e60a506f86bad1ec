package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"mesoscope/embedded"
)

// A shared is what an Auditor needs of the members that an origin's lines share.
type shared struct {
	Stream    string `json:"stream"`
	Container struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"container"`
}

// origins reads what the lines of each origin share.
func (s *embeddedStore) origins(ctx context.Context) (map[int64]shared, error) {
	out := map[int64]shared{}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var id int64
		var fields string
		if err := rows.Scan(&id, &fields); err != nil {
			return err
		}
		var o shared
		if json.Unmarshal([]byte("{"+fields+"}"), &o) == nil { // else its lines have no fields to be found by
			out[id] = o
		}
		return nil
	}, "SELECT id, fields FROM origin")
	return out, err
}

// each calls f for each row of the answer.
func (s *embeddedStore) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := s.store.DB().QueryContext(ctx, query, args...)
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

// Generations reads every line that matches: the file's name stands in the line.
func (s *embeddedStore) Generations(ctx context.Context, r Request) ([]Generation, error) {
	list, err := s.generations(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("list log files of %s: %w", s.store.Path(), err)
	}
	return list, nil
}

func (s *embeddedStore) generations(ctx context.Context, r Request) ([]Generation, error) {
	_, c, err := s.where(ctx, r)
	if err != nil {
		return nil, err
	}
	origins, err := s.origins(ctx)
	if err != nil {
		return nil, err
	}
	found := map[Key]*Generation{}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var origin, ts int64
		var own sql.RawBytes
		if err := rows.Scan(&origin, &ts, &own); err != nil {
			return err
		}
		path, generation := embedded.LogFile(own)
		o := origins[origin]
		key := Key{o.Container.ID, generation, o.Stream}
		at := time.Unix(0, ts).UTC()
		g := found[key]
		if g == nil {
			g = &Generation{Key: key, Name: o.Container.Name, Path: path, First: at, Last: at}
			found[key] = g
		}
		if at.Before(g.First) {
			g.First = at
		}
		if at.After(g.Last) {
			g.Last = at
		}
		return nil
	}, "SELECT line.origin, line.ts, line.own FROM line WHERE "+c.sql+" AND line.sequence IS NOT NULL", c.args...)
	if err != nil {
		return nil, err
	}
	list := make([]Generation, 0, len(found))
	for _, g := range found {
		list = append(list, *g)
	}
	sortGenerations(list)
	return list, nil
}

// Tally reads all lines of the streams of keys once, in the order in which they
// came.
func (s *embeddedStore) Tally(ctx context.Context, keys []Key) ([]Tally, error) {
	tallies, err := s.tally(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("count lines of %s: %w", s.store.Path(), err)
	}
	return tallies, nil
}

func (s *embeddedStore) tally(ctx context.Context, keys []Key) ([]Tally, error) {
	origins, err := s.origins(ctx)
	if err != nil {
		return nil, err
	}
	counters := make(map[Key]*counter, len(keys))
	wanted := map[Key]bool{} // without Generation
	for _, k := range keys {
		counters[k] = &counter{}
		wanted[Key{Container: k.Container, Stream: k.Stream}] = true
	}
	ids := []int64{}
	for id, o := range origins {
		if wanted[Key{Container: o.Container.ID, Stream: o.Stream}] {
			ids = append(ids, id)
		}
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var origin, sequence int64
		var own sql.RawBytes
		if err := rows.Scan(&origin, &sequence, &own); err != nil {
			return err
		}
		_, generation := embedded.LogFile(own)
		o := origins[origin]
		if c := counters[Key{o.Container.ID, generation, o.Stream}]; c != nil {
			c.count(sequence)
		}
		return nil
	}, "SELECT origin, sequence, own FROM line WHERE sequence IS NOT NULL AND origin IN (SELECT value FROM json_each(?)) ORDER BY seq", string(list))
	if err != nil {
		return nil, err
	}
	// Afterwards: what retention deleted before the lines were read is in it.
	var expired int64
	if err := s.store.DB().QueryRowContext(ctx, "SELECT expired FROM state").Scan(&expired); err != nil {
		return nil, err
	}
	tallies := make([]Tally, len(keys))
	for i, k := range keys {
		tallies[i] = counters[k].tally()
		if expired > 0 {
			tallies[i].Expired = time.Unix(0, expired).UTC()
		}
	}
	return tallies, nil
}
