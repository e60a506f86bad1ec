package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mesoscope/test/fakees"
)

// A realSink is a proxy before a real Elasticsearch: the weather is made here
// (that of items in proxy_items.go), rollovers and the full disk are the server's own.
type realSink struct {
	sky      *sky
	lines    string // the data stream
	to       *url.URL
	forward  *httputil.ReverseProxy
	client   *http.Client
	listener net.Listener
	server   *http.Server
	bulks    atomic.Int64
	blocked  atomic.Bool
}

func newRealSink(s *sky, address, lines string) (*realSink, error) {
	to, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("-elasticsearch: %w", err)
	}
	p := &realSink{sky: s, lines: lines, to: to, forward: httputil.NewSingleHostReverseProxy(to), client: &http.Client{Timeout: time.Minute}}
	p.forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(http.StatusBadGateway) // mostly the agent was killed; else it says so itself
	}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go p.server.Serve(p.listener) //nolint:errcheck // ends with Close
	return p, nil
}

func (p *realSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	index, bulk := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/_bulk")
	if !bulk {
		p.forward.ServeHTTP(w, r)
		return
	}
	p.bulks.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the agent has gone
	}
	if p.sky.rolls() {
		_, _ = p.ask(http.MethodPost, "/"+index+"/_rollover", "") // there may be nothing to roll over yet
	}
	text := inflated(r, body)
	f := p.sky.bulk(&fakees.Bulk{Index: index, Body: text})
	part, err := p.withhold(index, text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
	}
	answer := &kept{header: http.Header{}, status: http.StatusOK}
	if works := f.Status == 0 && f.Body == "" && !f.Cut && !f.Hang || f.Apply; works {
		// Once it is under way, the server's work does not end with the agent.
		whole := r.Clone(context.WithoutCancel(r.Context()))
		whole.Body, whole.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if part == nil {
			p.forward.ServeHTTP(answer, whole)
		} else if err := part.send(p.forward, answer, whole); err != nil {
			panic(http.ErrAbortHandler) // the server was stopped
		}
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Body != "":
		_, _ = io.WriteString(w, f.Body)
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.Status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"type": f.Type, "reason": f.Reason}, "status": f.Status})
	default:
		for name, values := range answer.header {
			w.Header()[name] = values
		}
		text := answer.body.Bytes()
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(answer.status)
		if f.Truncate > 0 {
			_, _ = w.Write(text[:min(f.Truncate, len(text))])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(text)
	}
}

// inflated is the body of a bulk as it is meant.
func inflated(r *http.Request, body []byte) []byte {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return body
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return body
	}
	return text
}

// kept is an answer that may not be passed on as it is.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

var errNotThere = errors.New("not there")

// ask asks the server itself.
func (p *realSink) ask(method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, strings.TrimSuffix(p.to.String(), "/")+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s %s: %w", method, path, errNotThere)
	case res.StatusCode >= 300:
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, text)
	}
	return text, nil
}

func (p *realSink) URL() string { return "http://" + p.listener.Addr().String() }

func (p *realSink) Rollover() error {
	_, err := p.ask(http.MethodPost, "/"+p.lines+"/_rollover", "")
	if errors.Is(err, errNotThere) {
		return errNotNow // no line has been stored yet
	}
	return err
}

// Block sets the block that a full disk sets.
func (p *realSink) Block(yes bool) {
	if p.blocked.Swap(yes) == yes {
		return
	}
	value := "null"
	if yes {
		value = "true"
	}
	_, _ = p.ask(http.MethodPut, "/"+p.lines+"/_settings", `{"index.blocks.read_only_allow_delete":`+value+`}`) // there may be nothing yet
}

// Docs reads a data stream back, all its backing indices.
func (p *realSink) Docs(index string) ([]fakees.Doc, error) {
	if _, err := p.ask(http.MethodPost, "/"+index+"/_refresh", ""); err != nil {
		if errors.Is(err, errNotThere) {
			return nil, nil
		}
		return nil, err
	}
	var docs []fakees.Doc
	path, body := "/"+index+"/_search?scroll=1m", `{"size":2000,"sort":["_doc"]}`
	for {
		text, err := p.ask(http.MethodPost, path, body)
		if err != nil {
			return nil, err
		}
		var page struct {
			ScrollID string `json:"_scroll_id"`
			Hits     struct {
				Hits []struct {
					Index  string          `json:"_index"`
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("read %s back: %w", index, err)
		}
		if len(page.Hits.Hits) == 0 {
			_, err := p.ask(http.MethodDelete, "/_search/scroll", `{"scroll_id":"`+page.ScrollID+`"}`)
			return docs, err
		}
		for _, hit := range page.Hits.Hits {
			docs = append(docs, fakees.Doc{ID: hit.ID, Index: hit.Index, Source: hit.Source})
		}
		path, body = "/_search/scroll", `{"scroll":"1m","scroll_id":"`+page.ScrollID+`"}`
	}
}

// Arrived is unknown: what is stored can be read only after a refresh.
func (p *realSink) Arrived() int { return -1 }

func (p *realSink) Bulks() int64 { return p.bulks.Load() }

func (p *realSink) Close() error {
	p.Block(false)
	return p.server.Close()
}
