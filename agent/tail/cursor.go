package tail

import (
	"encoding/json"
	"fmt"
)

// A cursor is a Position with the identity of its generation, for a sink that
// keeps it together with the lines. Since it may be ahead of the checkpoint, it
// brings along what the books would miss of the files in between.
type cursor struct {
	Position
	Ino    uint64    `json:"ino"`
	Head   int64     `json:"head"`
	Run    int       `json:"run,omitempty"`   // an inode may come back within a huge line
	First  int64     `json:"first,omitempty"` // generation.First of the stream
	Before []endings `json:"before,omitempty"`
}

// endings is how a file ended that was read before the one of the cursor.
type endings struct {
	Ino   uint64   `json:"ino"`
	Head  int64    `json:"head"`
	Run   int      `json:"run,omitempty"`
	First int64    `json:"first,omitempty"`
	End   Position `json:"end"`
}

func (s *source) appendCursor(dst []byte, k int, p Position) []byte {
	c := cursor{Position: p}
	for _, g := range s.gens {
		switch {
		case g.N == p.Generation:
			c.Ino, c.Head, c.Run, c.First = g.Ino, g.Head, g.Run, g.First[k]
		case g.N < p.Generation && g.N >= s.durable.Generation && g.End[k].Generation == g.N:
			c.Before = append(c.Before, endings{Ino: g.Ino, Head: g.Head, Run: g.Run, First: g.First[k], End: g.End[k]})
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("BUG: tail: cursor: %v", err)) // numbers only
	}
	return append(dst, text...)
}

// fromCursor is the place of stream k that a cursor names. false: none that is
// known.
func (s *source) fromCursor(text []byte, k int) (Position, bool) {
	var c cursor
	if err := json.Unmarshal(text, &c); err != nil {
		return Position{}, false
	}
	is := func(ino uint64, head int64, run int) *generation {
		return s.find(func(g *generation) bool { return g.Ino == ino && g.Head == head && g.Run == run })
	}
	g := is(c.Ino, c.Head, c.Run)
	if g == nil {
		return Position{}, false
	}
	for _, b := range c.Before {
		if old := is(b.Ino, b.Head, b.Run); old != nil && old.End[k].Generation == 0 {
			old.First[k], old.End[k] = b.First, b.End
			old.End[k].Generation = old.N
		}
	}
	if g.First[k] == 0 {
		g.First[k] = c.First
	}
	c.Position.Generation = g.N
	return c.Position, true
}
