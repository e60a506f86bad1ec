package shipper

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/klauspost/compress/gzip"

	"mesoscope/record"
)

// An answer is what came back for one bulk.
type answer struct {
	// err: there was no answer, or none that can be read. What the request did
	// is unknown.
	err error
	// status of the whole request, and why if it is not 200.
	status      int
	typ, reason string
	retryAfter  time.Duration
	rtt         time.Duration
	sent        int    // bytes of the body, compressed if at all
	opaqueID    string // of the request
	began       bool   // the body was read: the server may have all of it

	stored    int
	odd       []oddItem // all other items, in order
	backing   string    // the index that took the last item
	otherID   string    // an _id that is not the one we sent
	rerouted  string    // a data stream that is not the one we named
	elsewhere int       // items stored there
}

// An oddItem is an item that was not simply stored.
type oddItem struct {
	n           int // position in the bulk
	status      int
	typ, reason string
	quarantined bool // stored in the failure store
	noop        bool // dropped by the server's pipeline
	duplicate   bool // there already
	moved       bool // stored, or there, in another index than the bulk expected
	where       string
}

// A sender posts one bulk after the other. Its buffers live as long as it does.
type sender struct {
	client   func() *elasticsearch.Client
	name     string // begins X-Opaque-Id
	level    int    // gzip; 0 = off
	timeout  time.Duration
	waits    time.Duration // the server's own limit
	body     *bulkBody
	fast     *compressor  // level 1
	gz       *gzip.Writer // other levels
	scratch  []byte
	bare     bool         // lines go without an _id, see bare.go
	stripped record.Batch // a span of them
	answer   bytes.Buffer
	backing  string // the index of the item before
	requests int
}

// filterPath is what the table of answers needs, and no more.
var filterPath = []string{"errors", "items.*.status", "items.*._index", "items.*._id", "items.*.result",
	"items.*.failure_store", "items.*.error.type", "items.*.error.reason", "items.*.error.caused_by.type", "items.*.error.caused_by.reason",
	"error.type", "error.reason", "error.caused_by.reason"}

// mostAnswer bounds the memory of one answer: 64 MiB are half a million items
// that were stored.
const mostAnswer = 64 << 20

var errAnswerTooLarge = fmt.Errorf("answer is larger than %d MiB", mostAnswer>>20)

func newSender(client func() *elasticsearch.Client, name string, level int, timeout, waits time.Duration) (*sender, error) {
	s := &sender{client: client, name: name, level: level, timeout: timeout, waits: waits, body: new(bulkBody)}
	if level == 1 {
		s.fast = new(compressor)
	} else if level != 0 {
		gz, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			return nil, fmt.Errorf("output.elasticsearch.compression_level: %w", err)
		}
		s.gz = gz
	}
	return s, nil
}

// encode makes the bulk's body: the bytes of the batches as they lie there, or
// what the compression makes of them.
func (s *sender) encode(b *bulk) error {
	s.body.reset()
	switch {
	case s.fast != nil:
		s.fast.reset()
		for _, sp := range b.spans {
			s.fast.entries(s.strip(sp))
		}
		for _, r := range b.retries {
			s.fast.bytes(s.entry(r))
		}
		s.fast.close()
		s.body.add(s.fast.out)
		return nil
	case s.gz == nil && len(b.retries) == 0 && !s.bare:
		for _, sp := range b.spans {
			s.body.add(sp.p.entries(sp.from, sp.to))
		}
		return nil
	}
	var w io.Writer = &s.body.buf
	if s.gz != nil {
		s.gz.Reset(&s.body.buf)
		w = s.gz
	}
	for _, sp := range b.spans {
		sp = s.strip(sp)
		if _, err := w.Write(sp.p.entries(sp.from, sp.to)); err != nil {
			return err
		}
	}
	for _, r := range b.retries {
		if _, err := w.Write(s.entry(r)); err != nil {
			return err
		}
	}
	if s.gz != nil {
		if err := s.gz.Close(); err != nil {
			return err
		}
	}
	s.body.add(s.body.buf.Bytes())
	return nil
}

// entry is an item that goes again, in the form that it has now.
func (s *sender) entry(r retry) []byte {
	entry := r.p.batch.Entry(r.i)
	if r.form.reduced || r.form.cuts > 0 {
		s.scratch = appendForm(s.scratch[:0], r.p.batch, r.i, r.form)
		entry = s.scratch
	}
	if s.bare && hasNoID(r.p.batch, r.i) {
		return stripEntry(entry)
	}
	return entry
}

