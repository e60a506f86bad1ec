package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"mesoscope/internal/jsonfile"
)

// big writes entries until the live file has room for no more: the next entry
// makes the writer rotate.
func (c *container) big() {
	c.w.t.Helper()
	text := strings.Repeat("z", jsonfile.ChunkSize-100)
	for {
		if _, size := live(c.writer.Path()); size >= c.opt.MaxSize {
			return
		}
		c.line(0, fmt.Sprintf("%d %s", len(c.written[0]), text))
	}
}

// chain runs an agent until the live file of a log is held, rotates the log so
// often while none runs, and says what the next agent thinks of the chain.
func chain(t *testing.T, opt jsonfile.Options, rotations int, also func(c *container)) (s Source, why string) {
	t.Helper()
	w, c := one(t, opt)
	w.start()
	c.big()
	c.waitSeen()
	w.kill()
	for range rotations {
		c.line(0, "rotates")
		if rotations > 1 {
			c.big()
		}
	}
	if also != nil {
		also(c)
	}
	w.start()
	defer w.kill()
	c.waitSeen()
	src := w.agent.f.sources[c.id]
	src.mu.Lock()
	why = src.unproven
	src.mu.Unlock()
	if s = w.source(c); s.Unproven != (why != "") {
		t.Errorf("unproven %v, why %q", s.Unproven, why)
	}
	return s, why
}

// TestChainOfRealFiles: real files, unlinked, renamed and compressed as Docker
// does it. A chain with a hole is never taken for whole. A whole one is not
// always proven, because this machine may have been busy for a moment, but it
// is in most cases.
func TestChainOfRealFiles(t *testing.T) {
	probe, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	births := !birth(probe).IsZero()
	const size = 24e6
	for _, c := range []struct {
		name      string
		opt       jsonfile.Options
		rotations int
		also      func(*container)
		whole     bool
	}{
		{"max-file 1, one rotation", jsonfile.Options{MaxSize: size, MaxFile: 1}, 1, nil, true},
		{"max-file 1, two rotations", jsonfile.Options{MaxSize: size, MaxFile: 1}, 2, nil, false},
		{"max-file 2, two rotations", jsonfile.Options{MaxSize: size, MaxFile: 2}, 2, nil, true},
		{"max-file 2, three rotations", jsonfile.Options{MaxSize: size, MaxFile: 2}, 3, nil, false},
		{"max-file 2 compressed, three rotations", jsonfile.Options{MaxSize: size, MaxFile: 2, Compress: true}, 3, nil, false},
		{"small files, one rotation", jsonfile.Options{MaxSize: 1000, MaxFile: 1}, 1, nil, false},
		{"max-file 1, one rotation, and a chmod later", jsonfile.Options{MaxSize: size, MaxFile: 1}, 1, func(c *container) {
			held, err := os.Open(glob(c.w.hold + "/" + c.id + "/*_*")[0])
			must(c.w.t, err)
			defer held.Close()
			now, err := os.Open(c.writer.Path())
			must(c.w.t, err)
			defer now.Close()
			for changed := false; !changed; { // the clock of files ticks every few milliseconds
				must(c.w.t, held.Chmod(0o600))
				fi, err := held.Stat()
				must(c.w.t, err)
				changed = changeTime(fi).After(birth(now))
			}
		}, false},
		{"max-file 3, its oldest removed by hand", jsonfile.Options{MaxSize: size, MaxFile: 3}, 2, func(c *container) {
			must(c.w.t, os.Remove(c.writer.Path()+".2"))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			const tries = 5
			whole := false
			for i := 0; i < tries && !whole; i++ {
				s, why := chain(t, c.opt, c.rotations, c.also)
				whole = !s.Unproven
				t.Log(why)
				if whole && (!c.whole || !births) {
					t.Fatal("a chain that is not proven counts as whole")
				}
				if !c.whole && i > 0 {
					return
				}
			}
			if c.whole && births && !whole {
				t.Errorf("not proven whole in %d cases", tries)
			}
		})
	}
}
