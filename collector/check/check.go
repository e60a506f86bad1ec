// Package check says what is checked, for whom, and what came of it: the shapes
// that the collector's parts hand to each other.
//
//	targets, labels, files --declare--> Definition --schedule--> checks.Result
//	   --state--> Event --> metrics, page, alerts, documents, Nagios
//
// It does nothing itself.
package check

import (
	"time"

	"mesoscope/checks"
	"mesoscope/collector/state"
)

// A Definition is one check of one instance of an app, of a host, or of a
// static target. What it says but Target and Task stays the same as long as ID
// does, so that alerts and series can be made of it.
type Definition struct {
	ID        string // of this check of this instance
	Name      string // "health": what the owner calls it
	Kind      string // "http": a name of checks.Kinds
	Cluster   string
	App       string // "" for those of hosts and static ones without an app
	Framework string
	Host      string
	Slot      int // tells the instances of an app on one host apart
	Task      string
	Container string
	Target    string // what is asked, for people; holds no secret
	Owner     Owner
	Interval  time.Duration
	Timeout   time.Duration
	Rule      state.Rule
	// Guessed: only the image's name suggests this check. It cannot alarm before
	// it was OK once, and never pages by default.
	Guessed bool
	From    string // where it was declared, for people: "label mesoscope.check.health of /prod/web"
}

// An Owner is who is told, and what helps him.
type Owner struct {
	Team         string
	Runbook      string // a URL
	Tip          string
	Page         string        // "true", "false" or a receiver's name; "" is the default
	AlertAfter   time.Duration // from the first bad result; 0 = at once
	RealertEvery time.Duration // 0 = the route's own
}

// An Event is how a check stands now. Outputs get one for each change of its
// state, and can ask for all of them.
type Event struct {
	Definition
	State  state.Check
	Result checks.Result // the last one; its zero value if there is none yet
	At     time.Time     // of the result or of the change
}

// An App is how many instances of it there are.
type App struct {
	ID        string
	Framework string
	Owner     Owner
	Expected  int
	Running   int
	Reachable int     // running ones of which no check is CRITICAL
	Minimum   float64 // the share of Expected that must be reachable, 0 to 1
}
