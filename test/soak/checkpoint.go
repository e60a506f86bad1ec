package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// A snapshot is what the agent's checkpoint said when it was killed, and how
// much was stored then.
type snapshot struct {
	kill    int
	arrived int
	states  map[string]sourceState
}

// A sourceState is what a checkpoint says of a container, as far as it is of
// interest here.
type sourceState struct {
	ID   string `json:"id"`
	Gone bool   `json:"gone"`
	Gens []struct {
		N    int64  `json:"n"`
		Ino  uint64 `json:"ino"`
		Head int64  `json:"head"`
		Hold string `json:"hold"`
		Done bool   `json:"done"`
		Lost bool   `json:"lost"`
		Size int64  `json:"size"`
	} `json:"gens"`
	Settled [2]struct {
		N     int64 `json:"n"`
		Off   int64 `json:"off"`
		Lines int64 `json:"lines"`
	} `json:"settled"`
}

// String is for people: the last generations and how far they are settled.
func (s sourceState) String() string {
	text := ""
	for _, g := range s.Gens[max(0, len(s.Gens)-6):] {
		text += fmt.Sprintf("generation %d (%s, done %t, lost %t, hold %q, size %d), ", g.N, logFile{Ino: g.Ino, Head: g.Head}.generation(), g.Done, g.Lost, g.Hold, g.Size)
	}
	for k, p := range s.Settled {
		text += fmt.Sprintf("%s settled to generation %d offset %d line %d; ", streams[k], p.N, p.Off, p.Lines)
	}
	return text
}

func (h *harness) checkpointPath() string { return filepath.Join(h.data, "agent", "checkpoint") }

// readCheckpoint reads the last state of each container: one JSON object a line
// behind a checksum.
func readCheckpoint(path string) (map[string]sourceState, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	states := map[string]sourceState{}
	for row := range bytes.Lines(text) {
		_, object, _ := bytes.Cut(bytes.TrimSpace(row), []byte(" "))
		var s sourceState
		if json.Unmarshal(object, &s) != nil || s.ID == "" {
			continue // the head, or a torn end
		}
		states[s.ID] = s
	}
	return states, nil
}

// remember notes what the checkpoint of the agent that has just ended says. A
// file that is not there says nothing.
func (h *harness) remember() {
	arrived := h.sink.Arrived()
	states, err := readCheckpoint(h.checkpointPath())
	if err != nil || arrived < 0 {
		return
	}
	h.snapshots = append(h.snapshots, snapshot{kill: h.kills, arrived: arrived, states: states})
}

// checkAhead: a checkpoint never passes a line that is not stored.
func (v *verdict) checkAhead(snapshots []snapshot) {
	for _, t := range v.by {
		for k := range t.lines {
			// latest[i] is when the last one of the first i lines was stored.
			latest := make([]int, len(t.lines[k])+1)
			which := make([]*truth, len(t.lines[k])+1)
			for i, l := range t.lines[k] {
				latest[i+1], which[i+1] = latest[i], which[i]
				if l.stored > 0 && !l.dead && !l.damaged && l.arrival+1 > latest[i] {
					latest[i+1], which[i+1] = l.arrival+1, l
				}
			}
			for _, s := range snapshots {
				state, ok := s.states[t.c.spec.source()]
				if !ok || state.Gone {
					continue
				}
				place := state.Settled[k]
				for _, g := range state.Gens {
					file, ok := t.find(g.Ino, g.Head)
					if g.N != place.N || !ok {
						continue
					}
					n := sort.Search(len(t.lines[k]), func(i int) bool {
						p := t.place(k, i)
						return p.File > file.N || p.File == file.N && p.From >= place.Off
					})
					if latest[n] > s.arrived {
						v.fail(ahead, t, which[n], fmt.Sprintf("at kill %d the checkpoint said that all of %s before byte %d of file %d was settled; this line was stored later", s.kill, streams[k], place.Off, file.N))
					}
				}
			}
		}
	}
}
