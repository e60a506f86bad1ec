package discover

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/config"
)

// A fakeEngine is the part of Docker's API that discover uses, on a unix
// socket, with the answers of dockerd 20.10.
type fakeEngine struct {
	t      *testing.T
	socket string
	server *httptest.Server

	mu         sync.Mutex
	containers map[string]*fakeContainer
	listeners  map[chan string]bool // event streams
	down       bool                 // every request fails
	inspects   int
	version    string // "": does not tell
}

type fakeContainer struct {
	name, driver string
	tty, running bool
	log          []entry
	started      int
	finished     string
	cut          int           // a logs response ends without notice after so many bytes; 0: never
	endless      bool          // a followed stream stays open when the container has ended
	more         chan struct{} // closed when the log or the state changed
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &fakeEngine{t: t, socket: filepath.Join(dir, "s"), containers: make(map[string]*fakeContainer), listeners: make(map[chan string]bool)}
	e.serve()
	t.Cleanup(func() { e.server.CloseClientConnections(); e.server.Close() })
	return e
}

func (e *fakeEngine) serve() {
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		e.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("API-Version", "1.41") })
	mux.HandleFunc("/v1.41/version", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.version == "" {
			http.Error(w, `{"message":"no such page"}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"Version": e.version})
	})
	mux.HandleFunc("/v1.41/events", e.events)
	mux.HandleFunc("/v1.41/containers/json", e.list)
	mux.HandleFunc("/v1.41/containers/{id}/json", e.inspect)
	mux.HandleFunc("/v1.41/containers/{id}/logs", e.logs)
	e.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		down := e.down
		e.mu.Unlock()
		if down {
			http.Error(w, `{"message":"the engine is starting"}`, http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	})}}
	e.server.Start()
}

// change does something to a container and tells the listeners.
func (e *fakeEngine) change(id, action string, do func(c *fakeContainer)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.containers[id]
	if c == nil {
		c = &fakeContainer{driver: jsonFile, more: make(chan struct{})}
		e.containers[id] = c
	}
	if do != nil {
		do(c)
	}
	close(c.more)
	c.more = make(chan struct{})
	if action == "destroy" {
		delete(e.containers, id)
	}
	if action == "" {
		return
	}
	msg := fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q}}`, action, id)
	for l := range e.listeners {
		l <- msg
	}
}

func (e *fakeEngine) events(w http.ResponseWriter, r *http.Request) {
	l := make(chan string, 1000)
	e.mu.Lock()
	e.listeners[l] = true
	e.mu.Unlock()
	defer func() { e.mu.Lock(); delete(e.listeners, l); e.mu.Unlock() }()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case msg := <-l:
			fmt.Fprintln(w, msg)
			w.(http.Flusher).Flush()
		}
	}
}

func (e *fakeEngine) list(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []map[string]any{}
	for id, c := range e.containers {
		state := "exited"
		if c.running {
			state = "running"
		}
		all = append(all, map[string]any{"Id": id, "Names": []string{"/linked/alias", "/" + c.name}, "Image": "web:3", "State": state, "Created": t0.Unix()})
	}
	_ = json.NewEncoder(w).Encode(all)
}

func (e *fakeEngine) inspect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inspects++
	id := r.PathValue("id")
	c := e.containers[id]
	if c == nil {
		http.Error(w, `{"message":"No such container: `+id+`"}`, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Name": "/" + c.name, "Created": t0.Format(time.RFC3339Nano), "Image": "sha256:1",
		"LogPath": "/nonexistent/" + id + "-json.log", "State": map[string]any{"Running": c.running, "StartedAt": fmt.Sprint(c.started), "FinishedAt": c.finished},
		"Config":     map[string]any{"Image": "web:3", "Tty": c.tty, "Labels": map[string]string{"app": "web"}, "Env": []string{"MESOS_TASK_ID=t", "SECRET=x"}},
		"HostConfig": map[string]any{"NetworkMode": "default", "LogConfig": map[string]any{"Type": c.driver}}})
}

