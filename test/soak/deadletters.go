package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// deadLetters takes in what the store refused for good: lines, and gaps, which are
// declared there, too. It gives the receipts among them.
func (v *verdict) deadLetters() (receipts []receiptDocument, err error) {
	files, err := filepath.Glob(filepath.Join(v.h.data, "agent", "deadletter*", "*.ndjson"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for row := range bytes.Lines(text) {
			var letter struct {
				Document receiptDocument `json:"document"`
			}
			if json.Unmarshal(row, &letter) != nil {
				continue // torn by a kill: it never counted
			}
			d := letter.Document
			t := v.by[d.Container.ID]
			switch {
			case d.Mesoscope.Receipt != nil:
				receipts = append(receipts, d)
			case t == nil: // nobody's
			case d.Mesoscope.Gap != nil:
				v.gap(t, &d)
			default:
				if l := t.lineOf(&d.document); l != nil {
					l.dead = true
					v.Dead++
				}
			}
		}
	}
	return receipts, nil
}
