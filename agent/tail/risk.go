package tail

// HeldBytes is what the files take that exist only because they are held, by a
// link or, where none can be made, by a descriptor.
func (f *Follower) HeldBytes() int64 { return f.hold.Bytes() + f.Risk().taken }

// A Risk is what a restart would lose now: files without any name, which only
// the descriptors of this process keep.
type Risk struct {
	Files int
	Bytes int64 // of their log that are not settled
	taken int64 // on the disk
}

// Risk looks at the open files.
func (f *Follower) Risk() (r Risk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		s.risk(&r)
	}
	return r
}

func (s *source) risk(r *Risk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.settled()
	for _, g := range s.gens {
		if g.file == nil || g.Hold != "" || g.Lost || g.Done {
			continue
		}
		fi, err := g.file.Stat()
		if err != nil {
			continue
		}
		bytes, names := diskBytes(fi)
		if names > 0 {
			continue
		}
		r.taken += bytes
		left := fi.Size()
		switch {
		case g.N < low.Generation:
			continue
		case g.N == low.Generation && g.inflate == nil:
			left -= low.Offset
		}
		if left > 0 {
			r.Files++
			r.Bytes += left
		}
	}
}
