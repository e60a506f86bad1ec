package shipper

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// A bulkBody is a request body whose memory is used again for the next bulk.
// net/http may still read a body after the answer has come (a server that
// answers 413 early), so the memory is free only when every reader of it was
// closed: Wait. Without that, the rest of a dead request could carry lines of
// the next one.
type bulkBody struct {
	buf     bytes.Buffer
	readers sync.WaitGroup
}

// open gives a new reader from the beginning. Also used as GetBody, when
// net/http finds that the server had closed an idle connection.
func (b *bulkBody) open() *bodyReader {
	b.readers.Add(1)
	return &bodyReader{Reader: *bytes.NewReader(b.buf.Bytes()), body: b}
}

// Wait returns when no reader is open.
func (b *bulkBody) Wait() { b.readers.Wait() }

type bodyReader struct {
	bytes.Reader
	body *bulkBody
	once sync.Once
}

func (r *bodyReader) Close() error {
	r.once.Do(r.body.readers.Done)
	return nil
}

// bodyRounder gives a request with a bodyReader its Content-Length (without
// which net/http sends chunks, slow in Elasticsearch) and its GetBody.
type bodyRounder struct{ next http.RoundTripper }

func (t bodyRounder) RoundTrip(req *http.Request) (*http.Response, error) {
	if r, ok := req.Body.(*bodyReader); ok {
		req.ContentLength = int64(r.Len())
		req.GetBody = func() (io.ReadCloser, error) { return r.body.open(), nil }
	}
	return t.next.RoundTrip(req)
}
