package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"mesoscope/embedded"
)

const (
	defaultLimit = 100
	maxBuckets   = 10000
)

// embeddedStore asks the store in one file. Its Cursor is "time.arrival", the
// line's @timestamp in ns and its seq, and serves both orders.
type embeddedStore struct {
	store *embedded.Store
}

// NewEmbedded asks an embedded store. Its Close leaves store open.
func NewEmbedded(store *embedded.Store) AuditStore { return &embeddedStore{store} }

func (s *embeddedStore) Close() error { return nil }

// members are the top-level members that lines have of their own.
func (s *embeddedStore) members(ctx context.Context) (map[string]bool, error) {
	rows, err := s.store.DB().QueryContext(ctx, "SELECT name FROM member")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	members := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		members[name] = true
	}
	return members, rows.Err()
}

// where compiles what r selects, without After.
func (s *embeddedStore) where(ctx context.Context, r Request) (sqlCompiler, condition, error) {
	members, err := s.members(ctx)
	if err != nil {
		return sqlCompiler{}, condition{}, err
	}
	compiler := sqlCompiler{members}
	c := compiler.compile(visible(r.Query.root))
	if !r.Since.IsZero() {
		c.sql += " AND line.ts >= ?"
		c.args = append(c.args, unixNano(r.Since))
	}
	if !r.Until.IsZero() {
		c.sql += " AND line.ts < ?"
		c.args = append(c.args, unixNano(r.Until))
	}
	return compiler, c, nil
}

