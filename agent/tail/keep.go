package tail

// The keeper looks at folders and links what it finds into the hold folder. It
// never waits for the sink, so that no file vanishes while the readers do.

// keep works off the sources whose folder may have changed.
func (f *Follower) keep() {
	said := ""
	for {
		t := f.looks.pop()
		if t == nil {
			return
		}
		s := t.source
		s.mu.Lock()
		changed, err := f.look(s)
		s.mu.Unlock()
		f.looks.done(t, err == errRestless)
		if problem := f.hold.Problem(); problem != said {
			if said = problem; problem != "" {
				f.log.Warn(problem)
			}
		}
		if changed {
			f.reads.push(&s.reading)
		}
	}
}

// look brings what is known of s up to date, and says whether the readers may
// have something to do.
func (f *Follower) look(s *source) (changed bool, err error) {
	if s.dropped {
		return false, nil // a link made now would never be removed
	}
	// Until this look is over, a write has to cause another one: it may be the
	// first entry of a file that this look still finds empty.
	s.live.Store(false)
	first := !s.begun
	if first {
		s.adoptHeld(f.hold.folder(s.id))
		f.hold.try(s.target)
	}
	changed, err = s.scan(&f.hold, f.watch)
	if err != nil {
		s.fail(f.log, err)
		return false, err
	}
	if s.unreadable != nil {
		s.fail(f.log, s.unreadable)
	} else {
		s.problem = ""
	}
	if first {
		if f.doubt.Load() {
			s.doubt()
			f.presume(s)
		}
		s.begin(f.cursors)
		changed = true
	}
	if s.missed != "" {
		f.log.Warn("log files may have come and gone unseen: lines may be missing", "container", s.id, "path", s.target.Path, "reason", s.missed)
		s.unprove(f.metrics)
	}
	if first {
		f.unproveHoles(s)
	}
	s.noteLive()
	return changed || s.problem != "", nil
}
