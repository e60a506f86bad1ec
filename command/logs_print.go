package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"mesoscope/search"
)

// errWrite marks that the reader of the output has gone or its disk is full.
var errWrite = errors.New("write")

// A printer writes lines as text in columns or as the stored JSON.
type printer struct {
	out   io.Writer
	json  bool
	utc   bool
	color bool
	host  int // width of the column; it grows, so that what follows stays in line
	name  int
	buf   bytes.Buffer
}

const (
	widestColumn = 48
	textTime     = "2006-01-02T15:04:05.000Z07:00" // can be given to --since
	reset        = "\x1b[0m"
	dim          = "\x1b[2m"
	blue         = "\x1b[34m"
)

var levelColors = map[string]string{
	"fatal": "\x1b[1;31m", "error": "\x1b[31m", "warn": "\x1b[33m", "debug": dim, "trace": dim,
}

// gapKind is event.kind of a document that stands in the place of lost lines. It
// has no stream: nobody knows whose they were.
const gapKind = "pipeline_error"

// document is what a text line shows of a stored one.
type document struct {
	Message string `json:"message"`
	Stream  string `json:"stream"`
	Event   struct {
		Kind string `json:"kind"`
	} `json:"event"`
	Log struct {
		Level string `json:"level"`
	} `json:"log"`
	Host struct {
		Name string `json:"name"`
	} `json:"host"`
	Service struct {
		Name string `json:"name"`
	} `json:"service"`
	Container struct {
		Name string `json:"name"`
	} `json:"container"`
}

// name is service/container, once if both say the same.
func (d document) name() string {
	switch {
	case d.Service.Name == "" || d.Service.Name == d.Container.Name:
		return d.Container.Name
	case d.Container.Name == "":
		return d.Service.Name
	}
	return d.Service.Name + "/" + shortName(d.Container.Name)
}

// shortName keeps of a container's name what tells it from its siblings: Mesos
// appends 36 digits to "mesos-", which would push the message off the screen.
// The whole name is in --output json.
func shortName(name string) string {
	const enough = 16
	if utf8.RuneCountInString(name) <= enough+4 {
		return name
	}
	return string([]rune(name)[:enough]) + "…"
}

func (p *printer) print(lines []search.Line) error {
	if len(lines) == 0 {
		return nil
	}
	p.buf.Reset()
	if p.json {
		for _, l := range lines {
			p.buf.Write(l.Doc)
			p.buf.WriteByte('\n')
		}
	} else {
		p.text(lines)
	}
	if _, err := p.out.Write(p.buf.Bytes()); err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	return nil
}

func (p *printer) text(lines []search.Line) {
	type shown struct {
		document
		host, name string
	}
	list := make([]shown, len(lines))
	for i, l := range lines {
		s := &list[i]
		if err := json.Unmarshal(l.Doc, &s.document); err != nil {
			// Not as the agent writes it: shown whole rather than not at all.
			s.document = document{Message: string(l.Doc)}
		}
		s.host, s.name = clean(s.Host.Name), clean(s.document.name())
		p.host = min(widestColumn, max(p.host, utf8.RuneCountInString(s.host)))
		p.name = min(widestColumn, max(p.name, utf8.RuneCountInString(s.name)))
	}
	for i, l := range lines {
		s := list[i]
		t := l.Time.Local()
		if p.utc {
			t = l.Time.UTC()
		}
		p.paint(dim, t.Format(textTime))
		p.buf.WriteString("  ")
		p.column(dim, s.host, p.host)
		p.column(blue, s.name, p.name)
		if s.Event.Kind == gapKind {
			p.column(levelColors["fatal"], "GAP", len("stdout"))
			p.message(levelColors["fatal"], s.Message)
		} else {
			p.column(dim, clean(s.Stream), len("stdout"))
			p.message(levelColors[s.Log.Level], s.Message)
		}
		p.buf.WriteByte('\n')
	}
}

func (p *printer) column(color, text string, width int) {
	p.paint(color, text)
	p.buf.WriteString(strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))+2))
}

func (p *printer) paint(color, text string) {
	if !p.color || color == "" {
		p.buf.WriteString(text)
		return
	}
	p.buf.WriteString(color)
	p.buf.WriteString(text)
	p.buf.WriteString(reset)
}

// message puts what follows a line feed on a line of its own, set in, so that
// nothing in a message can pass for another line of the log.
func (p *printer) message(color, text string) {
	for i, part := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i > 0 {
			p.buf.WriteString("\n    ")
		}
		p.paint(color, escapeControls(part, true))
	}
}

// clean is for the columns, where a tab would break the alignment.
func clean(s string) string { return escapeControls(s, false) }

// escapeControls makes visible what could act on a terminal or hide in it:
// C0 and C1 controls (escape sequences), marks that turn the direction of text,
// and characters without a picture. Joiners stay: scripts and emoji need them.
func escapeControls(s string, tabs bool) string {
	harmless := func(r rune) bool {
		return unicode.IsGraphic(r) && r != '\u2028' && r != '\u2029' || tabs && r == '\t' || r == '\u200c' || r == '\u200d'
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case harmless(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}
