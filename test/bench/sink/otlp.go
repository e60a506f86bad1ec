package sink

import (
	"bytes"
	"net/http"
	"time"

	"mesoscope/test/bench/corpus"
)

// otlp takes logs over OTLP/HTTP, for an agent that has no _bulk. It does not
// take the request apart, only counts the markers in it.
func (s *Sink) otlp(w http.ResponseWriter, r *http.Request) {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	body, err := b.read(r)
	if err != nil {
		refuse(w, "parse_exception", err)
		return
	}
	at := time.Now()
	time.Sleep(s.opt.Delay)
	s.mu.Lock()
	s.stats.Bulks++
	s.stats.WireBytes += int64(len(b.wire))
	s.stats.BodyBytes += int64(len(body))
	head := []byte(corpus.MarkerHead)
	for i := bytes.Index(body, head); i >= 0; {
		body = body[i:]
		piece := body
		if i = bytes.Index(body[len(head):], head); i >= 0 {
			i += len(head)
			piece = body[:i]
		}
		if _, _, ok := corpus.FindMarker(piece); ok {
			s.take(false, nil, piece, at)
		}
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf") // nothing was refused: an empty message
}