// send posts the bulk and leaves the answer in it.
func (s *sender) send(ctx context.Context, b *bulk) {
	b.answer = answer{odd: b.answer.odd[:0]}
	if err := s.encode(b); err != nil {
		b.answer.err = fmt.Errorf("encode bulk: %w", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := time.Now()
	s.post(ctx, b)
	b.answer.rtt = time.Since(start)
	b.answer.began = s.body.began.Load()
	b.answer.sent = s.body.size
	// net/http closes the body soon after the answer, however early that came.
	s.body.Wait()
}

func (s *sender) post(ctx context.Context, b *bulk) {
	a := &b.answer
	yes := true
	s.requests++
	a.opaqueID = s.name + "-" + strconv.Itoa(s.requests)
	h := http.Header{
		"Content-Type": {"application/x-ndjson"},
		// One id for each request: a later look into _tasks can tell whether
		// this very one is still alive.
		"X-Opaque-Id": {a.opaqueID},
	}
	if s.level != 0 {
		h.Set("Content-Encoding", "gzip")
	}
	req := esapi.BulkRequest{
		Index:             b.lane.index,
		Body:              s.body.open(),
		RequireDataStream: &yes,
		Timeout:           s.waits,
		FilterPath:        filterPath,
		Header:            h,
	}
	res, err := req.Do(ctx, s.client())
	if err != nil {
		a.err = err
		return
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	a.retryAfter = parseRetryAfter(res.Header.Get("Retry-After"), time.Now())
	s.answer.Reset()
	n, err := s.answer.ReadFrom(io.LimitReader(res.Body, mostAnswer+1))
	switch {
	case res.StatusCode != http.StatusOK:
		// The status says enough; the text is for people.
		a.typ, a.reason = wholeError(s.answer.Bytes())
	case err != nil:
		a.err = fmt.Errorf("read the answer: %w", err)
	case n > mostAnswer:
		a.err = errAnswerTooLarge
	default:
		a.err = s.read(b)
	}
}

// looksAtID is about how many items of a bulk are looked at for whether the
// server kept our _id, which it would change for all lines or for a kind of
// them. To look at each one of thousands is a tenth of all CPU without
// compression: the batches have left the processor's caches by then.
const looksAtID = 256

// read takes the answer apart.
func (s *sender) read(b *bulk) error {
	a := &b.answer
	known, moved, elsewhere := false, false, false // about the index of the item before
	each := 1 + b.items/looksAtID
	n, err := scanAnswer(s.answer.Bytes(), func(i int, it *itemAnswer) error {
		if i >= b.items {
			return fmt.Errorf("answer has more items than the bulk, which has %d", b.items)
		}
		if it.Status == 0 {
			return fmt.Errorf("item %d of the answer has no status", i)
		}
		quarantined := it.Status < 300 && string(it.FailureStore) == "used"
		duplicate := it.Status == http.StatusConflict && (it.ErrorType == "version_conflict_engine_exception" || it.ErrorType == "")
		if (it.Status == http.StatusCreated && !quarantined || duplicate) && !(known && string(it.Index) == s.backing) {
			if string(it.Index) != s.backing {
				s.backing = string(it.Index)
			}
			known, a.backing = true, s.backing
			moved = b.expect != nil && !slices.Contains(b.expect, s.backing)
			ds, _ := dataStreamOf(it.Index)
			if elsewhere = len(ds) > 0 && string(ds) != b.lane.index; elsewhere {
				a.rerouted = string(ds)
			}
		}
		switch {
		case quarantined:
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, quarantined: true, reason: string(it.Index)})
		case it.Status == http.StatusCreated:
			if elsewhere {
				a.elsewhere++
			}
			if i%each == 0 && it.ID != nil && !s.bare {
				if r := b.at(i); !bytes.Equal(it.ID, r.p.batch.ID(r.i)) {
					a.otherID = string(it.ID)
				}
			}
			if moved {
				a.odd = append(a.odd, oddItem{n: i, status: it.Status, moved: true, where: s.backing})
				return nil
			}
			a.stored++
		case it.Status == http.StatusOK && string(it.Result) == "noop":
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, noop: true})
		case duplicate:
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, duplicate: true, moved: moved, where: s.backing})
		default:
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, typ: it.ErrorType, reason: it.ErrorReason})
		}
		return nil
	})
	if err == nil && n != b.items {
		err = fmt.Errorf("answer has %d items, the bulk had %d", n, b.items)
	}
	return err
}

// wholeError reads the error of a request that was refused as a whole. A proxy
// answers with text or HTML, a 413 may have no body at all.
func wholeError(b []byte) (typ, reason string) {
	s := scanner{b: b}
	err := s.object(func(key []byte) error {
		from := s.i
		if err := s.skip(); err != nil {
			return err
		}
		if string(key) == "error" {
			typ, reason = readError(bytes.TrimSpace(s.b[from:s.i]))
		}
		return nil
	})
	if err != nil && reason == "" {
		reason = string(bytes.ToValidUTF8(bytes.TrimSpace(b[:min(len(b), 200)]), nil))
	}
	return typ, reason
}

// parseRetryAfter reads the header's two forms, seconds and a date; 0 if there
// is none or it lies in the past. More than 5 minutes is not believed.
func parseRetryAfter(h string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(h); err == nil {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if t, err := http.ParseTime(h); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), 5*time.Minute)
}
