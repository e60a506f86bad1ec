package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mesoscope/receipt"
)

// A receiptDocument is a receipt or a gap as it is stored.
type receiptDocument struct {
	document
	Mesoscope struct {
		Receipt *receipt.Receipt `json:"receipt"`
		Gap     *receipt.Gap     `json:"gap"`
	} `json:"mesoscope"`
}

// A declaration is a gap: what lies behind From in a file is lost, or (doubt)
// files that nobody saw may have come before it.
type declaration struct {
	from  int64
	doubt bool
}

// gapDocument takes in a gap that is stored.
func (v *verdict) gapDocument(t *history, source []byte) error {
	var d receiptDocument
	if err := json.Unmarshal(source, &d); err != nil {
		return err
	}
	v.gap(t, &d)
	return nil
}

// gap takes in a gap, stored or refused for good.
func (v *verdict) gap(t *history, d *receiptDocument) {
	v.Gaps++
	ino, head, ok := parseGeneration(d.Log.File.Generation)
	g := d.Mesoscope.Gap
	if g == nil || !ok {
		v.fail(receipts, t, nil, fmt.Sprintf("a gap document without its gap: %.300q", d.Message))
		return
	}
	// Of a huge line more than one file may have this name, and a compressed copy
	// has an inode that nobody noted.
	exact := false
	for _, f := range t.files {
		exact = exact || f.Head == head && f.Ino == ino
	}
	for _, f := range t.files {
		if f.Head == head && (f.Ino == ino || !exact) {
			v.declare(t, f.N, declaration{from: g.From, doubt: g.Bytes == 0})
		}
	}
}

// declare notes a gap of a file once: each of the hundreds of files of a huge line
// may stand for all of them.
func (v *verdict) declare(t *history, file int, d declaration) {
	if v.declared[t] == nil {
		v.declared[t] = map[int][]declaration{}
	}
	if !slices.Contains(v.declared[t][file], d) {
		v.declared[t][file] = append(v.declared[t][file], d)
	}
}

// covered says whether a line that was destroyed lies inside of a declared gap:
// in its file; or in the last file before it that anybody saw, whose end is
// unknown then; or files that nobody saw are said to have come before a later one.
func (v *verdict) covered(t *history, l *truth) bool {
	declared, seen := v.declared[t], v.seen[t]
	return slices.ContainsFunc(l.Parts, func(p part) bool {
		if slices.ContainsFunc(declared[p.File], func(d declaration) bool { return p.To > d.from || d.doubt }) {
			return true
		}
		if seen[p.File] {
			return false
		}
		for n := p.File - 1; n > 0; n-- {
			if len(declared[n]) > 0 {
				return true
			}
			if seen[n] {
				break
			}
		}
		for n := p.File + 1; n <= len(t.files); n++ {
			if slices.ContainsFunc(declared[n], func(d declaration) bool { return d.doubt }) {
				return true
			}
			if seen[n] {
				break
			}
		}
		return false
	})
}

// around is for people: what was seen and declared near a file.
func (v *verdict) around(t *history, file int) string {
	var text []string
	for n := max(1, file-3); n <= file+3; n++ {
		word := fmt.Sprintf("file %d seen %t", n, v.seen[t][n])
		for _, d := range v.declared[t][n] {
			word += fmt.Sprintf(" gap from %d (size unknown: %t)", d.from, d.doubt)
		}
		text = append(text, word)
	}
	return strings.Join(text, ", ")
}

// unnoticed says whether nobody could know of a line. Its file was emptied before
// an agent had ever seen it, and goes on under its name; or a power cut took what
// no agent had settled (if it had, the line would be there).
func (v *verdict) unnoticed(t *history, l *truth) bool {
	return !slices.ContainsFunc(l.Parts, func(p part) bool {
		return !slices.ContainsFunc(t.lost[p.File], func(x lostPart) bool {
			return x.Why == powerLoss && p.From < x.To && p.To > x.From || x.All && x.From <= p.From && !v.seen[t][p.File]
		})
	})
}

