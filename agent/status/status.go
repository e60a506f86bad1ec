// Package status holds the JSON shapes in which an agent or a standalone says
// how it is: /api/v1/status and /api/v1/sources. The process fills them, the
// command `mesoscope status` and the page read them.
//
// It has no functions that do anything, so that both sides may import it.
package status

import "time"

// Paths at which the shapes are served.
const (
	StatusPath  = "/api/v1/status"
	SourcesPath = "/api/v1/sources"
	ExplainPath = "/api/v1/explain" // ?container=NAME; a list of Explained
)

// States of an Output.
const (
	OutputOK     = "ok"     // the last bulk was answered
	OutputPaused = "paused" // no line gets through; Output.PausedReason says why
)

// A Status is how the whole process is.
type Status struct {
	Version       string   `json:"version"` // "0.1.0"
	Node          string   `json:"node"`    // host.name
	UptimeSeconds float64  `json:"uptime_seconds"`
	Output        Output   `json:"output"`
	Hold          Hold     `json:"hold"`
	Counts        Counts   `json:"counts"`
	Problems      []string `json:"problems"` // whole sentences, the worst first; empty: all is well
}

// An Output is where lines go.
type Output struct {
	Kind          string        `json:"kind"` // "elasticsearch", "embedded"
	State         string        `json:"state"`
	PausedReason  string        `json:"paused_reason,omitempty"`
	Since         time.Time     `json:"since,omitzero"` // when State began
	InFlightBytes int64         `json:"in_flight_bytes"`
	LastErrors    []OutputError `json:"last_errors"` // the latest first
	// Answers are how the store has answered to lines since the start, each kind
	// that has occurred.
	Answers     []Answer     `json:"answers,omitempty"`
	DeadLetters *DeadLetters `json:"dead_letters,omitempty"` // nil: there are none
}

// An Answer is one kind of answer to lines. A line that is sent again is counted
// each time.
type Answer struct {
	Answer  string    `json:"answer"`  // "201", "429, 5xx"
	Outcome string    `json:"outcome"` // what becomes of the lines: "sent again"
	Lines   int64     `json:"lines"`
	Last    time.Time `json:"last"`
	Example string    `json:"example,omitempty"` // a late case
}

// DeadLetters are the documents that could not be stored and were not replayed.
type DeadLetters struct {
	Dir     string    `json:"dir"`
	Count   int       `json:"count"`
	Bytes   int64     `json:"bytes"`  // of the files
	Oldest  time.Time `json:"oldest"` // when it was given up
	Newest  time.Time `json:"newest"`
	Index   string    `json:"index"`   // of the newest
	Reason  string    `json:"reason"`  // of the newest
	Command string    `json:"command"` // shows them
}

// An OutputError is one kind of refusal or failure.
type OutputError struct {
	Reason  string    `json:"reason"` // "mapper_parsing_exception"
	Count   int64     `json:"count"`
	Last    time.Time `json:"last"`
	Example string    `json:"example"`
	Answer  bool      `json:"answer,omitempty"` // counted in Output.Answers, too
}

// A Hold is the folder of hard links.
type Hold struct {
	Dir     string `json:"dir"`
	Bytes   int64  `json:"bytes"`             // of files that exist only here
	State   string `json:"state"`             // "ok", "off", "over budget"
	Problem string `json:"problem,omitempty"` // why it cannot hold, and what a restart would lose
	// FullSeconds is in how many seconds FullLimit is reached at the rate of the
	// last minutes, 0: it is; absent while what is held does not grow.
	FullSeconds *float64 `json:"full_seconds,omitempty"`
	FullLimit   string   `json:"full_limit,omitempty"` // "hold.budget", "hold.min_free"
	// GivenUpBytes is what had to be given up since the start, because a limit
	// was reached.
	GivenUpBytes int64 `json:"given_up_bytes,omitempty"`
	// RestartLosesFiles and -Bytes are what only the open files of this process
	// keep: a restart now would lose it.
	RestartLosesFiles int   `json:"restart_loses_files,omitempty"`
	RestartLosesBytes int64 `json:"restart_loses_bytes,omitempty"`
}

// Counts are totals since the start of the process.
type Counts struct {
	LinesRead      int64            `json:"lines_read"`
	LinesDelivered int64            `json:"lines_delivered"`
	LinesDuplicate int64            `json:"lines_duplicate"` // were already in the store
	Dropped        map[string]int64 `json:"dropped"`         // by reason
	Refused        map[string]int64 `json:"refused"`         // by the store, by reason
}

// A Source is one stream of one container.
type Source struct {
	ID           string  `json:"id"`        // "docker/4f66…/stdout"
	Container    string  `json:"container"` // its name
	Service      string  `json:"service"`   // service.name
	Stream       string  `json:"stream"`    // "stdout", "stderr"
	Driver       string  `json:"driver"`    // "json-file"
	Path         string  `json:"path"`      // the file that is being read
	Size         int64   `json:"size"`      // of that file, in bytes
	Offset       int64   `json:"offset"`    // read so far
	Settled      int64   `json:"settled"`   // safely stored so far
	LagBytes     int64   `json:"lag_bytes"` // not yet stored, over all files of the stream
	LagSeconds   float64 `json:"lag_seconds"`
	State        string  `json:"state"`         // "following", "done", "not readable", …
	Guarantee    string  `json:"guarantee"`     // "exactly-once", "at-least-once (docker api)"
	MetadataFrom string  `json:"metadata_from"` // "docker api", "config.v2.json"
	LastError    string  `json:"last_error,omitempty"`
	// Blocked says what the source waits for, and since when; "": for nothing.
	Blocked string `json:"blocked,omitempty"`
}

// An Explained is what is known of one container.
type Explained struct {
	ID     string   `json:"id"`
	Name   string   `json:"name,omitempty"`
	State  string   `json:"state"`           // "followed", "gone", "excluded", "not readable"
	Fields []Field  `json:"fields"`          // that all of its lines carry, by name
	Notes  []string `json:"notes,omitempty"` // whole sentences
}

// A Field is one field of a document, and where its value is from.
type Field struct {
	Field string `json:"field"`
	Value string `json:"value"`
	From  string `json:"from"`
}
