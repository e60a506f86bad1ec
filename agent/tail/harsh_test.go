package tail

import (
	"maps"
	"os"
	"slices"
)

// annoy truncates the file of c in place, all of which is stored, or lets c be
// gone for a while in which the others write.
func (c *container) annoy(others []*container) {
	w := c.w
	switch w.r.IntN(3) {
	case 0:
		w.until("all settled", func() bool {
			fi, err := os.Stat(c.writer.Path())
			return err == nil && (fi.Size() == 0 || w.agent.f.Settled(c.id, fi))
		})
		last := c.youngest()
		if err := os.Truncate(c.writer.Path(), 0); err != nil {
			w.t.Fatal(err)
		}
		c.write(3, true)
		w.until("the truncation noticed", func() bool { return c.youngest() > last })
	case 1:
		delete(w.targets, c.id)
		w.set()
		w.agent.f.Set(slices.Collect(maps.Values(w.targets)))
		for range w.r.IntN(3) {
			others[w.r.IntN(len(others))].write(1+w.r.IntN(30), true)
		}
		w.targets[c.id] = w.target(c.id)
		w.set()
	}
}

// youngest is the number of the last generation of c.
func (c *container) youngest() int64 {
	c.w.agent.f.mu.Lock()
	s := c.w.agent.f.sources[c.id]
	c.w.agent.f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - 1
}