func (e *fakeEngine) logs(w http.ResponseWriter, r *http.Request) {
	var since time.Time
	if s := r.FormValue("since"); s != "" {
		var sec, nsec int64
		if n, err := fmt.Sscanf(s, "%d.%d", &sec, &nsec); n != 2 {
			e.t.Errorf("since=%s: %v", s, err)
		}
		since = time.Unix(sec, nsec)
	}
	if r.FormValue("timestamps") != "1" || r.FormValue("stdout") != "1" || r.FormValue("stderr") != "1" {
		e.t.Errorf("logs asked with %s", r.URL.RawQuery)
	}
	id, sent := r.PathValue("id"), 0
	w.WriteHeader(http.StatusOK)
	for next := 0; ; {
		e.mu.Lock()
		c := e.containers[id]
		if c == nil {
			e.mu.Unlock()
			return
		}
		var out strings.Builder
		for ; next < len(c.log); next++ {
			m := c.log[next]
			if m.time.Before(since) {
				continue
			}
			details := ""
			if r.FormValue("details") == "1" {
				details = string(m.attrs) + "IMAGE_NAME=web%3A3 "
			}
			switch text := stamp(m.time) + details + string(m.log); {
			case c.tty:
				out.WriteString(text)
			case m.stream == "stderr":
				out.WriteString(frame(2, text))
			default:
				out.WriteString(frame(1, text))
			}
		}
		more, running, cut := c.more, c.running || c.endless && next > 0 && sent > 0, c.cut
		e.mu.Unlock()
		text := out.String()
		if cut > 0 && sent+len(text) > cut {
			_, _ = w.Write([]byte(text[:max(0, cut-sent)]))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(text))
		w.(http.Flusher).Flush()
		sent += len(text)
		if r.FormValue("follow") != "1" || !running {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-more:
		}
	}
}

func (e *fakeEngine) options(t *testing.T) Options {
	return Options{CopyDir: filepath.Join(t.TempDir(), "api"),
		Docker: config.Docker{Root: filepath.Join(t.TempDir(), "none"), Socket: "unix://" + e.socket}}
}

// Without Docker's files everything comes from the API; an engine that is
// restarted takes nothing away.
func TestAPIAlone(t *testing.T) {
	e := newFakeEngine(t)
	one, two := fullID("1"), fullID("2")
	e.change(one, "create", func(c *fakeContainer) {
		c.name, c.running = "one", true
		c.log = []entry{{time: t0, stream: "stdout", log: []byte("hi\n")}}
	})
	var log lockedBuffer
	opt := e.options(t)
	opt.Log = textLog(&log)
	s := discoverFor(t, opt)
	c := s.container(one, func(c Container) bool { return c.Name == "one" && c.ViaAPI })
	if c.Image != (Image{"web", "3", "sha256:1"}) || len(c.Env) != 1 || c.Network != "bridge" || c.Driver != jsonFile || c.From["labels"] != fromAPI || c.From["log_path"] != fromCopy {
		t.Errorf("%+v", c)
	}
	until(t, "the line", 10*time.Second, func() bool { b, _ := os.ReadFile(c.LogPath); return strings.Contains(string(b), `"log":"hi\n"`) })
	e.change(one, "rename", func(c *fakeContainer) { c.name = "eins" })
	s.container(one, func(c Container) bool { return c.Name == "eins" })
	e.change(two, "create", func(c *fakeContainer) { c.name, c.driver = "two", "none" })
	s.container(two, func(c Container) bool { return c.Problem == "not readable: driver none" && !c.Running })

	e.mu.Lock()
	e.down = true
	e.mu.Unlock()
	e.server.CloseClientConnections()
	until(t, "several tries", 10*time.Second, func() bool { return log.count("docker api: cannot be used") == 1 })
	s.mu.Lock()
	if len(s.set) != 2 {
		t.Errorf("the engine's absence left %d of 2", len(s.set))
	}
	s.mu.Unlock()
	e.mu.Lock()
	e.down = false
	e.mu.Unlock()
	e.change(two, "destroy", nil) // nobody hears it: the list must tell
	s.wait("the end of two", func(set map[string]Container) bool { _, there := set[two]; return !there && len(set) == 1 })
	if log.count("docker api: cannot be used") != 1 || log.count("docker api is back") != 1 || log.count("at least once instead of exactly once") != 1 {
		t.Errorf("not said once each:\n%s", log.String())
	}
}

