package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"mesoscope/search"
)

const (
	// auditTimeout is for questions that count every line of a store.
	auditTimeout = 10 * time.Minute
	maxKeys      = 16 << 20 // bytes of the keys in one request
)

type generations struct {
	Generations []search.Generation `json:"generations"`
}

type tallyRequest struct {
	Keys []search.Key `json:"keys"`
}

type tallies struct {
	Tallies []search.Tally `json:"tallies"`
}

// auditor is the store, if it can be audited.
func (h *handler) auditor() (search.Auditor, error) {
	a, ok := h.store.(search.Auditor)
	if !ok {
		return nil, &Error{Status: http.StatusNotImplemented, Message: "this store cannot say which lines it holds"}
	}
	return a, nil
}

func (h *handler) generations(ctx context.Context, r *http.Request) (any, error) {
	q, err := question(r)
	if err != nil {
		return nil, err
	}
	a, err := h.auditor()
	if err != nil {
		return nil, err
	}
	list, err := a.Generations(ctx, q)
	if err != nil {
		return nil, err
	}
	return generations{list}, nil
}

func (h *handler) tally(ctx context.Context, r *http.Request) (any, error) {
	var asked tallyRequest
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxKeys)).Decode(&asked); err != nil {
		return nil, badRequest(fmt.Errorf(`the body is not {"keys":[{"container":…,"generation":…,"stream":…}]}: %w`, err))
	}
	a, err := h.auditor()
	if err != nil {
		return nil, err
	}
	list, err := a.Tally(ctx, asked.Keys)
	if err != nil {
		return nil, err
	}
	return tallies{list}, nil
}

// Generations is search.Auditor's.
func (c *Client) Generations(ctx context.Context, r search.Request) ([]search.Generation, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/generations?"+values(r).Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("store address: %w", err)
	}
	var g generations
	err = c.do(c.slow, req, &g)
	return g.Generations, err
}

// Tally is search.Auditor's.
func (c *Client) Tally(ctx context.Context, keys []search.Key) ([]search.Tally, error) {
	body, err := json.Marshal(tallyRequest{keys})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/v1/tally", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("store address: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	var t tallies
	if err := c.do(c.slow, req, &t); err != nil {
		return nil, err
	}
	if len(t.Tallies) != len(keys) {
		return nil, errors.New("the answer does not belong to the question")
	}
	return t.Tallies, nil
}
