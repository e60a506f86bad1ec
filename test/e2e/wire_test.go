//go:build e2e && linux

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A wire lies between an agent and Elasticsearch, and can be cut at any byte.
type wire struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open map[net.Conn]bool // both ends of all connections; guarded by mu
	dead bool              // new connections are refused; guarded by mu
	left int               // bytes until all is cut; < 0: never; guarded by mu
}

// newWire listens and passes on to an address.
func newWire(t testing.TB, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, open: map[net.Conn]bool{}, left: -1}
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
	})
	go w.accept()
	return w
}

func (w *wire) url() string { return "http://" + w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil || !w.add(near, far) {
			_ = near.Close()
			if far != nil {
				_ = far.Close()
			}
			continue
		}
		go w.pass(near, far)
		go w.pass(far, near)
	}
}

func (w *wire) add(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		w.open[c] = !w.dead
	}
	return !w.dead
}

// pass carries bytes one way, and ends both ways when there are no more.
func (w *wire) pass(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		last := false
		if n > 0 {
			n, last = w.count(n)
			if _, e := to.Write(buf[:n]); e != nil && err == nil {
				err = e
			}
		}
		if last {
			w.cut()
		}
		if err != nil || last {
			if err != io.EOF {
				_ = to.Close()
			} else if c, ok := to.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
			return
		}
	}
}

// count says how many of n bytes may pass, and whether they are the last.
func (w *wire) count(n int) (may int, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < 0 {
		return n, false
	}
	may = min(n, w.left)
	w.left -= may
	if w.left == 0 {
		w.left = -1
		return may, true
	}
	return may, false
}

// cutAfter cuts everything in the middle of what is carried.
func (w *wire) cutAfter(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = bytes
}

// cut ends all connections now.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
}

// away refuses new connections, or takes them again.
func (w *wire) away(yes bool) {
	w.mu.Lock()
	w.dead = yes
	w.mu.Unlock()
	if yes {
		w.cut()
	}
}