// checkReceipts compares the agent's receipts with the oracle: a final one says
// how many lines of a stream began in a file. Each file that has its end must
// have one, stored or refused for good, unless the agent has lost its memory of it.
func (v *verdict) checkReceipts(refused []receiptDocument) error {
	docs, err := v.h.sink.Docs(v.h.opt.receiptIndex())
	if err != nil {
		return err
	}
	type key struct {
		t          *history
		generation string
		stream     string
	}
	last := map[key]*receipt.Receipt{}
	all := slices.Clone(refused)
	for _, stored := range docs {
		var d receiptDocument
		if err := json.Unmarshal(stored.Source, &d); err != nil {
			return fmt.Errorf("a stored receipt is no JSON: %w", err)
		}
		all = append(all, d)
	}
	for _, d := range all {
		t, r := v.by[d.Container.ID], d.Mesoscope.Receipt
		if t == nil || r == nil {
			v.fail(receipts, t, nil, fmt.Sprintf("not a receipt, or nobody's: %+v", d))
			continue
		}
		v.Receipts++
		if d.Container.Name != t.c.spec.Name || d.Service.Name != t.c.service {
			v.fail(metadata, t, nil, fmt.Sprintf("a receipt says container.name %q, service.name %q", d.Container.Name, d.Service.Name))
		}
		k := key{t, d.Log.File.Generation, d.Stream}
		if old := last[k]; old == nil || old.Revision < r.Revision {
			last[k] = r
		}
	}
	final := map[*history]map[[2]int]bool{}
	for k, r := range last {
		stream := slices.Index(streams[:], k.stream)
		ino, head, ok := parseGeneration(k.generation)
		if stream < 0 || !ok {
			v.fail(receipts, k.t, nil, fmt.Sprintf("a receipt of stream %q, generation %q", k.stream, k.generation))
			continue
		}
		file, ok := k.t.find(ino, head)
		if !ok || !r.Final {
			continue
		}
		if final[k.t] == nil {
			final[k.t] = map[[2]int]bool{}
		}
		final[k.t][[2]int{file.N, stream}] = true
		v.checkReceipt(k.t, file, k.generation, stream, r)
	}
	if v.h.forgotten > 0 {
		return nil
	}
	for _, t := range v.by {
		for n, f := range t.files {
			if t.mayBeCopy() {
				continue
			}
			if _, one := t.find(f.Ino, f.Head); !one || t.c.spec.Log.Compress && !t.alone(f) || !t.whole(n) || n == len(t.files) && !t.c.removed {
				continue
			}
			for k := range streams {
				if want := t.number(k, n); want > 0 && !final[t][[2]int{n, k}] {
					v.fail(receipts, t, nil, fmt.Sprintf("file %d (%s) has its end, and no final receipt of its %d lines of %s", n, f.generation(), want, streams[k]))
				}
			}
		}
	}
	return nil
}

func (v *verdict) checkReceipt(t *history, file logFile, generation string, stream int, r *receipt.Receipt) {
	what := fmt.Sprintf("the final receipt of %s of file %d (%s, revision %d)", streams[stream], file.N, file.generation(), r.Revision)
	l, b := r.Lines, r.Bytes
	if sum := l.Delivered + l.Duplicate + l.Quarantined + l.DeadLettered + l.DroppedByServer + l.Doubled + l.Pending; sum != l.Total {
		v.fail(receipts, t, nil, fmt.Sprintf("%s: the sum of its lines is %d: %+v", what, sum, l))
	}
	if sum := b.Delivered + b.Duplicate + b.Quarantined + b.DeadLettered + b.DroppedByServer + b.Doubled + b.Truncated + b.OtherStream + b.Garbage + b.Gap + b.Pending; sum != b.Size {
		v.fail(receipts, t, nil, fmt.Sprintf("%s: the sum of its bytes is %d: %+v", what, sum, b))
	}
	if l.Pending != 0 || b.Pending != 0 {
		v.fail(receipts, t, nil, fmt.Sprintf("%s has pending lines or bytes: %+v %+v", what, l, b))
	}
	if t.c.spec.Log.Compress && !t.alone(file) {
		return // a compressed copy may have the inode of another file of the line
	}
	if !t.whole(file.N) || v.shifted(t, file.N, generation) {
		return
	}
	if want := t.number(stream, file.N); l.Total != want {
		v.fail(receipts, t, nil, fmt.Sprintf("%s: %d lines, not %d: %+v", what, l.Total, want, l))
	}
}
