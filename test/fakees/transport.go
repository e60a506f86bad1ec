package fakees

import (
	"bytes"
	"io"
	"net/http"
)

// Transport is a way to the server without a network: it can be used inside a
// testing/synctest bubble, where a socket would stop the clock.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	} else {
		req.Body = http.NoBody
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := &answerWriter{header: http.Header{}, status: http.StatusOK}
	aborted := w.serve(t.s, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if aborted && w.body.Len() == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	var body io.Reader = &w.body
	if aborted {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(body), Request: req, ContentLength: -1}, nil
}

// broken is the end of a connection that was cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answerWriter) serve(h http.Handler, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

func (w *answerWriter) Header() http.Header         { return w.header }
func (w *answerWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *answerWriter) WriteHeader(status int)      { w.status = status }
