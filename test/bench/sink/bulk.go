package sink

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// A buffer is the memory of one bulk.
type buffer struct {
	wire, body, answer []byte
	gz                 gzip.Reader
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (s *Sink) bulk(w http.ResponseWriter, r *http.Request) {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	body, err := b.read(r)
	if err != nil {
		refuse(w, "parse_exception", err)
		return
	}
	at := time.Now()
	if s.opt.Delay > 0 {
		time.Sleep(s.opt.Delay)
	}
	a := newAnswer(r.URL.Query().Get("filter_path"), backing(r.PathValue("index")))
	s.mu.Lock()
	b.answer, err = s.items(a, b.answer[:0], body, at)
	s.stats.Bulks++
	s.stats.WireBytes += int64(len(b.wire))
	s.stats.BodyBytes += int64(len(body))
	s.mu.Unlock()
	if err != nil {
		refuse(w, "illegal_argument_exception", err)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b.answer)))
	_, _ = w.Write(b.answer) // an error means that the client has gone
}

// read returns the request's body, inflated, and leaves it as sent in b.wire.
func (b *buffer) read(r *http.Request) (body []byte, err error) {
	if b.wire, err = readAll(b.wire, r.Body, r.ContentLength); err != nil {
		return nil, err
	}
	if r.Header.Get("Content-Encoding") != "gzip" {
		return b.wire, nil
	}
	if err := b.gz.Reset(bytes.NewReader(b.wire)); err != nil {
		return nil, err
	}
	b.body, err = readAll(b.body, &b.gz, -1)
	return b.body, err
}

// readAll reads r into dst's memory; size is a hint, -1 if unknown.
func readAll(dst []byte, r io.Reader, size int64) ([]byte, error) {
	dst = dst[:0]
	if size > 0 && int64(cap(dst)) <= size {
		dst = make([]byte, 0, size+1) // one more, to see the end without growing
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// items walks over a bulk's body and appends its answer.
func (s *Sink) items(a answer, dst, body []byte, at time.Time) ([]byte, error) {
	dst = a.begin(dst)
	first, conflict := true, false
	for len(body) > 0 {
		var action, doc []byte
		action, body, _ = bytes.Cut(body, []byte("\n"))
		if len(action) == 0 {
			continue
		}
		create := bytes.HasPrefix(action, []byte(`{"create"`))
		if !create && !bytes.HasPrefix(action, []byte(`{"index"`)) {
			return nil, errors.New("malformed action/metadata line: " + string(action[:min(len(action), 100)]))
		}
		var whole bool
		if doc, body, whole = bytes.Cut(body, []byte("\n")); !whole || len(doc) < 2 || doc[0] != '{' || doc[len(doc)-1] != '}' {
			return nil, errors.New("the bulk request must be terminated by a newline and each action followed by an object")
		}
		id := member(action, `"_id":"`)
		status := s.take(create, id, doc, at)
		conflict = conflict || status == http.StatusConflict
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = a.item(dst, create, member(action, `"_index":"`), id, status)
	}
	return a.end(dst, conflict), nil
}

// member is the string behind key, which has no escapes in an action line.
func member(action []byte, key string) []byte {
	_, rest, ok := bytes.Cut(action, []byte(key))
	if !ok {
		return nil
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return value
}

// An answer knows which members filter_path leaves in.
type answer struct {
	backing                           string // of the data stream in the URL
	errors, index, id, status, result bool
	took, version, reason             bool
}

func newAnswer(filterPath, backing string) answer {
	if filterPath == "" {
		return answer{backing: backing, errors: true, index: true, id: true, status: true, result: true, took: true, version: true, reason: true}
	}
	a := answer{backing: backing}
	for f := range strings.SplitSeq(filterPath, ",") {
		f = strings.TrimPrefix(f, "items.*.")
		switch {
		case f == "took":
			a.took = true
		case f == "errors":
			a.errors = true
		case f == "_index":
			a.index = true
		case f == "_id":
			a.id = true
		case f == "status":
			a.status = true
		case f == "result":
			a.result = true
		case f == "error" || strings.HasPrefix(f, "error."):
			a.reason = true
		case f == "items" || f == "items.*":
			a.index, a.id, a.status, a.result, a.version, a.reason = true, true, true, true, true, true
		}
	}
	return a
}

func (a answer) begin(dst []byte) []byte {
	dst = append(dst, '{')
	if a.took {
		dst = append(dst, `"took":1,`...)
	}
	return append(dst, `"items":[`...)
}

// end puts errors last; nobody may depend on the order of members.
func (a answer) end(dst []byte, conflict bool) []byte {
	dst = append(dst, ']')
	if a.errors {
		dst = append(dst, `,"errors":`...)
		dst = strconv.AppendBool(dst, conflict)
	}
	return append(dst, '}')
}

func (a answer) item(dst []byte, create bool, index, id []byte, status int) []byte {
	if create {
		dst = append(dst, `{"create":{`...)
	} else {
		dst = append(dst, `{"index":{`...)
	}
	begin := len(dst)
	if a.index {
		dst = append(dst, `"_index":"`...)
		if len(index) > 0 {
			dst = append(dst, backing(string(index))...)
		} else {
			dst = append(dst, a.backing...)
		}
		dst = append(dst, `",`...)
	}
	if a.id {
		dst = append(dst, `"_id":"`...)
		dst = append(dst, id...)
		dst = append(dst, `",`...)
	}
	if status == http.StatusConflict {
		if a.reason {
			dst = append(dst, `"error":{"type":"version_conflict_engine_exception","reason":"document already exists"},`...)
		}
	} else {
		if a.version {
			dst = append(dst, `"_version":1,`...)
		}
		if a.result {
			dst = append(dst, `"result":"created",`...)
		}
	}
	if a.status {
		dst = append(dst, `"status":`...)
		dst = strconv.AppendInt(dst, int64(status), 10)
		dst = append(dst, ',')
	}
	if len(dst) > begin {
		dst = dst[:len(dst)-1] // the last comma
	}
	return append(dst, "}}"...)
}