// unixNano is t.UnixNano, for times that it cannot hold the nearest that it can.
func unixNano(t time.Time) int64 {
	switch y := t.Year(); {
	case y < 1678:
		return math.MinInt64
	case y > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (s *embeddedStore) Search(ctx context.Context, r Request) (Result, error) {
	result, err := s.search(ctx, r)
	if err != nil {
		return Result{}, fmt.Errorf("search %s: %w", s.store.Path(), err)
	}
	return result, nil
}

func (s *embeddedStore) search(ctx context.Context, r Request) (Result, error) {
	if r.Arrival && r.After == "" {
		return s.end(ctx)
	}
	_, c, err := s.where(ctx, r)
	if err != nil {
		return Result{}, err
	}
	if r.After != "" {
		var ts, seq int64
		if _, err := fmt.Sscanf(string(r.After), "%d.%d", &ts, &seq); err != nil {
			return Result{}, fmt.Errorf("%q is no cursor of this store", r.After)
		}
		switch {
		case r.Arrival:
			c.sql += " AND line.seq > ?"
			c.args = append(c.args, seq)
		case r.Newest:
			c.sql += " AND (line.ts, line.seq) < (?, ?)"
			c.args = append(c.args, ts, seq)
		default:
			c.sql += " AND (line.ts, line.seq) > (?, ?)"
			c.args = append(c.args, ts, seq)
		}
	}
	order := "line.ts, line.seq"
	switch {
	case r.Arrival:
		order = "line.seq"
	case r.Newest:
		order = "line.ts DESC, line.seq DESC"
	}
	limit := r.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	rows, err := s.store.DB().QueryContext(ctx, "SELECT line.seq, line.ts, line.id, line.own, origin.fields FROM line JOIN origin ON origin.id = line.origin WHERE "+
		c.sql+" ORDER BY "+order+" LIMIT ?", append(c.args, limit+1)...)
	if err != nil {
		return Result{}, err
	}
	defer rows.Close()
	result := Result{Cursor: r.After}
	for rows.Next() {
		if len(result.Lines) == limit {
			result.More = true
			break
		}
		var seq, ts int64
		var id, own, fields string
		if err := rows.Scan(&seq, &ts, &id, &own, &fields); err != nil {
			return Result{}, err
		}
		result.Lines = append(result.Lines, Line{
			ID: id, Time: time.Unix(0, ts).UTC(),
			Doc:    json.RawMessage("{" + own + "," + fields + "}"),
			Cursor: Cursor(fmt.Sprintf("%d.%d", ts, seq)),
		})
	}
	if err := rows.Err(); err != nil {
		return Result{}, err
	}
	if n := len(result.Lines); n > 0 {
		// The last one in the order of the answer: the first one in time, when
		// the newest were asked for.
		result.Cursor = result.Lines[n-1].Cursor
		if r.Newest && !r.Arrival {
			reverse(result.Lines)
		}
	}
	return result, nil
}

// end is the Cursor of the present end of the store.
func (s *embeddedStore) end(ctx context.Context) (Result, error) {
	var next int64
	if err := s.store.DB().QueryRowContext(ctx, "SELECT next FROM state").Scan(&next); err != nil {
		return Result{}, err
	}
	return Result{Cursor: Cursor(fmt.Sprintf("%d.%d", time.Now().UnixNano(), next-1))}, nil
}

func reverse(lines []Line) {
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
}

func (s *embeddedStore) Histogram(ctx context.Context, r Request, step time.Duration) ([]Bucket, error) {
	buckets, err := s.histogram(ctx, r, step)
	if err != nil {
		return nil, fmt.Errorf("count lines of %s: %w", s.store.Path(), err)
	}
	return buckets, nil
}

func (s *embeddedStore) histogram(ctx context.Context, r Request, step time.Duration) ([]Bucket, error) {
	if err := checkStep(r, step); err != nil {
		return nil, err
	}
	_, c, err := s.where(ctx, r)
	if err != nil {
		return nil, err
	}
	// SQLite divides towards zero, hence the detour for times before 1970.
	rows, err := s.store.DB().QueryContext(ctx, "SELECT (line.ts - (line.ts % ?1 + ?1) % ?1) AS bucket, count(*) FROM line WHERE "+
		numbered(c.sql, 2)+" GROUP BY bucket ORDER BY bucket", append([]any{int64(step)}, c.args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var counted []Bucket
	for rows.Next() {
		var ts, n int64
		if err := rows.Scan(&ts, &n); err != nil {
			return nil, err
		}
		counted = append(counted, Bucket{Time: time.Unix(0, ts).UTC(), Count: n})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return fill(r, step, counted)
}

// numbered gives the placeholders of sql numbers from first on, so that they
// can stand beside one that is used twice. No placeholder is inside a literal.
func numbered(sql string, first int) string {
	var b strings.Builder
	for i, piece := range strings.Split(sql, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "?%d", first+i-1)
		}
		b.WriteString(piece)
	}
	return b.String()
}

func checkStep(r Request, step time.Duration) error {
	if step < time.Millisecond || step%time.Millisecond != 0 {
		return fmt.Errorf("a step of %s is not a whole number of milliseconds", step)
	}
	if !r.Since.IsZero() && !r.Until.IsZero() && r.Until.Sub(r.Since)/step > maxBuckets {
		return fmt.Errorf("more than %d steps of %s between %s and %s", maxBuckets, step, r.Since.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	}
	return nil
}

// fill puts a bucket in place of each step that has none. Where r has no begin
// or end, the lines give it.
func fill(r Request, step time.Duration, counted []Bucket) ([]Bucket, error) {
	if len(counted) == 0 && (r.Since.IsZero() || r.Until.IsZero()) {
		return nil, nil
	}
	begin, end := r.Since, r.Until
	if begin.IsZero() {
		begin = counted[0].Time
	}
	if end.IsZero() {
		end = counted[len(counted)-1].Time.Add(1)
		if end.Before(begin) {
			end = begin
		}
	}
	first := unixNano(begin)
	first -= (first%int64(step) + int64(step)) % int64(step)
	var buckets []Bucket
	for t := time.Unix(0, first).UTC(); t.Before(end); t = t.Add(step) {
		if len(buckets) > maxBuckets {
			return nil, fmt.Errorf("more than %d steps of %s", maxBuckets, step)
		}
		b := Bucket{Time: t}
		if len(counted) > 0 && counted[0].Time.Equal(t) {
			b.Count = counted[0].Count
			counted = counted[1:]
		}
		buckets = append(buckets, b)
	}
	return buckets, nil
}

func (s *embeddedStore) Values(ctx context.Context, r Request, field string, n int) ([]Value, error) {
	values, err := s.values(ctx, r, field, n)
	if err != nil {
		return nil, fmt.Errorf("values of %s in %s: %w", field, s.store.Path(), err)
	}
	return values, nil
}

// checkCountable refuses fields whose values cannot be counted in both stores.
func checkCountable(field string) error {
	switch kindOf(field) {
	case kindText, kindTime, kindID:
		return errors.New("its values cannot be counted")
	}
	return nil
}

func (s *embeddedStore) values(ctx context.Context, r Request, field string, n int) ([]Value, error) {
	if err := checkCountable(field); err != nil {
		return nil, err
	}
	compiler, c, err := s.where(ctx, r)
	if err != nil {
		return nil, err
	}
	var query string
	var args []any
	switch field {
	case "log.level", "event.sequence", "log.offset":
		column := map[string]string{"log.level": "line.level", "event.sequence": "line.sequence", "log.offset": "line.offset"}[field]
		query = "SELECT CAST(" + column + " AS TEXT) v, count(*) c FROM line WHERE " + c.sql + " AND " + column + " IS NOT NULL GROUP BY " + column
		args = c.args
	default:
		// Shared fields are counted by origin first, which the index over time
		// can do alone.
		query = "SELECT f.value v, sum(o.c) c FROM (SELECT line.origin, count(*) c FROM line WHERE " + c.sql + " GROUP BY line.origin) o" +
			" JOIN origin_field f ON f.origin = o.origin AND f.name = ? GROUP BY f.value"
		args = append(append(args, c.args...), field)
		if path, ok := jsonPath(field); ok && compiler.own(field) {
			query = "SELECT v, sum(c) c FROM (" + query + " UNION ALL SELECT " + jsonText + " v, count(DISTINCT line.seq) c FROM line, json_each('{' || line.own || '}', ?) j WHERE " +
				c.sql + " AND typeof(j.key) <> 'text' AND j.type NOT IN ('object', 'array', 'null') AND length(j.atom) <= 1024 GROUP BY v) GROUP BY v"
			args = append(append(args, path), c.args...)
		}
	}
	rows, err := s.store.DB().QueryContext(ctx, query+" ORDER BY c DESC, v LIMIT ?", append(args, n)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var values []Value
	for rows.Next() {
		var v Value
		if err := rows.Scan(&v.Value, &v.Count); err != nil {
			return nil, err
		}
		if kindOf(field) == kindAddress {
			if a, ok := embedded.ParseSortableIP(v.Value); ok {
				v.Value = a.String()
			}
		}
		values = append(values, v)
	}
	return values, rows.Err()
}
