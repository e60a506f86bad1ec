package tail

import (
	"context"
	"time"
)

// kick asks for a checkpoint now.
func (f *Follower) kick() {
	select {
	case f.save <- struct{}{}:
	default:
	}
}

// checkpoints writes one each second in which something changed, and when
// asked.
func (f *Follower) checkpoints(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing, budget := false, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.save:
		}
		err := f.writeCheckpoint()
		if err != nil && !failing {
			f.log.Error("the checkpoint cannot be written; reading waits, nothing is lost", "error", err)
		} else if err == nil && failing {
			f.log.Info("the checkpoint can be written again")
		}
		failing = err != nil
		if time.Since(budget) >= budgetEvery {
			f.keepBudget()
			budget = time.Now()
		}
	}
}

// writeCheckpoint makes what changed durable, and then does what had to wait
// for that: unlink what is settled, send on what was above the horizon.
func (f *Follower) writeCheckpoint() error {
	f.mu.Lock()
	var changed []*source
	for _, s := range f.sources {
		s.mu.Lock()
		if s.dirty && s.begun {
			changed = append(changed, s)
		}
		s.mu.Unlock()
	}
	f.mu.Unlock()
	states := make([]state, 0, len(changed))
	for _, s := range changed {
		s.mu.Lock()
		f.sight(s)
		states = append(states, s.snapshot())
		s.dirty = false
		s.mu.Unlock()
	}
	if err := f.checkpoint.save(states); err != nil {
		for _, s := range changed {
			s.mu.Lock()
			s.dirty = true
			s.mu.Unlock()
		}
		return err
	}
	for i, s := range changed {
		f.afterCheckpoint(s, states[i])
	}
	return f.trust()
}

// trust ends the doubt about the checkpoint when it says of each source what was
// at hand at the first look, all of which may have been sent.
func (f *Follower) trust() error {
	if !f.doubt.Load() {
		return nil
	}
	f.mu.Lock()
	over := f.told
	for _, s := range f.sources {
		s.mu.Lock()
		over = over && s.saved
		s.mu.Unlock()
	}
	f.mu.Unlock()
	if !over {
		return nil
	}
	f.doubt.Store(false)
	return f.checkpoint.trust()
}

// sight notes which backing indices are written to now, before the checkpoint
// allows that more is sent to them.
func (f *Follower) sight(s *source) {
	if f.sink == nil {
		return
	}
	for k := range s.trails {
		at := s.ledgers[k].scanned
		if at.before(s.sent) {
			at = s.sent // what lies before it may have gone to older ones
		}
		s.trails[k].note(f.sink.WriteIndex(s.target.Streams[k].Index), at)
		s.trails[k].forget(s.ledgers[k].settled)
	}
}

// takes says whether the destination takes anything at present.
func (f *Follower) takes(index string) bool { return f.sink == nil || f.sink.Takes(index) }

func (f *Follower) afterCheckpoint(s *source, st state) {
	if (st.Gone || st.Left != "") && f.forget(s, st) {
		return
	}
	s.mu.Lock()
	s.horizon, s.saved = st.Horizon, s.saved || s.begun
	s.durable = lower(st.Settled)
	for _, g := range st.Generations {
		if !g.Done {
			continue
		}
		k := s.find(func(k *generation) bool { return k.N == g.N })
		if k != nil && k != s.gen {
			k.close()
		}
		if g.Hold == "" {
			continue
		}
		if k != nil && k.Sum == nil && (s.compressed || k.raw && k.at != "") {
			// Its compressed copy must not be taken for that of another file of
			// the same huge line.
			k.sumHeld(f.hold.folder(s.id))
		}
		if err := f.hold.release(s.id, g.Hold); err != nil {
			f.log.Warn("a held file cannot be removed", "error", err)
			continue
		}
		if k != nil {
			k.Hold = ""
			s.dirty = true
			f.looks.push(&s.looking) // forgets it if it has no file any more
		}
	}
	for k := range s.flushed {
		s.mayFlush[k] = s.mayFlush[k] || st.Flushed[k] == s.flushed[k]
	}
	wake := s.notesKnown(st) || s.parked
	s.mu.Unlock()
	if wake {
		f.reads.push(&s.reading)
	}
}

// forget drops a source whose end is written down. false: it has been named
// again in the meantime, and goes on.
func (f *Follower) forget(s *source, st state) bool {
	f.mu.Lock() // nobody names it while it is dropped
	defer f.mu.Unlock()
	s.mu.Lock()
	finished := s.finished
	s.dropped = finished
	s.dirty = !finished // the checkpoint has just been told to forget it
	s.mu.Unlock()
	if !finished {
		return false
	}
	f.watch.remove(s)
	f.hold.forget(s.id)
	delete(f.sources, s.id)
	if st.Left != "" {
		f.known[s.id] = st
	}
	return true
}
