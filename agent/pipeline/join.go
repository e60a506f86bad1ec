package pipeline

// MaxLine is the default for the longest message, in bytes as escaped in JSON.
const MaxLine = 1 << 20

// A Place is where a line begins.
type Place struct {
	Generation int64 // ordinal of the file among those of its container
	Offset     int64 // of the entry's first byte in the uncompressed file
	Sequence   int64 // number of the line in its file and stream, from 1
}

// A Line is one whole line of a container.
type Line struct {
	Place
	Text  []byte // as it stands between the quotes of a JSON string
	Time  []byte // RFC 3339, UTC
	Nanos int64
	Cut   bool // longer than the limit: Text is its beginning
	// Source is how many bytes of the log the entries take that it was made of.
	Source int64
}

// A Joiner puts the pieces of the lines of one stream together. json-file
// carries no mark for pieces: one that does not end in a newline goes on in
// the next entry of the same stream with the same time, maybe in another
// file. The zero value with a Max is ready.
type Joiner struct {
	Max int // longest message; 0 means MaxLine

	open   bool // a line has begun and not ended
	cut    bool // its beginning has been sent at Max; the rest is only passed over
	place  Place
	nanos  int64
	time   []byte
	text   []byte
	length int   // of the text, also of what was spilled
	source int64 // bytes of its entries
	spill  spill
	out    [2]Line
}

// A spill says what became of the text of an open line that was given up for
// want of memory.
type spill uint8

const (
	whole   spill = iota // text has all of it
	spilled              // the text lies in the files alone
	due                  // and the line has ended, or reached its limit
)

// Add takes the next entry, which begins at place if it begins a line. It
// returns the lines that it ends: none, one, or two (a line that was never
// ended, and a new one), valid until the next call. began says whether the
// entry began a line, so that the caller can count. After Spill, ask Due too.
func (j *Joiner) Add(e *Entry, place Place) (lines []Line, began bool) {
	n := 0
	if j.open {
		if e.Nanos == j.nanos {
			return j.out[:j.goOn(e, 0)], false
		}
		if j.spill != whole {
			j.spill = due // the entry ends it; the caller comes again with both
			return nil, false
		}
		// The container was stopped in the middle of a line: nothing will ever
		// end it, and the entry at hand belongs to its next run.
		n = len(j.Flush())
	}
	if e.Whole && len(e.Text) <= j.max() {
		j.out[n] = Line{Place: place, Text: withoutReturn(e.Text), Time: e.Time, Nanos: e.Nanos, Source: int64(e.Size)}
		return j.out[:n+1], true
	}
	if n > 0 {
		// The flushed line lies in the buffers that the new one is about to use.
		j.text, j.time = nil, nil
	}
	j.open, j.cut = true, false
	j.place, j.nanos = place, e.Nanos
	j.length, j.source, j.spill = 0, 0, whole
	j.time = append(j.time[:0], e.Time...)
	j.text = j.text[:0]
	return j.out[:j.goOn(e, n)], true
}

// goOn adds e to the open line and puts it at out[n] if that made it whole or
// too long. It returns how many of out are used.
func (j *Joiner) goOn(e *Entry, n int) int {
	if j.spill != whole {
		j.length += len(e.Text)
		j.source += int64(e.Size)
		if e.Whole || j.length > j.max() {
			j.spill = due
		}
		return n
	}
	if !j.cut {
		j.text = append(j.text, e.Text...)
		j.length = len(j.text)
		j.source += int64(e.Size)
		if len(j.text) > j.max() {
			j.cut = true
			j.text = j.text[:cutBefore(j.text, j.max())]
		}
		if j.cut || e.Whole {
			j.out[n] = j.line()
			if !j.cut {
				j.out[n].Text = withoutReturn(j.text)
			}
			n++
		}
	}
	if e.Whole {
		j.open = false
	}
	return n
}

