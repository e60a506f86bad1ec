package shipper

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/klauspost/compress/gzip"
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
	sent        int // bytes of the body, compressed if at all

	stored, duplicate int
	odd               []oddItem // all other items, in order
	backing           string    // the index that took the last item
	otherID           string    // an _id that is not the one we sent
	rerouted          string    // a data stream that is not the one we named
}

// An oddItem is an item that was not simply stored or there already.
type oddItem struct {
	n           int // position in the bulk
	status      int
	typ, reason string
	quarantined bool // stored in the failure store
	noop        bool // dropped by the server's pipeline
}

// A sender posts one bulk after the other. Its buffers live as long as it does.
type sender struct {
	client   func() *elasticsearch.Client
	name     string // begins X-Opaque-Id
	level    int    // gzip; 0 = off
	timeout  time.Duration
	waits    time.Duration // the server's own limit
	body     *bulkBody
	gz       *gzip.Writer
	scratch  []byte
	answer   bytes.Buffer
	backing  []byte // the index of the item before
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
	if level != 0 {
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
	if s.gz == nil && len(b.retries) == 0 {
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
		if _, err := w.Write(sp.p.entries(sp.from, sp.to)); err != nil {
			return err
		}
	}
	for _, r := range b.retries {
		entry := r.p.batch.Entry(r.i)
		if r.form.reduced || r.form.cuts > 0 {
			s.scratch = appendForm(s.scratch[:0], r.p.batch, r.i, r.form)
			entry = s.scratch
		}
		if _, err := w.Write(entry); err != nil {
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
	b.answer.sent = s.body.size
	// net/http closes the body soon after the answer, however early that came.
	s.body.Wait()
}

func (s *sender) post(ctx context.Context, b *bulk) {
	a := &b.answer
	yes := true
	s.requests++
	h := http.Header{
		"Content-Type": {"application/x-ndjson"},
		// One id for each request: a later look into _tasks can tell whether
		// this very one is still alive.
		"X-Opaque-Id": {s.name + "-" + strconv.Itoa(s.requests)},
	}
	if s.gz != nil {
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
	s.backing = s.backing[:0]
	each := 1 + b.items/looksAtID
	n, err := scanAnswer(s.answer.Bytes(), func(i int, it *itemAnswer) error {
		if i >= b.items {
			return fmt.Errorf("answer has more items than the bulk, which has %d", b.items)
		}
		if it.Status == 0 {
			return fmt.Errorf("item %d of the answer has no status", i)
		}
		quarantined := string(it.FailureStore) == "used"
		switch {
		case it.Status < 300 && quarantined:
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, quarantined: true, reason: string(it.Index)})
		case it.Status == http.StatusCreated:
			a.stored++
			if i%each == 0 && it.ID != nil {
				if r := b.at(i); !bytes.Equal(it.ID, r.p.batch.ID(r.i)) {
					a.otherID = string(it.ID)
				}
			}
			if !bytes.Equal(it.Index, s.backing) {
				s.backing = append(s.backing[:0], it.Index...)
				if ds, _ := dataStreamOf(it.Index); string(ds) != b.lane.index {
					a.rerouted = string(ds)
				}
			}
		case it.Status == http.StatusOK && string(it.Result) == "noop":
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, noop: true})
		case it.Status == http.StatusConflict && (it.ErrorType == "version_conflict_engine_exception" || it.ErrorType == ""):
			a.duplicate++
		default:
			a.odd = append(a.odd, oddItem{n: i, status: it.Status, typ: it.ErrorType, reason: it.ErrorReason})
		}
		return nil
	})
	if err == nil && n != b.items {
		err = fmt.Errorf("answer has %d items, the bulk had %d", n, b.items)
	}
	a.backing = string(s.backing)
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
