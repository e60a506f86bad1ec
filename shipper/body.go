package shipper

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// A bulkBody is the body of one request: pieces that lie in batches, or memory
// of its own for what was compressed or reduced, which is used again for the
// next bulk.
//
// net/http may still read a body after the answer has come (a server that
// answers 413 early), so batches and memory are free only when every reader was
// closed: Wait. Without that, the rest of a dead request could carry lines of
// the next one.
type bulkBody struct {
	pieces  [][]byte
	size    int // bytes of all pieces
	buf     bytes.Buffer
	readers sync.WaitGroup
	began   atomic.Bool // something of it was read, i.e. sent
}

func (b *bulkBody) reset() {
	clear(b.pieces)
	b.pieces, b.size = b.pieces[:0], 0
	b.began.Store(false)
	b.buf.Reset()
}

func (b *bulkBody) add(piece []byte) {
	b.pieces = append(b.pieces, piece)
	b.size += len(piece)
}

// open gives a new reader from the beginning. Also used as GetBody, when
// net/http finds that the server had closed an idle connection.
func (b *bulkBody) open() *bodyReader {
	b.readers.Add(1)
	return &bodyReader{rest: append(net.Buffers(nil), b.pieces...), body: b}
}

// Wait returns when no reader is open.
func (b *bulkBody) Wait() { b.readers.Wait() }

// A bodyReader reads the pieces once.
type bodyReader struct {
	rest net.Buffers
	body *bulkBody
	once sync.Once
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.body.began.Store(true)
	return r.rest.Read(p)
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
		req.ContentLength = int64(r.body.size)
		req.GetBody = func() (io.ReadCloser, error) { return r.body.open(), nil }
	}
	return t.next.RoundTrip(req)
}

// A bulkConn hands the pieces of a body to the kernel where they lie (writev),
// if they come to it unencrypted. net/http alone would copy them once more, in
// steps of 32 KiB, for a fifth of the CPU of an uncompressed bulk.
type bulkConn struct{ net.Conn }

// ReadFrom is how net/http writes what does not fit into its buffer: r is an
// io.LimitedReader with the Content-Length around the request's body.
func (c bulkConn) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if b, ok := l.R.(*bodyReader); ok {
			b.body.began.Store(true)
			n, err := b.rest.WriteTo(c.Conn)
			l.N -= n
			return n, err
		}
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// dialer makes bulkConns.
func dialer(d *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return bulkConn{c}, nil
	}
}
