package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"mesoscope/search"
)

const (
	tailLines     = 500              // in one event at most
	tailHeartbeat = 15 * time.Second // proxies close what is silent for longer
	tailWrite     = 30 * time.Second // a reader that takes nothing for so long has gone
	tailRetry     = 5 * time.Second  // between attempts while the store is away
)

// tail sends new lines in the order of their arrival, as server-sent events:
//
//	ready    {}                      begins, and again when the store is back
//	lines    [{id,time,cursor,doc}]  the event's id is the place to go on from
//	problem  {"error": "…"}          the store does not answer; it is asked again
//
// A reader that is slower than the lines is not fed from memory: the next
// question to the store waits until it has taken the last answer.
func (h *handler) tail(w http.ResponseWriter, r *http.Request) {
	q, err := question(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	select {
	case h.tails <- struct{}{}:
		defer func() { <-h.tails }()
	default:
		h.fail(w, r, &Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d live tails are running, more are not allowed; close one", h.MaxTails)})
		return
	}
	q.Arrival, q.Newest, q.Limit = true, false, tailLines
	q.Since, q.Until = time.Time{}, time.Time{}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		q.After = search.Cursor(last)
	}
	header(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	s := stream{w: w, c: http.NewResponseController(w)}
	if !s.send("retry: 2000\n\n") {
		return
	}
	h.follow(r.Context(), s, q)
}

func (h *handler) follow(ctx context.Context, s stream, q search.Request) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	ready, lastSent := false, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		res, err := h.ask(ctx, q)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !s.event("problem", q.After, h.explain(ctx, err)) {
				return
			}
			ready, lastSent = false, time.Now()
			wait.Reset(tailRetry)
			continue
		}
		if res.Cursor != "" {
			q.After = res.Cursor
		}
		if !ready {
			if !s.event("ready", q.After, struct{}{}) {
				return
			}
			ready, lastSent = true, time.Now()
		}
		switch {
		case len(res.Lines) > 0:
			if !s.event("lines", q.After, wireLines(res.Lines)) {
				return
			}
			lastSent = time.Now()
		case time.Since(lastSent) > tailHeartbeat:
			if !s.send(": still here\n\n") {
				return
			}
			lastSent = time.Now()
		}
		if res.More {
			wait.Reset(0)
		} else {
			wait.Reset(h.Poll)
		}
	}
}

func (h *handler) ask(ctx context.Context, q search.Request) (search.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	return h.store.Search(ctx, q)
}

// A stream is the writing end of one text/event-stream.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// event sends one event and says whether the reader is still there. v is one
// line of JSON, so it needs one data line only.
func (s stream) event(name string, id search.Cursor, v any) bool {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %s\ndata: ", name, id)
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return false
	}
	b.WriteByte('\n')
	return s.send(b.String())
}

func (s stream) send(text string) bool {
	// Not every writer can do this (a recorder in a test); it then has no
	// slow reader either.
	_ = s.c.SetWriteDeadline(time.Now().Add(tailWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.c.Flush() == nil
}
