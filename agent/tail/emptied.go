package tail

import "path/filepath"

// A file that was truncated in place holds other lines under its old inode. As a
// rule the next look at the folder finds them. But the container may be removed
// before that, as when logrotate with copytruncate and docker rm meet: then only
// the link still leads to them.

// salvage makes a generation of what is behind the link of g, which was truncated
// in place. Nothing is done when a younger file is known, which has to be read
// behind it and has its number already.
func (f *Follower) salvage(s *source, g *generation) {
	if g.Hold == "" || g != s.gens[len(s.gens)-1] {
		return
	}
	fresh, err := s.openFresh(logFile{path: filepath.Join(f.hold.folder(s.id), g.Hold), ino: g.Ino})
	if err != nil {
		return // empty, or gone: what comes is found where it is
	}
	fresh.at, fresh.ended = "", s.target.Gone
	s.append(fresh, &f.hold)
	f.looks.push(&s.looking) // which finds its name, if it has one
}
