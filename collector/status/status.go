// Package status holds the JSON shapes in which a collector says how its checks
// are. The process fills them, commands and the page read them.
package status

import (
	"time"

	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/target"
)

// Paths at which the shapes are served.
const (
	ChecksPath    = "/api/v1/checks"         // a list of Check, the worst first; ?app=PATTERN &status=CRITICAL
	StatusPath    = "/api/v1/status"         // Status
	CollectorPath = "/api/v1/collector"      // Status, beside the agent's in a process that is both
	ExplainPath   = "/api/v1/explain/checks" // ?app=PATTERN; a list of Explained
	OverlayPath   = "/api/v1/overlay/apps/"  // + the escaped id of an app; an Override
	Kind          = "collector"              // of Status
)

// A Check is how one check stands.
type Check struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Kind       string       `json:"kind"`
	App        string       `json:"app,omitempty"`
	Framework  string       `json:"framework,omitempty"`
	Host       string       `json:"host,omitempty"`
	Slot       int          `json:"slot"`
	Task       string       `json:"task,omitempty"`
	Target     string       `json:"target"`
	Team       string       `json:"team,omitempty"`
	Status     state.Status `json:"status"`
	Previous   state.Status `json:"previous_status"`
	Since      time.Time    `json:"since"`
	FirstBad   time.Time    `json:"first_bad,omitzero"`
	LastGood   time.Time    `json:"last_good,omitzero"`
	Last       time.Time    `json:"last,omitzero"` // the last result
	Result     string       `json:"result"`        // of the last run alone: OK, WARNING, …; "" if there is none yet
	Text       string       `json:"text"`
	DurationMS float64      `json:"duration_ms"`
	Flapping   bool         `json:"flapping,omitempty"`
	Stale      bool         `json:"stale,omitempty"`
	Guessed    bool         `json:"guessed,omitempty"`
	From       string       `json:"from"` // where it was declared
}

// A Status is how the collector is.
type Status struct {
	Kind          string          `json:"kind"` // "collector"
	Version       string          `json:"version"`
	Node          string          `json:"node"`
	Cluster       string          `json:"cluster"`
	UptimeSeconds float64         `json:"uptime_seconds"`
	Checks        int             `json:"checks"`
	By            map[string]int  `json:"by_status"` // OK, WARNING, …
	Sources       []target.Status `json:"sources"`
	Apps          []App           `json:"apps"`     // those of which an instance is missing or cannot be reached
	Problems      []string        `json:"problems"` // whole sentences: of the collector itself
	Findings      []Finding       `json:"findings"` // what is wrong with what was declared
}

// An App is how many instances of it there are.
type App struct {
	ID        string `json:"id"`
	Framework string `json:"framework,omitempty"`
	Expected  int    `json:"expected"`
	Running   int    `json:"running"`
	Reachable int    `json:"reachable"`
}

// A Finding is a check that is not run because something is wrong with it.
type Finding struct {
	App       string `json:"app,omitempty"`
	Host      string `json:"host,omitempty"`
	Check     string `json:"check,omitempty"`
	Text      string `json:"text"`
	Instances int    `json:"instances"` // that it is about
}

// An Explained is a check of an app with the origin of each of its values.
// Instances of an app that differ only in their address share one.
type Explained struct {
	App       string          `json:"app,omitempty"`
	Host      string          `json:"host,omitempty"` // of checks of hosts
	Check     string          `json:"check"`
	Status    string          `json:"status"` // the worst of its instances; "off"; "refused"
	Problem   string          `json:"problem,omitempty"`
	Instances int             `json:"instances"`
	Values    []declare.Value `json:"values"` // of the first instance
}

// An Override is what the overlay's API holds for an app.
type Override struct {
	App     string    `json:"app"`
	Expires time.Time `json:"expires,omitzero"`
	Set     time.Time `json:"set"`
	Entry   any       `json:"entry"` // as it was put
}
