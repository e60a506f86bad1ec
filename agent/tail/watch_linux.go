package tail

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A watcher tells at once that something changed in the folder of a source, by
// inotify. One descriptor serves all; the kernel limits how many folders can
// be watched (fs.inotify.max_user_watches).
type watcher struct {
	file *os.File
	conn syscall.RawConn // keeps the descriptor from being closed, and used again, within a call
	wake func(s *source, names bool)

	blind atomic.Bool // some folder may have to be looked at each second

	reading sync.Mutex // events are taken in by one at a time, in their order
	buf     []byte

	mu      sync.Mutex
	sources map[int32][]*source // those of one folder
	wds     map[*source]int32
}

// newWatcher calls wake for each change; names says that files came, went or were
// renamed.
func newWatcher(wake func(s *source, names bool)) (*watcher, error) {
	w := &watcher{wake: wake, buf: make([]byte, 64<<10), sources: map[int32][]*source{}, wds: map[*source]int32{}}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return w, err
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if w.conn, err = file.SyscallConn(); err != nil {
		file.Close()
		return w, err
	}
	w.file = file
	return w, nil
}

const watched = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_ONLYDIR

// add begins to watch the folder of s. false: it cannot be watched, and has to
// be looked at.
func (w *watcher) add(dir string, s *source) (ok bool) {
	defer func() {
		s.watched.Store(ok)
		if !ok {
			w.blind.Store(true)
		}
	}()
	if w.file == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var wd int
	var before int64
	fi, err := os.Lstat(filepath.Join(dir, s.base))
	if err == nil && fi.Mode().IsRegular() {
		before = 1
	}
	closed := w.conn.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), dir, watched) })
	if closed != nil || err != nil {
		return false
	}
	s.births.begin(before)
	w.forget(s) // of another folder, if any
	w.sources[int32(wd)], w.wds[s] = append(slices.Clip(w.sources[int32(wd)]), s), int32(wd)
	return true
}

func (w *watcher) remove(s *source) {
	if w.file == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if wd, ok := w.wds[s]; ok {
		if w.forget(s) == 0 {
			// Fails when the folder has gone, which removed the watch, or all is closed.
			_ = w.conn.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
		}
		s.births.end()
	}
}

// forget takes s from the sources of its folder, and says how many it has left.
func (w *watcher) forget(s *source) (left int) {
	wd, ok := w.wds[s]
	if !ok {
		return 0
	}
	delete(w.wds, s)
	// A slice of its own: events may be using the old one.
	list := slices.DeleteFunc(slices.Clone(w.sources[wd]), func(t *source) bool { return t == s })
	if w.sources[wd] = list; len(list) == 0 {
		delete(w.sources, wd)
	}
	return len(list)
}

// run takes in what comes until close.
func (w *watcher) run() {
	if w.file == nil {
		return
	}
	// Waits whenever there is nothing more; the error is that it is closed.
	_ = w.conn.Read(func(fd uintptr) bool { return w.takeIn(int(fd)) != unix.EAGAIN })
}

// catchUp takes in all that has happened up to now.
func (w *watcher) catchUp() {
	if w.file == nil {
		return
	}
	_ = w.conn.Control(func(fd uintptr) { _ = w.takeIn(int(fd)) }) // closed: nobody asks any more
}

// takeIn takes in events until there is none, which is EAGAIN.
func (w *watcher) takeIn(fd int) error {
	w.reading.Lock()
	defer w.reading.Unlock()
	for {
		n, err := unix.Read(fd, w.buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		default:
			w.events(w.buf[:n])
		}
	}
}

func (w *watcher) events(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		name := b[unix.SizeofInotifyEvent:size]
		b = b[size:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			w.wakeAll()
			continue
		}
		w.mu.Lock()
		list := w.sources[wd]
		if len(list) > 0 && mask&unix.IN_IGNORED != 0 {
			// The folder has gone. Should it come again, it is another one.
			delete(w.sources, wd)
			for _, s := range list {
				delete(w.wds, s)
				s.births.end()
				s.watched.Store(false)
			}
			w.blind.Store(true)
		}
		w.mu.Unlock()
		for _, s := range list {
			s.event(mask, bytes.TrimRight(name, "\x00"), w.wake)
		}
	}
}

// event is for what happened to a file in the folder of s, or to the folder.
func (s *source) event(mask uint32, name []byte, wake func(s *source, names bool)) {
	if n := len(s.base); s.shared && len(name) > 0 && (len(name) < n || string(name[:n]) != s.base) {
		return // a sandbox is the task's own folder
	}
	if string(name) == s.base && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
		s.births.add()
	}
	wake(s, mask&unix.IN_MODIFY == 0)
}

// wakeAll is for events that the kernel had no room for.
func (w *watcher) wakeAll() {
	w.mu.Lock()
	all := make([]*source, 0, len(w.sources))
	for _, list := range w.sources {
		all = append(all, list...)
	}
	w.mu.Unlock()
	for _, s := range all {
		s.births.begin(0)
		w.wake(s, true)
	}
}

func (w *watcher) close() {
	if w.file != nil {
		w.file.Close()
	}
}
