package shipper

import (
	"encoding/json"
	"testing"
)

// TestReducedNotes: a receipt that is refused keeps what it says, or nobody could
// tell it from a line.
func TestReducedNotes(t *testing.T) {
	var members map[string]json.RawMessage
	doc := `{"@timestamp":"2026-11-24T10:00:00Z","message":"receipt","event":{"kind":"state","id":"x"},"mesoscope":{"receipt":{"final":true}},"app":{"a":1}}`
	if err := json.Unmarshal([]byte(doc), &members); err != nil {
		t.Fatal(err)
	}
	out := reduceMembers(members, "for the test")
	if string(out["mesoscope"]) != `{"receipt":{"final":true}}` || string(out["event"]) != `{"id":"x","kind":"state"}` || out["app"] != nil {
		t.Errorf("reduced to %s", out)
	}
}
