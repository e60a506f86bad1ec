package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"mesoscope/search"
)

// Options are the limits of a Handler. The zero value of each means the
// default that stands beside it.
type Options struct {
	Timeout  time.Duration // of one question to the store: 30 s
	MaxLines int           // in one answer: 10,000
	MaxSteps int           // of one histogram: 2,000
	MaxTails int           // live tails at the same time: 64
	Poll     time.Duration // how often a live tail looks for new lines: 250 ms
	Log      *slog.Logger  // nil: slog.Default()
}

const (
	maxQuery  = 16 << 10 // bytes of a URL query; more is no search that someone typed
	maxValues = 1000
)

type handler struct {
	store search.Store
	Options
	tails chan struct{} // one element for each live tail
}

// Handler answers the paths of the package comment from store. It does not
// close store. Live tails end with the request's context: give the
// http.Server a BaseContext that ends at shutdown.
func Handler(store search.Store, o Options) http.Handler {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxLines <= 0 {
		o.MaxLines = 10_000
	}
	if o.MaxSteps <= 0 {
		o.MaxSteps = 2_000
	}
	if o.MaxTails <= 0 {
		o.MaxTails = 64
	}
	if o.Poll <= 0 {
		o.Poll = 250 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &handler{store: store, Options: o, tails: make(chan struct{}, o.MaxTails)}
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/{$}", h.answer(h.Timeout, func(context.Context, *http.Request) (any, error) {
		return info{Product: Product}, nil
	}))
	mux.Handle("GET /api/v1/search", h.answer(h.Timeout, h.search))
	mux.Handle("GET /api/v1/histogram", h.answer(h.Timeout, h.histogram))
	mux.Handle("GET /api/v1/values", h.answer(h.Timeout, h.values))
	mux.Handle("GET /api/v1/generations", h.answer(auditTimeout, h.generations))
	mux.Handle("POST /api/v1/tally", h.answer(auditTimeout, h.tally))
	mux.HandleFunc("GET /api/v1/tail", h.tail)
	mux.Handle("/api/v1/", h.answer(h.Timeout, func(_ context.Context, r *http.Request) (any, error) {
		return nil, &Error{Status: http.StatusNotFound, Message: r.Method + " " + r.URL.Path + ": there is no such path; see GET /api/v1/search, histogram, values, tail"}
	}))
	return mux
}

// answer makes a JSON answer of what f returns within timeout.
func (h *handler) answer(timeout time.Duration, f func(context.Context, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > maxQuery {
			h.fail(w, r, &Error{Status: http.StatusRequestURITooLong, Message: fmt.Sprintf("the query of the URL is %d bytes long, more than %d", len(r.URL.RawQuery), maxQuery)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		v, err := f(ctx, r)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		header(w)
		// An error here is a client that has gone.
		_ = encoder(w).Encode(v)
	})
}

// encoder leaves <, > and & in documents as they were stored; the page shows
// text as text, and the content type keeps a browser from guessing.
func encoder(w http.ResponseWriter) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func header(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := h.explain(r.Context(), err)
	header(w)
	w.WriteHeader(e.Status)
	_ = encoder(w).Encode(e)
}

// explain says who is to blame: a question that the client can put better is a
// 4xx, a store that does not answer a 5xx, which is also logged.
func (h *handler) explain(ctx context.Context, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if ctx.Err() == nil { // else nobody waits for the answer
		h.Log.Warn("store did not answer", "error", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Status: http.StatusGatewayTimeout, Message: fmt.Sprintf("the store did not answer within %v; a shorter time range or a filter makes the search faster", h.Timeout)}
	}
	return &Error{Status: http.StatusBadGateway, Message: "the store did not answer: " + err.Error()}
}

// question is request with the errors marked as the client's.
func question(r *http.Request) (search.Request, error) {
	q, err := request(r.URL.Query())
	if err != nil {
		return q, badRequest(err)
	}
	return q, nil
}

func badRequest(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return &Error{Status: http.StatusBadRequest, Message: err.Error()}
}

func (h *handler) search(ctx context.Context, r *http.Request) (any, error) {
	q, err := question(r)
	if err != nil {
		return nil, err
	}
	q.Limit = min(q.Limit, h.MaxLines)
	res, err := h.store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	return result{Lines: wireLines(res.Lines), Cursor: res.Cursor, More: res.More}, nil
}

func (h *handler) histogram(ctx context.Context, r *http.Request) (any, error) {
	q, err := question(r)
	if err != nil {
		return nil, err
	}
	step, err := time.ParseDuration(r.URL.Query().Get("step"))
	switch {
	case err != nil || step <= 0:
		return nil, badRequest(fmt.Errorf("step=%q: want a duration such as 30s", r.URL.Query().Get("step")))
	case q.Since.IsZero() || q.Until.IsZero():
		return nil, badRequest(errors.New("a histogram needs since and until"))
	case q.Until.Sub(q.Since)/step > time.Duration(h.MaxSteps):
		return nil, badRequest(fmt.Errorf("step=%v gives more than %d steps between since and until; take a longer step", step, h.MaxSteps))
	}
	b, err := h.store.Histogram(ctx, q, step)
	if err != nil {
		return nil, err
	}
	if b == nil {
		b = []search.Bucket{}
	}
	return histogram{Step: step.String(), Buckets: b}, nil
}

func (h *handler) values(ctx context.Context, r *http.Request) (any, error) {
	q, err := question(r)
	if err != nil {
		return nil, err
	}
	field := r.URL.Query().Get("field")
	if field == "" {
		return nil, badRequest(errors.New("field is missing: want the name of a field, for example field=service.name"))
	}
	n, err := count(r.URL.Query(), "n", 10)
	if err != nil {
		return nil, badRequest(err)
	}
	v, err := h.store.Values(ctx, q, field, min(n, maxValues))
	if err != nil {
		return nil, err
	}
	if v == nil {
		v = []search.Value{}
	}
	return fieldValues{Values: v}, nil
}
