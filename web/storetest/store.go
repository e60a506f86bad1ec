package storetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mesoscope/search"
)

// A Store holds its lines in memory. The zero Store is empty and ready.
type Store struct {
	mu    sync.Mutex
	lines []stored // in the order of arrival
	fail  error
	slow  time.Duration
}

type stored struct {
	search.Line
	doc     map[string]any
	arrival int // from 1
}

// Add stores one document as it stands; @timestamp must be RFC 3339.
func (s *Store) Add(id, doc string) {
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		panic(fmt.Errorf("document %s: %w", id, err))
	}
	t, err := time.Parse(time.RFC3339Nano, fmt.Sprint(m["@timestamp"]))
	if err != nil {
		panic(fmt.Errorf("document %s: %w", id, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.lines) + 1
	s.lines = append(s.lines, stored{search.Line{ID: id, Time: t, Doc: json.RawMessage(doc)}, m, n})
}

// Fail lets every question from now on end with err; nil: no longer.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Slow lets every question from now on take d.
func (s *Store) Slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = d
}

// matching are the lines of r in the order (@timestamp, arrival).
func (s *Store) matching(ctx context.Context, r search.Request) ([]stored, error) {
	s.mu.Lock()
	fail, slow := s.fail, s.slow
	lines := slices.Clone(s.lines)
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	var out []stored
	for _, l := range lines {
		if !r.Since.IsZero() && l.Time.Before(r.Since) || !r.Until.IsZero() && !l.Time.Before(r.Until) {
			continue
		}
		ok, err := match(r.Query.String(), l.doc)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, order)
	return out, nil
}

func order(a, b stored) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.arrival, b.arrival))
}

func (l stored) cursor() search.Cursor {
	return search.Cursor(fmt.Sprintf("%d.%d", l.Time.UnixNano(), l.arrival))
}

func parseCursor(c search.Cursor) (stored, error) {
	ns, n, ok := strings.Cut(string(c), ".")
	t, err1 := strconv.ParseInt(ns, 10, 64)
	a, err2 := strconv.Atoi(n)
	if !ok || errors.Join(err1, err2) != nil {
		return stored{}, fmt.Errorf("cursor %q is not of this store", c)
	}
	return stored{Line: search.Line{Time: time.Unix(0, t)}, arrival: a}, nil
}

// Search is search.Store's.
func (s *Store) Search(ctx context.Context, r search.Request) (search.Result, error) {
	lines, err := s.matching(ctx, r)
	if err != nil {
		return search.Result{}, err
	}
	after := stored{}
	if r.After != "" {
		if after, err = parseCursor(r.After); err != nil {
			return search.Result{}, err
		}
	}
	if r.Arrival {
		return s.arrived(lines, r, after), nil
	}
	if r.After != "" {
		lines = slices.DeleteFunc(lines, func(l stored) bool {
			c := order(l, after)
			return r.Newest && c >= 0 || !r.Newest && c <= 0
		})
	}
	limit := cmp.Or(r.Limit, 100)
	more := len(lines) > limit
	if more && r.Newest {
		lines = lines[len(lines)-limit:]
	} else if more {
		lines = lines[:limit]
	}
	res := search.Result{More: more, Cursor: r.After}
	for _, l := range lines {
		l.Cursor = l.cursor()
		res.Lines = append(res.Lines, l.Line)
	}
	if n := len(res.Lines); n > 0 {
		res.Cursor = res.Lines[n-1].Cursor
		if r.Newest {
			res.Cursor = res.Lines[0].Cursor
		}
	}
	return res, nil
}

func (s *Store) arrived(lines []stored, r search.Request, after stored) search.Result {
	s.mu.Lock()
	end := stored{arrival: len(s.lines)}
	s.mu.Unlock()
	end.Time = time.Unix(0, 0)
	if r.After == "" {
		return search.Result{Cursor: end.cursor()}
	}
	slices.SortFunc(lines, func(a, b stored) int { return cmp.Compare(a.arrival, b.arrival) })
	res := search.Result{Cursor: r.After}
	for _, l := range lines {
		if l.arrival <= after.arrival {
			continue
		}
		if len(res.Lines) == cmp.Or(r.Limit, 100) {
			res.More = true
			break
		}
		l.Cursor = l.cursor()
		res.Lines = append(res.Lines, l.Line)
		res.Cursor = l.Cursor
	}
	return res
}

// Histogram is search.Store's.
func (s *Store) Histogram(ctx context.Context, r search.Request, step time.Duration) ([]search.Bucket, error) {
	lines, err := s.matching(ctx, r)
	if err != nil {
		return nil, err
	}
	begin := time.Unix(0, r.Since.UnixNano()/int64(step)*int64(step)).UTC()
	var out []search.Bucket
	for t := begin; t.Before(r.Until); t = t.Add(step) {
		out = append(out, search.Bucket{Time: t})
	}
	for _, l := range lines {
		if i := int(l.Time.Sub(begin) / step); i >= 0 && i < len(out) {
			out[i].Count++
		}
	}
	return out, nil
}

// Values is search.Store's.
func (s *Store) Values(ctx context.Context, r search.Request, field string, n int) ([]search.Value, error) {
	lines, err := s.matching(ctx, r)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, l := range lines {
		if v := value(l.doc, field); v != "" {
			counts[v]++
		}
	}
	out := []search.Value{}
	for v, c := range counts {
		out = append(out, search.Value{Value: v, Count: c})
	}
	slices.SortFunc(out, func(a, b search.Value) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return out[:min(n, len(out))], nil
}

// Close is search.Store's.
func (s *Store) Close() error { return nil }

// Doc builds a document as the agent writes it; extra is JSON members that
// begin with a comma, or "".
func Doc(t time.Time, service, stream, level, message string, sequence int, extra string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"@timestamp":%q,"message":`, t.UTC().Format(time.RFC3339Nano))
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		panic(err)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`,"log":{`)
	if level != "" {
		fmt.Fprintf(&b, `"level":%q,`, level)
	}
	fmt.Fprintf(&b, `"offset":%d,"file":{"generation":"g1","path":"/var/lib/docker/containers/%s/%s-json.log"}},"event":{"sequence":%d,"dataset":"mesos.container"},`, sequence*100, service, service, sequence)
	fmt.Fprintf(&b, `"stream":%q,"service":{"name":%q},"container":{"id":"id-of-%s","name":"%s-1","runtime":"docker","image":{"name":"registry.example/%s","tag":["7"]}},"host":{"name":"node-1"}%s}`, stream, service, service, service, service, extra)
	return b.String()
}
