package tail

// A file that is compressed loses its name at any moment. If that is between the
// look that found it and the link, its copy is held instead.

// holdNew holds a file that the last look has found. It is called from the oldest
// to the youngest: whoever finds a file held may rely on the older ones. A younger
// one that is held without an older one would hide that from the next run, to
// which all that lies behind a known file has been read.
func (s *source) holdNew(g *generation, h *hold) {
	const looks = 3 // in a storm the copy is renamed before it can be opened
	if !h.link(s.id, g) || g.inflate != nil {
		return
	}
	for range looks {
		files, err := listLogs(s.target.Path)
		if err != nil {
			return
		}
		for _, file := range files {
			if file.gz && s.holdLate(g, file, h) {
				return
			}
		}
	}
}

// holdLate holds a file whose link was taken away, or could not be made before,
// where it lies now: as it was, or compressed.
func (s *source) holdLate(g *generation, file logFile, h *hold) bool {
	if h.base(s.id) == "" {
		return false
	}
	c, err := s.openFresh(file)
	if err != nil {
		return false // what is open stays so
	}
	defer c.close()
	if !s.same(c, g, file, h) {
		return false // the name leads to another file by now
	}
	c.N, c.Ino, c.From, c.Head, c.Gz = g.N, g.Ino, g.From, g.Head, g.Gz // so that its link says whose it is
	h.link(s.id, c)
	if c.Hold == "" {
		return false
	}
	g.close()
	g.Hold, g.HoldIno = c.Hold, c.HoldIno
	s.dirty = true
	return true
}
