package tail

import (
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// TestWait: a log that waits is held and not read; then all of it is read.
func TestWait(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 300, MaxFile: 1})
	target := w.targets[c.id]
	target.Wait = true
	w.targets[c.id] = target
	w.start()
	c.line(0, "one")
	w.until("held", func() bool { return w.source(c).Held })
	time.Sleep(100 * time.Millisecond) // gives a wrong read the time to happen; the test cannot pass by it
	if s := w.source(c); s.Offset != 0 {
		t.Errorf("it was read: %+v", s)
	}
	target.Wait = false
	w.targets[c.id] = target
	w.set()
	w.expect(c, 0, "one")
	// What has begun waits no more.
	target.Wait = true
	w.targets[c.id] = target
	w.set()
	c.line(0, "two")
	w.expect(c, 0, "one", "two")
	w.kill()
}

// TestNeverWanted: a log that waited and then is not wanted is given up unread.
func TestNeverWanted(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	target := w.targets[c.id]
	target.Wait = true
	w.targets[c.id] = target
	w.start()
	c.line(0, "secret")
	w.until("held", func() bool { return w.source(c).Held })
	target.Gone, target.Running = true, false
	w.targets[c.id] = target
	w.set()
	w.until("its end", func() bool { return len(w.agent.f.Sources()) == 0 })
	w.expect(c, 0)
	w.kill()
}
