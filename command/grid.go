package command

import (
	"strings"
	"unicode/utf8"
)

// A grid is a table whose cells may have colours, which take no room.
type grid struct {
	right []bool // columns whose cells end below each other, as numbers do
	rows  [][]gridCell
}

type gridCell struct{ text, color string } // color: an escape sequence, or ""

func (g *grid) add(cells ...gridCell) { g.rows = append(g.rows, cells) }

func (g *grid) write(b *strings.Builder) {
	var widths []int
	for _, row := range g.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range g.rows {
		for i, c := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if g.right[i] {
				b.WriteString(pad)
			}
			if c.color != "" {
				b.WriteString(c.color)
			}
			b.WriteString(c.text)
			if c.color != "" {
				b.WriteString(reset)
			}
			if !g.right[i] && i < len(row)-1 {
				b.WriteString(pad)
			}
		}
		b.WriteByte('\n')
	}
}
