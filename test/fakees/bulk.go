package fakees

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// memory that benchmarks need not allocate for each request
type buffers struct {
	in  bytes.Buffer
	out bytes.Buffer
	gz  *gzip.Reader
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

func (s *Server) bulk(w http.ResponseWriter, r *http.Request, index string) {
	buf := pool.Get().(*buffers)
	defer pool.Put(buf)
	buf.in.Reset()
	buf.out.Reset()
	if err := buf.read(r); err != nil {
		writeError(w, http.StatusBadRequest, "parse_exception", err.Error())
		return
	}
	body := buf.in.Bytes()
	if s.MaxContentLength > 0 && len(body) > s.MaxContentLength {
		w.Header().Del("X-Elastic-Product")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge) // a real server sends no body
		return
	}
	n := int(s.bulks.Add(1))
	task := s.begin(r.Header.Get("X-Opaque-Id"))
	late := false
	defer func() {
		if !late {
			s.end(task)
		}
	}()
	var f Fault
	if s.OnBulk != nil {
		f = s.OnBulk(&Bulk{Index: index, OpaqueID: r.Header.Get("X-Opaque-Id"), Body: body, N: n, Header: r.Header, Query: r.URL.Query()})
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		}
	}
	if len(body) == 0 || body[len(body)-1] != '\n' {
		writeError(w, http.StatusBadRequest, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
		return
	}
	if f.Late > 0 || f.Until != nil {
		late = true
		go s.applyLate(f, task, index, bytes.Clone(body), r.URL.Query().Get("require_data_stream") == "true")
		f.Apply, f.Cut = false, !f.Hang
	}
	works := f.Status == 0 && f.Body == "" && !f.Cut && !f.Hang || f.Apply
	if works {
		if err := s.apply(&buf.out, index, body, r.URL.Query().Get("require_data_stream") == "true"); err != nil {
			writeError(w, http.StatusBadRequest, err.typ, err.reason)
			return
		}
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.RetryAfter != "":
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Body != "":
		if f.Status != 0 {
			w.WriteHeader(f.Status)
		}
		_, _ = io.WriteString(w, f.Body)
	case f.Status != 0:
		writeError(w, f.Status, f.Type, f.Reason)
	case f.Truncate > 0:
		w.Header().Set("Content-Length", strconv.Itoa(buf.out.Len()))
		_, _ = w.Write(buf.out.Bytes()[:min(f.Truncate, buf.out.Len())])
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(buf.out.Len()))
		_, _ = w.Write(filter(buf.out.Bytes(), r.URL.Query().Get("filter_path")))
	}
}

// filter leaves out what filter_path does not name, as far as it concerns a
// bulk: "took" has to go, items have only members that we ask for anyway. A
// filter_path without items.*.status is answered without statuses, so that a
// client that forgot it is found out.
func filter(out []byte, path string) []byte {
	if path == "" || strings.Contains(path, "items.*.status") {
		return out
	}
	return []byte(`{}`)
}

func (b *buffers) read(r *http.Request) error {
	if r.Header.Get("Content-Encoding") != "gzip" {
		_, err := b.in.ReadFrom(r.Body)
		return err
	}
	if b.gz == nil {
		b.gz = new(gzip.Reader)
	}
	if err := b.gz.Reset(r.Body); err != nil {
		return err
	}
	_, err := b.in.ReadFrom(b.gz)
	return err
}

// applyLate does a bulk's work when nobody waits for the answer any more.
func (s *Server) applyLate(f Fault, task int, index string, body []byte, requireStream bool) {
	if f.Late > 0 {
		time.Sleep(f.Late)
	}
	if f.Until != nil {
		<-f.Until
	}
	var nobody bytes.Buffer
	_ = s.apply(&nobody, index, body, requireStream) // its answer has no reader
	s.end(task)
}

type requestError struct{ typ, reason string }

var errAction = errors.New("malformed action/metadata line")

