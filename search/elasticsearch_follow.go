package search

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	overlap      = time.Minute // see NewElasticsearch
	maxFollowers = 256         // remembered at the same time; the one that asked longest ago goes
)

// followSort is the order in which followers see lines: nearly that of arrival.
var followSort = append([]string{"event.created"}, sortFields...)

// followers remember which lines each follower was given of the last minute.
type followers struct {
	mu   sync.Mutex
	byID map[string]*follower
}

func newFollowers() *followers { return &followers{byID: map[string]*follower{}} }

// A follower is one chain of Cursors. Cursors of it may be used again: what
// was given after a Cursor does not count as seen for that Cursor.
type follower struct {
	mu    sync.Mutex
	asked time.Time
	turn  int
	seen  map[string]sighting
}

type sighting struct {
	turn    int
	created time.Time
}

// get gives the follower with the name id, a new one if there is none.
func (f *followers) get(id string) (*follower, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, known := f.byID[id]
	if !known {
		if len(f.byID) >= maxFollowers {
			oldest := ""
			for name, other := range f.byID {
				if oldest == "" || other.asked.Before(f.byID[oldest].asked) {
					oldest = name
				}
			}
			delete(f.byID, oldest)
		}
		one = &follower{seen: map[string]sighting{}}
		f.byID[id] = one
	}
	one.asked = time.Now()
	return one, known
}

// A follow cursor is "follow", the follower's name, its turn, and the
// event.created of the latest line seen, in ns.
func followCursor(name string, turn int, latest time.Time) Cursor {
	return Cursor(fmt.Sprintf("follow.%s.%d.%d", name, turn, latest.UnixNano()))
}

func parseFollowCursor(c Cursor) (name string, turn int, latest time.Time, err error) {
	parts := strings.Split(string(c), ".")
	var ns int64
	if len(parts) == 4 && parts[0] == "follow" {
		if n, _ := fmt.Sscan(parts[2]+" "+parts[3], &turn, &ns); n == 2 {
			return parts[1], turn, time.Unix(0, ns), nil
		}
	}
	return "", 0, time.Time{}, fmt.Errorf("%q is no cursor to follow this store", c)
}

// follow gives lines that have come since r.After, see NewElasticsearch.
func (s *elasticsearchStore) follow(ctx context.Context, r Request) (Result, error) {
	if r.After == "" {
		return s.startFollowing(ctx, r)
	}
	name, turn, latest, err := parseFollowCursor(r.After)
	if err != nil {
		return Result{}, err
	}
	f, known := s.followers.get(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	begin := latest.Add(-overlap)
	if !known {
		begin = latest.Add(1)
	}
	f.turn = max(f.turn, turn) + 1
	result := Result{}
	err = s.eachCreated(ctx, r, begin, func(h hit, created time.Time) (bool, error) {
		if old, ok := f.seen[h.ID]; ok && old.turn <= turn {
			return true, nil
		}
		if len(result.Lines) == r.Limit {
			result.More = true
			return false, nil
		}
		f.seen[h.ID] = sighting{f.turn, created}
		if created.After(latest) {
			latest = created
		}
		line, err := h.line(followCursor(name, f.turn, latest))
		result.Lines = append(result.Lines, line)
		return true, err
	})
	if err != nil {
		return Result{}, err
	}
	for id, old := range f.seen {
		if old.created.Before(latest.Add(-2 * overlap)) {
			delete(f.seen, id)
		}
	}
	result.Cursor = followCursor(name, f.turn, latest)
	return result, nil
}

// startFollowing notes what is there, so that only what comes later is given.
func (s *elasticsearchStore) startFollowing(ctx context.Context, r Request) (Result, error) {
	name := rand.Text()
	f, _ := s.followers.get(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	latest := time.Now()
	err := s.eachCreated(ctx, r, latest.Add(-overlap), func(h hit, created time.Time) (bool, error) {
		f.seen[h.ID] = sighting{f.turn, created}
		if created.After(latest) {
			latest = created
		}
		return true, nil
	})
	if err != nil {
		return Result{}, err
	}
	return Result{Cursor: followCursor(name, f.turn, latest)}, nil
}

// eachCreated calls do for the lines of r that were read at begin or later, in
// that order, until it returns false.
func (s *elasticsearchStore) eachCreated(ctx context.Context, r Request, begin time.Time, do func(hit, time.Time) (bool, error)) error {
	query := boolean("filter", []clause{filter(r), {"range": clause{"event.created": clause{"gte": dslTime(begin.UnixNano())}}}})
	var after json.RawMessage
	for {
		hits, err := s.page(ctx, query, sorting(followSort, "asc", "_last"), after, pageSize)
		if err != nil {
			return err
		}
		for _, h := range hits {
			var values []any
			if err := json.Unmarshal(h.Sort, &values); err != nil || len(values) == 0 {
				return fmt.Errorf("read the answer: sort values %s", h.Sort)
			}
			created, err := time.Parse(time.RFC3339Nano, fmt.Sprint(values[0]))
			if err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if more, err := do(h, created); err != nil || !more {
				return err
			}
			after = h.Sort
		}
		if len(hits) < pageSize {
			return nil
		}
	}
}
