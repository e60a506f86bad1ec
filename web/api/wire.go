package api

import (
	"encoding/json"
	"errors"
	"time"

	"mesoscope/search"
)

// Product is what GET /api/v1/ answers with, so that a client can tell a
// Mesoscope from an Elasticsearch before it asks for lines.
const Product = "mesoscope"

type info struct {
	Product string `json:"product"`
}

type line struct {
	ID     string          `json:"id"`
	Time   time.Time       `json:"time"`
	Cursor search.Cursor   `json:"cursor,omitempty"`
	Doc    json.RawMessage `json:"doc"`
}

type result struct {
	Lines  []line        `json:"lines"`
	Cursor search.Cursor `json:"cursor,omitempty"`
	More   bool          `json:"more"`
}

type histogram struct {
	Step    string          `json:"step"`
	Buckets []search.Bucket `json:"buckets"`
}

type fieldValues struct {
	Values []search.Value `json:"values"`
}

// An Error is the answer to a request that failed.
type Error struct {
	Status  int    `json:"-"` // HTTP status
	Message string `json:"error"`
	// Position is where in q the error lies, in bytes from 0; nil: the error
	// is not in q.
	Position *int `json:"position,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// queryError keeps the position that search.Parse names; the page shows the
// place, so the text need not.
func queryError(err error) error {
	e := &Error{Status: 400, Message: err.Error()}
	var at *search.ParseError
	if errors.As(err, &at) {
		e.Message, e.Position = at.Problem, &at.Offset
	}
	return e
}

func wireLines(lines []search.Line) []line {
	out := make([]line, len(lines))
	for i, l := range lines {
		out[i] = line{ID: l.ID, Time: l.Time.UTC(), Cursor: l.Cursor, Doc: l.Doc}
	}
	return out
}
