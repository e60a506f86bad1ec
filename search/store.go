// Package search asks both stores the same questions: it parses the part of
// KQL that people type in Kibana once, and compiles it to Elasticsearch's query
// DSL and to SQL over the embedded store.
//
// The way of a question: Parse (kql.go) -> Request -> Store (elasticsearch.go
// or embedded.go) -> Lines, which `mesoscope logs` prints and the page shows.
package search

import (
	"context"
	"encoding/json"
	"time"
)

// A Store answers questions about stored lines.
type Store interface {
	// Search returns the lines that match, see Request for which and in what
	// order.
	Search(ctx context.Context, r Request) (Result, error)
	// Histogram counts the matching lines in equal steps of time from r.Since
	// (rounded down to a multiple of step) to r.Until. Steps without a line are
	// included with a count of 0.
	Histogram(ctx context.Context, r Request, step time.Duration) ([]Bucket, error)
	// Values returns the most frequent values of a field (a dotted ECS name
	// such as "service.name") among the matching lines, at most n, most first.
	Values(ctx context.Context, r Request, field string, n int) ([]Value, error)
	// Close frees what the Store holds.
	Close() error
}

// A Request selects lines.
type Request struct {
	// Query: the zero Query matches all. What Mesoscope writes about itself
	// (datasets mesoscope.*) is found only by a Query that names event.dataset,
	// data_stream.dataset or an _id.
	Query Query
	Since time.Time // inclusive; zero: from the beginning
	Until time.Time // exclusive; zero: no end
	Limit int       // at most so many lines; 0 means 100
	// Newest asks for the newest Limit lines instead of the oldest. The
	// Result is oldest first in both cases.
	Newest bool
	// After continues behind the last line of an earlier Result: only lines
	// that come behind Cursor in the order (@timestamp, arrival) are returned,
	// or, with Newest, only lines that come before it. Empty: no such limit.
	After Cursor
	// Arrival turns the meaning of After to the order in which lines reached
	// the store instead of their time, for following (`logs -f`, live tail): a
	// line that is late is shown late, but shown. An empty After then begins
	// at the present end of the store and returns no line but a Cursor.
	Arrival bool
}

// A Cursor is an opaque place in a store's order, safe in a URL.
type Cursor string

// A Result is a page of lines, oldest first.
type Result struct {
	Lines []Line
	// Cursor of the last line (of the first one when Newest): give it as
	// Request.After to go on.
	Cursor Cursor
	// More says that the limit cut the result.
	More bool
}

// A Line is one stored document.
type Line struct {
	ID     string          // the document's _id
	Time   time.Time       // @timestamp, nanoseconds
	Doc    json.RawMessage // the stored document, nested objects, nanoseconds in UTC; the same bytes-for-meaning from both stores
	Cursor Cursor
}

// A Bucket is one step of a histogram.
type Bucket struct {
	Time  time.Time `json:"time"`
	Count int64     `json:"count"`
}

// A Value is one value of a field and in how many lines it stands.
type Value struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}
