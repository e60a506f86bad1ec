package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"mesoscope/record"
)

// What an inquiry may be forbidden to do.
const (
	callTasks   = "tasks"
	callResolve = "resolve"
	callMget    = "mget"
	callDelete  = "delete"
	callRefresh = "refresh"
	callSearch  = "search"
)

// A fate is what was found about an item.
type fate uint8

const (
	isMissing fate = iota // in no index
	isThere               // once
	isMended              // twice; the newer copy is deleted
	isDoubled             // twice; the newer copy may not be deleted
	isOther               // of isSame: it is another line
	isBlank               // of isSame: nothing in it can be compared
)

// An inquiry is one question about a bulk, and what was found out. While it is
// with an asker nobody else touches it, its bulk, or the batches of that.
type inquiry struct {
	what    question
	b       *bulk    // nil for whereWrite
	streams []string // data streams where the items can be
	ghosts  []ghost  // requests that must be dead first
	elders  bool     // and so must be those of earlier runs

	err          error // nothing was found out
	unauthorized bool  // because of the credentials
	denied       map[string]bool
	seen         bool     // the tasks were listed
	living       []string // requests that are not dead: ask again later
	writes       map[string]string
	expect       []string
	fates        []fate // by item
	places       []string
	closed       []string // of places: indices of which nobody can say what they hold
}

// An asker answers one inquiry after the other.
type asker struct {
	client func() *elasticsearch.Client
	name   string        // begins the X-Opaque-Ids of all our runs; "" = not known
	run    string        // and those of this one
	bare   bool          // lines are stored without our _id, see bare.go
	limit  time.Duration // of one call
}

const (
	askTimeout = 30 * time.Second
	mostDocs   = 2000 // of one _mget
	mostFound  = 64 << 20
)

var errShard = errors.New("a shard is not available")

// errDenied is the end of an inquiry that lacks a right; q.denied says which.
var errDenied = errors.New("denied")

func (k *asker) answer(ctx context.Context, q *inquiry) {
	q.denied = map[string]bool{}
	err := k.find(ctx, q)
	if errors.Is(err, errDenied) {
		return
	}
	if err != nil {
		q.err = err
	}
}

func (k *asker) find(ctx context.Context, q *inquiry) error {
	if q.what == isSame {
		return k.compare(ctx, q)
	}
	if len(q.ghosts) > 0 || q.elders {
		if err := k.lookForGhosts(ctx, q); err != nil || len(q.living) > 0 {
			return err
		}
	}
	if k.bare && q.what == mayBeThere {
		return k.searchNumbers(ctx, q)
	}
	places, err := k.places(ctx, q)
	if err != nil || q.what == whereWrite {
		return err
	}
	// Only the index that is written to can hold them: `create` finds out by
	// itself. What was stored in an unexpected one is looked for in any case.
	if q.what == mayBeThere && !slices.ContainsFunc(places, func(p string) bool { return !slices.Contains(q.expect, p) }) {
		q.fates = make([]fate, q.b.items)
		return nil
	}
	return k.search(ctx, q, places)
}

// lookForGhosts finds requests that the server still works on.
func (k *asker) lookForGhosts(ctx context.Context, q *inquiry) error {
	var a struct {
		Nodes map[string]struct {
			Tasks map[string]struct {
				Headers map[string]string `json:"headers"`
			} `json:"tasks"`
		} `json:"nodes"`
		NodeFailures []json.RawMessage `json:"node_failures"`
		TaskFailures []json.RawMessage `json:"task_failures"`
	}
	err := k.call(ctx, q, callTasks, http.MethodGet, "/_tasks?actions=indices:data/write/bulk*&detailed=true&filter_path=nodes.*.tasks.*.headers,node_failures,task_failures", nil, &a)
	if err != nil {
		return err
	}
	if len(a.NodeFailures)+len(a.TaskFailures) > 0 {
		return fmt.Errorf("GET _tasks: %d nodes did not answer", len(a.NodeFailures)+len(a.TaskFailures))
	}
	q.seen = true
	for _, n := range a.Nodes {
		for _, t := range n.Tasks {
			id := t.Headers["X-Opaque-Id"]
			ours := slices.ContainsFunc(q.ghosts, func(g ghost) bool { return g.id == id })
			if ours || q.elders && strings.HasPrefix(id, k.name) && !strings.HasPrefix(id, k.run) {
				q.living = append(q.living, id)
			}
		}
	}
	return nil
}

// places are the indices where the bulk's items can be, of each data stream the
// oldest first. The ones that are written to are left in q.
func (k *asker) places(ctx context.Context, q *inquiry) (places []string, err error) {
	q.writes = map[string]string{}
	for _, stream := range q.streams {
		var a struct {
			Indices []struct {
				Name string `json:"name"`
			} `json:"indices"`
			DataStreams []struct {
				Name    string   `json:"name"`
				Backing []string `json:"backing_indices"`
			} `json:"data_streams"`
		}
		err := k.call(ctx, q, callResolve, http.MethodGet, "/_resolve/index/"+url.PathEscape(stream), nil, &a)
		var status *callError
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			continue // nothing was ever stored there
		}
		if err != nil {
			return nil, err
		}
		for _, i := range a.Indices { // somebody has a plain index there
			places, q.expect = append(places, i.Name), append(q.expect, i.Name)
		}
		for _, d := range a.DataStreams {
			if len(d.Backing) == 0 {
				continue
			}
			byGeneration(d.Backing)
			last := d.Backing[len(d.Backing)-1]
			q.writes[stream] = last
			q.expect = append(q.expect, last)
			since := record.Unknown
			if q.b != nil {
				since = q.b.since
			}
			places = append(places, fromSince(stream, d.Backing, since)...)
		}
	}
	return places, nil
}

