package tail

// Files that nobody has seen have numbers, too: the first one behind them leaves
// one free. So its link says that something is missing before it, even if the
// agent dies before the checkpoint does.

// hole is the reason where nothing tells of a number, neither the checkpoint nor
// a link.
const hole = "log files had come and gone unseen, or could not be held, when the agent ended before it could write that down"

// unproveHoles notes, before the first reading, what is missing among the files
// that are not settled and was not noted yet.
func (f *Follower) unproveHoles(s *source) {
	n := s.settled().Generation
	for _, g := range s.gens {
		// Without a checkpoint, files before the first link may have been settled.
		if g.N > n+1 && g.Doubt == "" && (n > 0 || !f.doubt.Load()) {
			f.log.Warn("log files may have come and gone unseen: lines may be missing", "container", s.id, "path", s.target.Path, "generation", g.name(), "reason", hole)
			s.unproveBefore(g, hole, f.metrics)
		}
		n = max(n, g.N)
	}
}

// unproveBefore notes that nobody knows what came and went before g.
func (s *source) unproveBefore(g *generation, why string, m *metrics) {
	s.unproven, g.Doubt = why, why
	s.noteGap(g, "unproven", g.From, 0, why, m)
}