// apply stores the documents and writes the answer.
func (s *Server) apply(out *bytes.Buffer, index string, body []byte, requireStream bool) *requestError {
	// A too long _id spoils the whole request before anything is stored.
	for rest := body; len(rest) > 0; {
		id, _, next, err := cutItem(rest)
		if err != nil {
			return &requestError{"illegal_argument_exception", err.Error()}
		}
		if len(id) > 512 {
			return &requestError{"action_request_validation_exception", "Validation Failed: 1: id [" + string(id[:20]) + "…] is too long, must be no longer than 512 bytes but was: " + strconv.Itoa(len(id)) + ";"}
		}
		rest = next
	}
	failed := false
	var items bytes.Buffer
	dst := &items
	if s.Discard {
		dst = out
		out.WriteString(`{"errors":false,"items":[`)
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	n := 0
	for rest := body; len(rest) > 0; n++ {
		id, doc, next, _ := cutItem(rest)
		rest = next
		if n > 0 {
			dst.WriteByte(',')
		}
		if s.Discard {
			dst.WriteString(`{"create":{"_index":".ds-`)
			dst.WriteString(index)
			dst.WriteString(`-2026.11.23-000001","_id":"`)
			dst.Write(id)
			dst.WriteString(`","result":"created","status":201}}`)
			continue
		}
		failed = s.store(dst, index, string(id), doc, requireStream) || failed
	}
	s.lines.Add(int64(n))
	if s.Discard {
		out.WriteString(`]}`)
		return nil
	}
	out.WriteString(`{"errors":` + strconv.FormatBool(failed) + `,"items":[`)
	out.Write(items.Bytes())
	out.WriteString(`]}`)
	return nil
}

// cutItem takes one action and its document off the body.
func cutItem(b []byte) (id, doc, rest []byte, err error) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return nil, nil, nil, errAction
	}
	action := b[:n]
	m := bytes.IndexByte(b[n+1:], '\n')
	if m < 0 {
		return nil, nil, nil, errAction
	}
	doc, rest = b[n+1:n+1+m], b[n+m+2:]
	const head, tail = `{"create":{"_id":"`, `"}}`
	if bytes.HasPrefix(action, []byte(head)) && bytes.HasSuffix(action, []byte(tail)) {
		return action[len(head) : len(action)-len(tail)], doc, rest, nil
	}
	var a struct {
		Create *struct {
			ID string `json:"_id"`
		}
	}
	if json.Unmarshal(action, &a) != nil || a.Create == nil {
		return nil, nil, nil, errAction
	}
	return []byte(a.Create.ID), doc, rest, nil
}

// store stores one document and writes its item. s.mu is held.
func (s *Server) store(out *bytes.Buffer, index, id string, doc []byte, requireStream bool) (failed bool) {
	f := s.blocked
	if f == (ItemFault{}) && s.OnItem != nil {
		s.mu.Unlock()
		f = s.OnItem(index, id, doc)
		s.mu.Lock()
	}
	if f.Status == 400 && s.stored(index, id) {
		f = ItemFault{} // what a mapping took once it takes again: the real answer is 409
	}
	switch {
	case f.Noop:
		if s.dropped == nil {
			s.dropped = map[string][]string{}
		}
		s.dropped[index] = append(s.dropped[index], id)
		item(out, "", id, 200, `"result":"noop"`)
		return false
	case f.Status != 0:
		itemError(out, index, id, f.Status, f.Type, f.Reason)
		return true
	case s.RequireTemplate && !s.hasTemplate(index):
		if requireStream {
			itemError(out, index, id, 404, "index_not_found_exception", "no such index ["+index+"] and [require_data_stream] request flag is [true] and [no matching index template with data stream] ")
		} else {
			itemError(out, index, id, 404, "index_not_found_exception", "no such index ["+index+"]")
		}
		return true
	case !json.Valid(doc):
		itemError(out, index, id, 400, "document_parsing_exception", "[1:2] failed to parse")
		return true
	case !bytes.Contains(doc, []byte(`"@timestamp"`)):
		itemError(out, index, id, 400, "document_parsing_exception", "data stream timestamp field [@timestamp] is missing")
		return true
	}
	if f.Reroute != "" {
		index = f.Reroute
	}
	if f.OtherID != "" {
		id = f.OtherID
	}
	if id == "" {
		id = "auto-" + strconv.Itoa(s.arrival)
	}
	st := s.streamOf(index)
	b := st.backing[len(st.backing)-1]
	if s.closed[b.name] {
		itemError(out, b.name, id, 400, "index_closed_exception", "closed")
		return true
	}
	if f.FailureStore {
		s.failed = append(s.failed, Doc{ID: id, Index: ".fs-" + index + "-2026.11.23-000002", Source: bytes.Clone(doc), Arrival: s.arrival})
		item(out, ".fs-"+index+"-2026.11.23-000002", "fs"+strconv.Itoa(s.arrival), 201, `"result":"created","failure_store":"used"`)
		s.arrival++
		return false
	}
	if _, there := b.ids[id]; there {
		itemError(out, b.name, id, 409, "version_conflict_engine_exception", "["+id+"]: version conflict, document already exists (current version [1])")
		return true
	}
	b.ids[id] = len(b.docs)
	b.docs = append(b.docs, Doc{ID: id, Index: b.name, Source: bytes.Clone(doc), Arrival: s.arrival})
	s.arrival++
	item(out, b.name, id, 201, `"result":"created"`)
	return false
}

// stored says whether the write index holds the id. s.mu is held.
func (s *Server) stored(index, id string) bool {
	st := s.streams[index]
	if st == nil {
		return false
	}
	_, there := st.backing[len(st.backing)-1].ids[id]
	return there
}

func item(out *bytes.Buffer, index, id string, status int, more string) {
	idJSON, _ := json.Marshal(id)
	out.WriteString(`{"create":{"_index":"` + index + `","_id":` + string(idJSON) + `,` + more + `,"status":` + strconv.Itoa(status) + `}}`)
}

func itemError(out *bytes.Buffer, index, id string, status int, typ, reason string) {
	e, _ := json.Marshal(map[string]string{"type": typ, "reason": reason})
	item(out, index, id, status, `"error":`+string(e))
}
