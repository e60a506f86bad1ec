package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"mesoscope/test/fakees"
)

// A withheld bulk is one of which the weather refuses some items: those are not
// passed on, and the real answer to the others is given as if all of them had
// been there.
type withheld struct {
	rest   []byte // the bulk without them
	ids    []string
	faults []fakees.ItemFault // by item; the zero one is passed on
}

// withhold asks the weather about each item of a bulk. nil: all are passed on.
func (p *realSink) withhold(index string, body []byte) (*withheld, error) {
	w := &withheld{}
	any := false
	var suspects []int // that a mapping would refuse, if they were not there already
	var entries [][]byte
	for text := body; len(text) > 0; {
		n := bytes.IndexByte(text, '\n')
		m := bytes.IndexByte(text[n+1:], '\n')
		if n < 0 || m < 0 {
			return nil, fmt.Errorf("a bulk that does not end with a line feed")
		}
		entry, doc := text[:n+m+2], text[n+1:n+1+m]
		text = text[n+m+2:]
		var action struct {
			Create struct {
				ID string `json:"_id"`
			} `json:"create"`
		}
		if err := json.Unmarshal(entry[:n], &action); err != nil {
			return nil, fmt.Errorf("an action of a bulk: %w", err)
		}
		f := p.sky.item(index, action.Create.ID, doc)
		if f.Status == http.StatusBadRequest {
			suspects = append(suspects, len(w.faults))
		}
		any = any || f.Status != 0
		w.ids, w.faults, entries = append(w.ids, action.Create.ID), append(w.faults, f), append(entries, entry)
	}
	if !any {
		return nil, nil
	}
	if err := p.forgive(index, w, suspects); err != nil {
		return nil, err
	}
	for i, e := range entries {
		if w.faults[i].Status == 0 {
			w.rest = append(w.rest, e...)
		}
	}
	return w, nil
}

// forgive lets those pass that the index which is written to holds: the server
// compares ids before it looks into a document.
func (p *realSink) forgive(index string, w *withheld, suspects []int) error {
	if len(suspects) == 0 {
		return nil
	}
	var resolved struct {
		DataStreams []struct {
			Backing []string `json:"backing_indices"`
		} `json:"data_streams"`
	}
	text, err := p.ask(http.MethodGet, "/_resolve/index/"+index, "")
	if err != nil || json.Unmarshal(text, &resolved) != nil || len(resolved.DataStreams) == 0 {
		return nil // nothing is there yet
	}
	backing := resolved.DataStreams[0].Backing
	ids := make([]string, len(suspects))
	for i, n := range suspects {
		ids[i] = w.ids[n]
	}
	question, err := json.Marshal(map[string]any{"ids": ids})
	if err != nil {
		return err
	}
	if text, err = p.ask(http.MethodPost, "/"+backing[len(backing)-1]+"/_mget?_source=false", string(question)); err != nil {
		return err
	}
	var there struct {
		Docs []struct {
			Found bool `json:"found"`
		} `json:"docs"`
	}
	if err := json.Unmarshal(text, &there); err != nil || len(there.Docs) != len(ids) {
		return fmt.Errorf("%d answers for %d documents: %w", len(there.Docs), len(ids), err)
	}
	for i, d := range there.Docs {
		if d.Found {
			w.faults[suspects[i]] = fakees.ItemFault{}
		}
	}
	return nil
}

// send passes on what is left of the request and puts the whole answer together.
func (w *withheld) send(to http.Handler, answer *kept, r *http.Request) error {
	var real struct {
		Items []json.RawMessage `json:"items"`
	}
	if len(w.rest) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(w.rest)), int64(len(w.rest))
		r.Header.Del("Content-Encoding")
		r.Header.Set("Content-Length", strconv.Itoa(len(w.rest)))
		r.Header.Del("Accept-Encoding") // the transport's own, undone again
		to.ServeHTTP(answer, r)
		if answer.status != http.StatusOK {
			return nil
		}
		if err := json.Unmarshal(answer.body.Bytes(), &real); err != nil {
			return err
		}
	}
	items := make([]any, 0, len(w.faults))
	for i, f := range w.faults {
		switch {
		case f.Status != 0:
			items = append(items, map[string]any{"create": map[string]any{"_id": w.ids[i], "status": f.Status,
				"error": map[string]string{"type": f.Type, "reason": f.Reason}}})
		case len(real.Items) == 0:
			return fmt.Errorf("the server answered to fewer items than it was sent")
		default:
			items = append(items, real.Items[0])
			real.Items = real.Items[1:]
		}
	}
	answer.body.Reset()
	answer.header.Set("Content-Type", "application/json")
	answer.header.Set("X-Elastic-Product", "Elasticsearch")
	return json.NewEncoder(&answer.body).Encode(map[string]any{"errors": true, "items": items})
}