// With Docker's files in reach the API adds names and states; nobody is
// inspected whose files say the same.
func TestAPIBesideFiles(t *testing.T) {
	e := newFakeEngine(t)
	r := newFakeRoot(t)
	id := fullID("1")
	r.mkdir(id)
	r.write(id, "config.v2.json", runningConfig)
	r.write(id, "hostconfig.json", jsonFileHost)
	e.change(id, "create", func(c *fakeContainer) { c.name, c.running = "api-name", true })
	opt := e.options(t)
	opt.Docker.Root = r.root
	s := discoverFor(t, opt)
	// Whichever is read first: in the end both are known.
	c := s.container(id, func(c Container) bool { return c.Name == "api-name" && c.From["image"] == fromConfig })
	if c.ViaAPI || c.LogPath != filepath.Join(r.dir(id), id+"-json.log") || c.From["name"] != fromAPI || c.From["image"] != fromConfig || c.Image.Tag != "3.1" {
		t.Errorf("%+v", c)
	}
	e.mu.Lock()
	if e.inspects != 0 {
		t.Errorf("%d inspects", e.inspects)
	}
	e.mu.Unlock()
	if err := os.RemoveAll(r.dir(id)); err != nil { // its end, though the API has not noticed
		t.Fatal(err)
	}
	s.wait("the end", func(set map[string]Container) bool { return len(set) == 0 })
}

// dockerd's follower of a journal may go on for ever when the container has ended.
func TestLogNeverEnds(t *testing.T) {
	e := newFakeEngine(t)
	id := fullID("1")
	en := entry{time: t0, stream: "stdout", log: []byte("line\n")}
	e.change(id, "create", func(c *fakeContainer) {
		c.name, c.driver, c.running, c.endless = "one", "local", true, true
		c.log = append(c.log, en)
	})
	s := discoverFor(t, e.options(t))
	path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
	until(t, "the line", 10*time.Second, func() bool { fi, err := os.Stat(path); return err == nil && fi.Size() > 0 })
	e.change(id, "die", func(c *fakeContainer) { c.running = false })
	s.container(id, func(c Container) bool { return c.ViaAPI && !c.Running })
	if got, err := os.ReadFile(path); err != nil || string(got) != string(encode(t, en)) {
		t.Errorf("%v\n%s", err, got)
	}
}

// A log whose connection breaks at every place is copied once.
func TestLogCut(t *testing.T) {
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("tty=%v", tty), func(t *testing.T) {
			e := newFakeEngine(t)
			id := fullID("1")
			var want strings.Builder
			for i := range 60 {
				en := entry{time: t0.Add(time.Duration(i/2) * time.Second), stream: "stdout", log: fmt.Appendf(nil, "line %d\n", i/3)}
				copied := en
				if i%10 == 4 {
					en.log = []byte("a piece ")
					en.attrs = fmt.Appendf(nil, "CONTAINER_PARTIAL_ID=%d,CONTAINER_PARTIAL_LAST=false,", i)
					copied = en
				}
				if i%10 == 5 { // journald stamps each piece; in the copy they have one time
					en.time = t0.Add(time.Duration((i-1)/2)*time.Second + 100*time.Millisecond)
					en.attrs = fmt.Appendf(nil, "CONTAINER_PARTIAL_ID=%d,CONTAINER_PARTIAL_LAST=true,", i-1)
				}
				if i%4 == 0 && !tty && i%10 != 4 {
					en.stream, copied.stream = "stderr", "stderr"
				}
				e.change(id, "", func(c *fakeContainer) {
					c.name, c.driver, c.tty, c.running, c.cut = "one", "journald", tty, true, 10
					c.log = append(c.log, en)
				})
				want.Write(encode(t, copied))
			}
			s := discoverFor(t, e.options(t))
			path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
			for cut := 20; cut < 1500; cut += 97 { // each try comes further, and dies again
				e.change(id, "start", func(c *fakeContainer) { c.cut = cut })
				time.Sleep(5 * time.Millisecond) // only spreads the tries
			}
			e.change(id, "die", func(c *fakeContainer) { c.cut, c.running = 0, false })
			s.container(id, func(c Container) bool { return c.ViaAPI && !c.Running })
			got, err := os.ReadFile(path)
			if err != nil || string(got) != want.String() {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want.String())
			}
			e.change(id, "start", func(c *fakeContainer) {
				c.running = true
				c.started++
				c.log = append(c.log, entry{time: t0.Add(time.Hour), stream: "stdout", log: []byte("again\n")})
			})
			until(t, "the next run's line", 10*time.Second, func() bool {
				b, _ := os.ReadFile(path)
				return strings.HasSuffix(string(b), "T13:00:00.123456789Z\"}\n")
			})
			e.change(id, "destroy", nil)
			s.container(id, func(c Container) bool { return !c.Running && c.ViaAPI })
		})
	}
}

