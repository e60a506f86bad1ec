package receipt

import (
	"encoding/json"
	"testing"
	"time"
)

var origin = Origin{Container: "4f66", Path: "/var/lib/docker/containers/4f66/4f66-json.log", Generation: "abc-1", Stream: "stdout"}

func TestIDs(t *testing.T) {
	other := origin
	other.Stream = "stderr"
	seen := map[string]string{}
	for name, id := range map[string]string{
		"revision 1": origin.ID(1), "revision 2": origin.ID(2), "stderr": other.ID(1),
		"gap at 0": origin.GapID(Gap{}), "gap at 1": origin.GapID(Gap{From: 1}), "gap of stderr": other.GapID(Gap{From: 1}),
		"another reason": origin.GapID(Gap{Reason: "removed"}),
	} {
		if was := seen[id]; was != "" {
			t.Errorf("%s and %s have the same id %s", was, name, id)
		}
		seen[id] = name
		if len(id) != 27 {
			t.Errorf("%s: id %q has %d characters, want 27", name, id, len(id))
		}
	}
	if same := origin; same.ID(1) != origin.ID(1) {
		t.Error("the id of one receipt is not the same twice")
	}
}

func TestAppend(t *testing.T) {
	r := Receipt{
		Revision: 2, Final: true, Lines: Lines{Total: 3, Delivered: 2, DeadLettered: 1}, Bytes: Bytes{Size: 300, Delivered: 200, DeadLettered: 100},
		Ranges: []Range{{2, 2, "dead_lettered"}},
	}
	at := time.Date(2026, 11, 24, 10, 0, 0, 5, time.FixedZone("", 3600))
	own, err := origin.Append([]byte("{"), r, at)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Time    string `json:"@timestamp"`
		Message string
		Log     struct {
			File struct{ Path, Generation string }
		}
		Event     struct{ Kind, Dataset, ID string }
		Mesoscope struct{ Receipt Receipt }
	}
	if err := json.Unmarshal(append(own, '}'), &doc); err != nil {
		t.Fatalf("%v: %s", err, own)
	}
	if doc.Time != "2026-11-24T09:00:00.000000005Z" || doc.Event.ID != origin.ID(2) || doc.Event.Dataset != Dataset || doc.Log.File.Generation != "abc-1" {
		t.Errorf("document is %s}", own)
	}
	if want := "receipt (final): 3 lines of stdout in " + origin.Path; doc.Message != want {
		t.Errorf("message is %q, want %q", doc.Message, want)
	}
	if got := doc.Mesoscope.Receipt; got.Lines != r.Lines || got.Bytes != r.Bytes || len(got.Ranges) != 1 {
		t.Errorf("read back as %+v, want %+v", got, r)
	}
	own, err = origin.AppendGap([]byte("{"), Gap{Reason: "removed", From: 7}, "mesos.container", at)
	if err != nil {
		t.Fatal(err)
	}
	var gap struct {
		Message   string
		Event     struct{ Kind, Dataset string }
		Mesoscope struct{ Gap Gap }
	}
	if err := json.Unmarshal(append(own, '}'), &gap); err != nil {
		t.Fatal(err)
	}
	if gap.Event.Kind != "pipeline_error" || gap.Mesoscope.Gap.From != 7 ||
		gap.Message != "lines are missing here: an unknown number of bytes of "+origin.Path+" from offset 7 were lost (removed)" {
		t.Errorf("gap document is %s}", own)
	}
}