// A found is one copy of a document.
type found struct {
	Found  bool            `json:"found"`
	Seq    int64           `json:"_seq_no"`
	Term   int64           `json:"_primary_term"`
	Source json.RawMessage `json:"_source"`
	Error  *struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
	closed bool // its index is
}

// A wish is one document that is asked for.
type wish struct {
	Index string `json:"_index"`
	ID    string `json:"_id"`
}

// mget gets documents in real time. A shard that does not answer is an error:
// it is not the same as a document that is not there.
func (k *asker) mget(ctx context.Context, q *inquiry, source string, wishes []wish) ([]found, error) {
	body, err := json.Marshal(map[string]any{"docs": wishes})
	if err != nil {
		return nil, err
	}
	var a struct {
		Docs []found `json:"docs"`
	}
	path := "/_mget?realtime=true&" + source + "&filter_path=docs.found,docs._seq_no,docs._primary_term,docs._source,docs.error.type,docs.error.reason"
	if err := k.call(ctx, q, callMget, http.MethodPost, path, body, &a); err != nil {
		return nil, err
	}
	if len(a.Docs) != len(wishes) {
		return nil, fmt.Errorf("POST _mget: %d documents in the answer, want %d", len(a.Docs), len(wishes))
	}
	for i, d := range a.Docs {
		switch {
		case d.Error == nil:
		case d.Error.Type == "index_not_found_exception": // deleted meanwhile, and with it what it held
			a.Docs[i] = found{}
		case d.Error.Type == "index_closed_exception":
			a.Docs[i] = found{closed: true}
		case d.Error.Type == "security_exception":
			q.denied[callMget] = true
			return nil, errDenied
		default:
			return nil, fmt.Errorf("POST _mget: %s: %w: %s", wishes[i].Index, errShard, d.Error.Reason)
		}
	}
	return a.Docs, nil
}

// search looks for the bulk's items in places, and deletes all copies but the
// oldest.
func (k *asker) search(ctx context.Context, q *inquiry, places []string) error {
	q.fates, q.places = make([]fate, q.b.items), places
	if len(places) == 0 {
		return nil
	}
	step := max(mostDocs/len(places), 1)
	for from := 0; from < q.b.items; from += step {
		to := min(from+step, q.b.items)
		wishes := make([]wish, 0, (to-from)*len(places))
		for n := from; n < to; n++ {
			r := q.b.at(n)
			id := string(r.p.batch.ID(r.i))
			for _, p := range places {
				wishes = append(wishes, wish{p, id})
			}
		}
		docs, err := k.mget(ctx, q, "_source=false", wishes)
		if err != nil {
			return err
		}
		for n := from; n < to; n++ {
			at := (n - from) * len(places)
			f, err := k.keepOldest(ctx, q, wishes[at:at+len(places)], docs[at:at+len(places)])
			if err != nil {
				return err
			}
			q.fates[n] = f
			if f == isMissing {
				for i, d := range docs[at : at+len(places)] {
					if d.closed && !slices.Contains(q.closed, places[i]) {
						q.closed = append(q.closed, places[i])
					}
				}
			}
		}
	}
	return nil
}

// keepOldest is about one document: its copies in all places.
func (k *asker) keepOldest(ctx context.Context, q *inquiry, places []wish, docs []found) (fate, error) {
	f := isMissing
	for i, d := range docs {
		switch {
		case !d.Found:
		case f == isMissing:
			f = isThere
		case q.denied[callDelete]:
			return isDoubled, nil
		default:
			path := fmt.Sprintf("/%s/_doc/%s?if_seq_no=%d&if_primary_term=%d", url.PathEscape(places[i].Index), url.PathEscape(places[i].ID), d.Seq, d.Term)
			err := k.call(ctx, q, callDelete, http.MethodDelete, path, nil, nil)
			var status *callError
			if errors.As(err, &status) && status.status == http.StatusNotFound {
				err = nil // gone by itself
			}
			if errors.Is(err, errDenied) {
				return isDoubled, nil
			}
			if err != nil {
				return 0, err
			}
			f = isMended
		}
	}
	return f, nil
}

// A callError is an answer other than success.
type callError struct {
	what        string
	status      int
	typ, reason string
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s: HTTP %d %s: %s", e.what, e.status, e.typ, cutString(e.reason, 300))
}

// call sends one request and reads the answer into into.
func (k *asker) call(ctx context.Context, q *inquiry, name, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	what, _, _ := strings.Cut(path, "?")
	what = method + " " + what
	req, err := http.NewRequestWithContext(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	res, err := k.client().Perform(req)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostFound))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", what, err)
	}
	switch {
	case res.StatusCode == http.StatusForbidden, isAbsent(name, res.StatusCode):
		q.denied[name] = true
		return errDenied
	case res.StatusCode >= 300:
		q.unauthorized = res.StatusCode == http.StatusUnauthorized
		typ, reason := wholeError(answer)
		return &callError{what, res.StatusCode, typ, reason}
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// isAbsent says that a server does not have this call at all: a hosted one has
// no _tasks, for example. That is as good as a right that is missing.
func isAbsent(name string, status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return true
	case http.StatusNotFound:
		return name == callTasks || name == callMget
	}
	return false
}
