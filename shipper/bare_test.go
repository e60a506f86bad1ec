package shipper

import (
	"strings"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

// bareBatch is a batch of lines with the numbers 0 and on, and of receipts.
func bareBatch(settle func(*record.Batch), ids ...string) *record.Batch {
	b := batchOf(testStream(testIndex), settle, "", ids...)
	for i, id := range ids {
		if id != "receipt" {
			b.Items[i].Source = 10
		}
	}
	return b
}

// With ids: auto lines go without an _id, whatever the compression; what is no
// line keeps its own.
func TestBareIDs(t *testing.T) {
	for _, level := range []int{0, 1, 5} {
		bubble(t, func(t *testing.T) {
			fake := &fakees.Server{OnItem: func(_, _ string, doc []byte) fakees.ItemFault {
				if strings.Contains(string(doc), "line bad") {
					return fakees.ItemFault{Status: 400, Type: "document_parsing_exception"}
				}
				return fakees.ItemFault{}
			}}
			r := newRig(t, fake, func(c *config.Elasticsearch) { c.IDs, c.CompressionLevel = "auto", level })
			r.in <- bareBatch(r.settle, "a", "receipt", "bad", "b", "c")
			r.drain()
			var got []string
			for _, d := range fake.Docs(testIndex) {
				got = append(got, d.ID+"="+docOf(t, d.Source)["message"].(string))
			}
			if s := strings.Join(got, " "); s != "auto-0=line a receipt=line receipt auto-2=line b auto-3=line c" {
				t.Errorf("level %d: %s", level, s)
			}
			r.wantMarks("bad:3")
			r.wantSaid(0, "exactly-once is off")
			if l := r.letters(); len(l) != 1 || l[0].ID != "bad" {
				t.Errorf("letters %+v", l)
			}
		})
	}
}

// What may be stored already is found by its number.
func TestBareLinesAreSearched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{1: cutApplied})
		auto := func(c *config.Elasticsearch) { c.IDs = "auto" }
		r := newRig(t, s.Server, auto)
		r.in <- bareBatch(r.settle, "a", "b", "receipt")
		time.Sleep(time.Millisecond)
		s.Rollover(testIndex)
		r.drain()
		r.wantMarks("a:1 b:1")
		if n := len(s.Docs(testIndex)); n != 4 { // the receipt is there in both indices
			t.Errorf("%d documents", n)
		}
		again := func(want string, ids ...string) {
			t.Helper()
			r = newRig(t, s.Server, auto)
			b := bareBatch(r.settle, ids...)
			b.Since = record.Unknown
			r.in <- b
			r.drain()
			r.wantMarks(want)
		}
		again("a:1 b:1 c:1", "a", "b", "c", "d") // c has the receipt's number: the number is what counts
		s.Deny(fakees.CallRefresh, true)
		again("a:1", "a") // an older one is found all the same
		r.wantSaid(1, "index privilege maintenance")
		s.Deny(fakees.CallSearch, true)
		again("", "a")
		r.wantSaid(1, "may not look up")
		if n := len(s.Docs(testIndex)); n != 6 {
			t.Errorf("%d documents", n)
		}
	})
}
