package shipper

import (
	"fmt"
	"time"
)

// A tally counts the answers to lines by what is done about them, and keeps the
// latest case of each for `mesoscope status`. The assembler owns it.
type tally [answerKinds]tallied

type tallied struct {
	lines   int64
	last    time.Time
	example string
	sampled time.Time // when example was taken
}

// An answerKind is a row of the table of answers.
type answerKind int

const (
	answerStored answerKind = iota
	answerDuplicate
	answerQuarantined
	answerRerouted
	answerOtherID
	answerNoop
	answerBusy
	answerReduced
	answerCut
	answerBlocked
	answerDenied
	answerNone
	answerDead
	answerKinds
)

// answerTexts are the rows' answer and outcome for people.
var answerTexts = [answerKinds][2]string{
	answerStored:      {"201", "stored"},
	answerDuplicate:   {"409", "stored already by an earlier attempt"},
	answerQuarantined: {"201 failure_store", "put into the failure store of the data stream"},
	answerRerouted:    {"201, other _index", "stored in another data stream by the server"},
	answerOtherID:     {"201, other _id", "bulks with lines stored under another _id: exactly-once is off"},
	answerNoop:        {"200 noop", "dropped by the server's own ingest pipeline"},
	answerBusy:        {"429, 5xx", "sent again"},
	answerReduced:     {"400", "sent once more in a reduced form"},
	answerCut:         {"413", "too large: bulks halved, lines cut"},
	answerBlocked:     {"index block", "waits while the output is paused"},
	answerDenied:      {"401, 403, 404", "waits while the output is paused"},
	answerNone:        {"none", "looked up or sent again"},
	answerDead:        {"refused for good", "in the dead-letter file"},
}

// sampleEvery is how old an example gets before a later case replaces it.
const sampleEvery = time.Second

// add counts n lines. example is called for the text of the latest case.
func (t *tally) add(k answerKind, n int, now time.Time, example func() string) {
	if n == 0 {
		return
	}
	row := &t[k]
	row.lines += int64(n)
	row.last = now
	if example != nil && now.Sub(row.sampled) >= sampleEvery {
		row.example, row.sampled = cutString(example(), exampleLength), now
	}
}

// item counts one line that was answered so.
func (t *tally) item(k answerKind, o oddItem, now time.Time) {
	t.add(k, 1, now, o.text)
}

// text is the answer to an item for people.
func (o oddItem) text() string { return fmt.Sprintf("status %d %s: %s", o.status, o.typ, o.reason) }

// An Answers row says how often lines were answered in one way, and what is done
// about that. Lines that are sent again are counted each time.
type Answers struct {
	Answer  string    `json:"answer"`            // "201", "429, 5xx", …
	Outcome string    `json:"outcome"`           // what becomes of the lines
	Lines   int64     `json:"lines"`             //
	Last    time.Time `json:"last"`              //
	Example string    `json:"example,omitempty"` // a late case
}

// list are the rows that have occurred.
func (t *tally) list() []Answers {
	var out []Answers
	for k, row := range t {
		if row.lines > 0 {
			out = append(out, Answers{answerTexts[k][0], answerTexts[k][1], row.lines, row.last, row.example})
		}
	}
	return out
}
