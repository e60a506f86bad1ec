package tail

// When the checkpoint is older than it should be, because its last records are
// damaged, it tells of files that were settled since: their links are gone, and
// mostly they themselves. A link is taken away when all lines of its file are
// stored, or when there was no room for it, which the lost records said too. So
// nothing is known to be lost, and receipts that say what became of those files may
// be stored already: none is written over them. That nobody knows for sure is said
// once.

const presumed = "the checkpoint was damaged: of these files it is not known whether all lines were stored before they were let go"

// presume passes over the oldest files that are not settled if they were held and
// have neither a link nor a name any more. Links go from the oldest to the youngest:
// what is missing behind one that is left is lost.
func (f *Follower) presume(s *source) {
	var first, last *generation
	low := lower(s.resume).Generation
	for _, g := range s.gens {
		if g.N < low || g.Done {
			continue
		}
		if !g.released || g.Lost || g.at != "" || g.file != nil {
			break
		}
		if first == nil {
			first = g
		}
		last = g
		g.Done, g.Final = true, [2]bool{true, true}
	}
	if last == nil {
		return
	}
	for k := range s.resume {
		if end := (Position{Generation: last.N, Offset: never}); s.resume[k].before(end) {
			s.resume[k] = end
		}
	}
	f.log.Warn("lines may be missing", "container", s.id, "path", s.target.Path, "from_generation", first.name(), "to_generation", last.name(), "reason", presumed)
	s.unproveBefore(first, presumed, f.metrics)
}