// dockerd makes a container's directory, and hostconfig.json in it, before its
// API knows the container: that is not one that has gone.
func TestCopyBeforeEngineKnows(t *testing.T) {
	e := newFakeEngine(t)
	r := newFakeRoot(t)
	id := fullID("1")
	opt := e.options(t)
	opt.Docker.Root = r.root
	r.mkdir(id)
	r.write(id, "hostconfig.json", `{"LogConfig":{"Type":"local","Config":{}},"NetworkMode":"default"}`)
	s := discoverFor(t, opt)
	until(t, "the follower's question", 10*time.Second, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.inspects > 0
	})
	en := entry{time: t0, stream: "stdout", log: []byte("hi\n")}
	e.change(id, "create", func(c *fakeContainer) { c.name, c.driver, c.log = "one", "local", []entry{en} })
	path := s.container(id, func(c Container) bool { return c.ViaAPI && !c.Running }).LogPath
	if b, err := os.ReadFile(path); err != nil || string(b) != string(encode(t, en)) {
		t.Errorf("%v\n%s", err, b)
	}
}

// What a container prints last may reach the journal when it has ended, and
// the log has been read to what was its end.
func TestJournalLags(t *testing.T) {
	e := newFakeEngine(t)
	id := fullID("1")
	first := entry{time: t0, stream: "stdout", log: []byte("first\n")}
	e.change(id, "create", func(c *fakeContainer) {
		c.name, c.driver, c.log, c.finished = "one", "journald", []entry{first}, time.Now().Format(time.RFC3339Nano)
	})
	s := discoverFor(t, e.options(t))
	path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
	until(t, "the first line", 10*time.Second, func() bool { b, _ := os.ReadFile(path); return string(b) == string(encode(t, first)) })
	last := entry{time: t0.Add(1), stream: "stdout", log: []byte("last\n")}
	e.change(id, "", func(c *fakeContainer) { c.log = append(c.log, last) })
	s.container(id, func(c Container) bool { return !c.Running }) // nothing comes any more
	if b, err := os.ReadFile(path); err != nil || string(b) != string(encode(t, first))+string(encode(t, last)) {
		t.Errorf("%v\n%s", err, b)
	}
}

// A container that went while its lines waited for what Mesos knows is read: it
// does not wait for what nobody will say.
func TestLeftoverWaitsForNobody(t *testing.T) {
	f := &follower{id: fullID("1"), copy: newCopy(filepath.Join(t.TempDir(), "x"), func(os.FileInfo) bool { return false })}
	f.know(Container{ID: f.id, Waiting: true})
	r := &readback{followers: map[string]*follower{f.id: f}}
	if c, ok := r.leftover(f.id); !ok || c.Waiting {
		t.Errorf("%v %+v", ok, c)
	}
}

// A container that a new rule excludes is not copied any further.
func TestExcludedCopyGoes(t *testing.T) {
	e := newFakeEngine(t)
	id := fullID("1")
	e.change(id, "create", func(c *fakeContainer) { c.name, c.driver, c.running = "one", "local", true })
	opt := e.options(t)
	s := discoverFor(t, opt)
	path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
	until(t, "the copy", 10*time.Second, func() bool { return readable(path) == nil })
	s.stop()
	opt.Docker.Exclude = []string{"one"}
	s = discoverFor(t, opt)
	until(t, "its end", 10*time.Second, func() bool { _, err := os.Stat(filepath.Dir(path)); return os.IsNotExist(err) })
	until(t, "that it is listed as excluded", 10*time.Second, func() bool { // just after its copy has gone
		x := s.d.Excluded()
		return len(x) == 1 && x[0].ID == id
	})
}

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) count(s string) int { return strings.Count(l.String(), s) }
