package discover

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A watcher tells at once what happens below containers/: one inotify
// descriptor for the folder itself and for each directory in it. It may miss
// things (its queue overflows, a watch cannot be had), so nobody relies on it
// alone.
type watcher struct {
	file *os.File // the inotify descriptor, in Go's poller so that Close ends a Read

	mu     sync.Mutex
	root   int32            // watch of containers/ itself; 0 = none
	ids    map[int32]string // container id by watch
	byID   map[string]int32
	denied bool // no further watch could be had
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	return &watcher{file: os.NewFile(uintptr(fd), "inotify"), ids: make(map[int32]string), byID: make(map[string]int32)}, nil
}

// add watches the path. A second watch of the same inode is the same watch,
// so a caller may repeat itself after the folder was perhaps replaced.
func (w *watcher) add(path string, mask uint32) (int32, error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var wd int
	cerr := raw.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), path, mask|unix.IN_ONLYDIR) })
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	return int32(wd), nil
}

// watchRoot watches containers/ for directories that come and go.
func (w *watcher) watchRoot(path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, err := w.add(path, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_MOVED_FROM)
	if err == nil {
		w.root = wd
	}
	return err
}

// watchContainer watches one container's directory for rewritten files. Its
// error is for the first one only, usually that fs.inotify.max_user_watches is
// used up; the slow look finds the changes then.
func (w *watcher) watchContainer(id, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, have := w.byID[id]; have {
		return nil
	}
	wd, err := w.add(path, unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE)
	if err != nil {
		if w.denied || os.IsNotExist(err) {
			return nil
		}
		w.denied = true
		return err
	}
	w.ids[wd], w.byID[id] = id, wd
	return nil
}

// run calls changed with the id of each container that has come, gone or been
// rewritten, and with "" when events were lost. It returns after close.
func (w *watcher) run(changed func(id string)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(rest[0:]))
			mask := binary.NativeEndian.Uint32(rest[4:])
			length := int(binary.NativeEndian.Uint32(rest[12:]))
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:][:length], "\x00"))
			rest = rest[unix.SizeofInotifyEvent+length:]
			if id, ok := w.meaning(wd, mask, name); ok {
				changed(id)
			}
		}
	}
}

// meaning says which container an event is about; "" is any of them.
func (w *watcher) meaning(wd int32, mask uint32, name string) (id string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		return "", true
	case mask&unix.IN_IGNORED != 0: // the directory is gone, the kernel took the watch away
		id = w.ids[wd]
		delete(w.ids, wd)
		delete(w.byID, id)
		if wd == w.root {
			w.root = 0
			return "", true
		}
		return id, id != ""
	case wd == w.root:
		return name, isID(name)
	case name == "config.v2.json" || name == "hostconfig.json":
		id, ok = w.ids[wd]
		return id, ok
	}
	return "", false
}

func (w *watcher) close() { _ = w.file.Close() }