func (j *Joiner) line() Line {
	return Line{Place: j.place, Text: j.text, Time: j.time, Nanos: j.nanos, Cut: j.cut, Source: j.source}
}

// Spill gives up the text of an open line, which can be read again from its
// place. From then on its entries are only counted; when Due says so, the caller
// goes back to where Open says and begins with Resume.
func (j *Joiner) Spill() {
	if j.open && !j.cut && j.spill == whole {
		j.text, j.out, j.spill = nil, [2]Line{}, spilled
	}
}

// Due says whether a line that was spilled is needed now: it has ended or
// reached its limit, or (ended) nothing more will come for it.
func (j *Joiner) Due(ended bool) bool {
	return j.spill == due || ended && j.open && j.spill == spilled
}

// Source is how many bytes of entries the open line has so far.
func (j *Joiner) Source() int64 {
	if !j.open || j.cut {
		return 0
	}
	return j.source
}

// Flush ends a line that nothing else will end, because the container has
// stopped, and returns it, or none. It must not be spilled.
func (j *Joiner) Flush() []Line {
	waiting := j.open && !j.cut
	j.open = false
	if !waiting {
		return nil
	}
	j.out[0] = j.line()
	return j.out[:1]
}

// Nanos is the time of the open line, cut or not; ok is false if there is none.
func (j *Joiner) Nanos() (nanos int64, ok bool) { return j.nanos, j.open }

// Trim gives back the memory of a line that has ended, or whose rest is only
// passed over. Lines that Add or Flush has returned must not be used after it.
func (j *Joiner) Trim() {
	if !j.open || j.cut {
		j.text, j.out = nil, [2]Line{}
	}
}

// Bytes is the memory that lines take at present.
func (j *Joiner) Bytes() int { return cap(j.text) }

// Open says where the line begins that is waited for. ok is false if there is
// none, or if its beginning has been sent already.
func (j *Joiner) Open() (p Place, ok bool) { return j.place, j.open && !j.cut }

// CutTime is the time of a line whose beginning has been sent and whose end is
// still to come, else 0. Resume takes it after a restart.
func (j *Joiner) CutTime() int64 {
	if j.open && j.cut {
		return j.nanos
	}
	return 0
}

// Resume makes j as it was when CutTime gave nanos; 0 stands for no open line.
func (j *Joiner) Resume(nanos int64) {
	j.open, j.cut, j.nanos = nanos != 0, nanos != 0, nanos
	j.text, j.spill, j.source = nil, whole, 0
}

func (j *Joiner) max() int {
	if j.Max > 0 {
		return j.Max
	}
	return MaxLine
}

// withoutReturn cuts off the carriage return that a terminal (docker run -t), or
// a program from Windows, puts before the newline. It belongs to the end of the
// line, not to its text.
func withoutReturn(text []byte) []byte {
	n := len(text)
	if n < 2 || text[n-1] != 'r' || text[n-2] != '\\' {
		return text
	}
	slashes := 0
	for i := n - 2; i >= 0 && text[i] == '\\'; i-- {
		slashes++
	}
	if slashes%2 == 0 {
		return text // an escaped backslash and the letter r
	}
	return text[:n-2]
}

// cutBefore is the largest length of at most n at which the inside of a JSON
// string may end: not within an escape and not within a character.
func cutBefore(text []byte, n int) int {
	// An escape is at most six bytes long, so whether one covers n can be
	// told from the last ones before it; a run of backslashes has to be
	// counted to know which of them begin an escape.
	for k := n; k > 0 && k > n-6; k-- {
		if text[k-1] != '\\' {
			continue
		}
		run := 0
		for i := k - 1; i >= 0 && text[i] == '\\'; i-- {
			run++
		}
		if run%2 == 1 && k-1+escapeLen(text[k-1:]) > n {
			return k - 1
		}
		break
	}
	for n > 0 && text[n]&0xC0 == 0x80 {
		n--
	}
	return n
}
