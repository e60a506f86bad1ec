package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mesoscope/search"
)

// maxAnswer bounds what a Client reads of one answer: 10,000 lines at the cap
// of 1 MiB would be more, and are asked for in smaller pages.
const maxAnswer = 1 << 30

// A Client asks the Handler of another process. It is a search.Store.
type Client struct {
	base  string
	token string
	http  *http.Client
	slow  *http.Client // waits for as long as the answer takes
}

var _ search.AuditStore = (*Client)(nil)

// NewClient asks at base, e.g. "http://127.0.0.1:9912". Name and password in
// base are sent as basic auth; token, unless empty, as bearer token.
func NewClient(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("store address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("store address %q: want http://host:port or https://host:port", u.Redacted())
	}
	u.RawQuery, u.Fragment = "", ""
	slow := http.DefaultTransport.(*http.Transport).Clone()
	t := slow.Clone()
	t.ResponseHeaderTimeout = time.Minute
	return &Client{base: strings.TrimSuffix(u.String(), "/"), token: token, http: &http.Client{Transport: t}, slow: &http.Client{Transport: slow}}, nil
}

// Probe says whether a Mesoscope answers at the client's address; an error
// means that nothing answers there at all.
func (c *Client) Probe(ctx context.Context) (bool, error) {
	var i info
	err := c.get(ctx, "", nil, &i)
	if e := (*Error)(nil); errors.As(err, &e) {
		return false, nil
	}
	return err == nil && i.Product == Product, err
}

// Search is search.Store's.
func (c *Client) Search(ctx context.Context, r search.Request) (search.Result, error) {
	var res result
	if err := c.get(ctx, "search", values(r), &res); err != nil {
		return search.Result{}, err
	}
	out := search.Result{Cursor: res.Cursor, More: res.More, Lines: make([]search.Line, len(res.Lines))}
	for i, l := range res.Lines {
		out.Lines[i] = search.Line{ID: l.ID, Time: l.Time, Doc: l.Doc, Cursor: l.Cursor}
	}
	return out, nil
}

// Histogram is search.Store's.
func (c *Client) Histogram(ctx context.Context, r search.Request, step time.Duration) ([]search.Bucket, error) {
	v := values(r)
	v.Set("step", step.String())
	var h histogram
	err := c.get(ctx, "histogram", v, &h)
	return h.Buckets, err
}

// Values is search.Store's.
func (c *Client) Values(ctx context.Context, r search.Request, field string, n int) ([]search.Value, error) {
	v := values(r)
	v.Set("field", field)
	v.Set("n", strconv.Itoa(n))
	var f fieldValues
	err := c.get(ctx, "values", v, &f)
	return f.Values, err
}

// Close is search.Store's.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	c.slow.CloseIdleConnections()
	return nil
}

// get asks one path and reads its JSON into v. The error is an *Error when the
// other end answered.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	u := c.base + "/api/v1/" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return fmt.Errorf("store address: %w", err)
	}
	return c.do(c.http, req, v)
}

// do sends one request and reads the JSON of the answer into v.
func (c *Client) do(with *http.Client, req *http.Request, v any) error {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := with.Do(req)
	if err != nil {
		var ue *url.Error // repeats the whole URL, which helps nobody
		if errors.As(err, &ue) && req.Context().Err() == nil {
			err = ue.Err
		}
		return err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxAnswer)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK {
		e := &Error{}
		if kind != "application/json" || json.NewDecoder(body).Decode(e) != nil || e.Message == "" {
			e.Message = "answered " + resp.Status
		}
		e.Status = resp.StatusCode
		return e
	}
	if kind != "application/json" {
		return &Error{Status: resp.StatusCode, Message: fmt.Sprintf("answered with %q instead of JSON; is this a Mesoscope?", kind)}
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
