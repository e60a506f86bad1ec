package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)

// entrySize is the size of the entries that write makes.
const entrySize = len(`{"log":"line 0\n","stream":"stdout","time":"2026-11-23T11:00:00Z"}` + "\n")

func open(t *testing.T, path string, o Options) *Writer {
	t.Helper()
	w, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func write(t *testing.T, w *Writer, n int) {
	t.Helper()
	for i := range n {
		if err := w.WriteLine("stdout", fmt.Appendf(nil, "line %d", i), at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRotationWithOneFile holds what a descriptor opened before the rotation
// sees: everything after an unlink, only the new entries after a truncation.
func TestRotationWithOneFile(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		t.Run(fmt.Sprintf("inPlace=%v", inPlace), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x-json.log")
			w := open(t, path, Options{MaxSize: 3*int64(entrySize) + 1, MaxFile: 1, InPlace: inPlace})
			write(t, w, 1)
			held, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			write(t, w, 4) // the fourth is still within max-size, the fifth rotates
			data, err := io.ReadAll(held)
			if err != nil {
				t.Fatal(err)
			}
			want := 4
			if inPlace {
				want = 1
			}
			if n := bytes.Count(data, []byte("\n")); n != want {
				t.Errorf("the old descriptor sees %d entries, want %d", n, want)
			}
			now := readLog(t, path)
			if len(now.content) != 1 || bytes.Count(now.content[""], []byte("\n")) != 1 {
				t.Errorf("the folder holds %q, want one file with one entry", now.content)
			}
		})
	}
}

func TestRotationDropsOldest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x-json.log")
	w := open(t, path, Options{MaxSize: int64(entrySize), MaxFile: 3, Compress: true})
	write(t, w, 10)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := readLog(t, path)
	for suffix, want := range map[string]string{"": "line 9", ".1.gz": "line 8", ".2.gz": "line 7"} {
		if !bytes.Contains(got.content[suffix], []byte(want)) {
			t.Errorf("file %q is %q, want %s", suffix, got.content[suffix], want)
		}
	}
	if len(got.content) != 3 {
		t.Errorf("%d files, want 3", len(got.content))
	}
}

// TestOpenAgain holds that a container's second run goes on in the same file
// and that its old size counts.
func TestOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x-json.log")
	w := open(t, path, Options{MaxSize: 2 * int64(entrySize), MaxFile: 2})
	write(t, w, 2)
	w.Close()
	if err := w.WriteLine("stdout", nil, at); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	write(t, open(t, path, Options{MaxSize: 2 * int64(entrySize), MaxFile: 2}), 1)
	if got := readLog(t, path); len(got.content) != 2 {
		t.Errorf("%d files, want 2: the first run's size was forgotten", len(got.content))
	}
}

// TestForeignTruncate holds that dockerd's missing O_APPEND is copied: a file
// that somebody truncates after a rotation gets a hole of NULs.
func TestForeignTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x-json.log")
	w := open(t, path, Options{MaxSize: 2 * int64(entrySize), MaxFile: 2})
	write(t, w, 3) // the third one is alone in the second file
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, w, 1)
	if got := readLog(t, path).content[""]; len(got) == 0 || got[0] != 0 {
		t.Errorf("no NULs after truncation: %q", got)
	}
}

func TestBothStreamsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x-json.log")
	w := open(t, path, Options{})
	var wg sync.WaitGroup
	for _, stream := range []string{"stdout", "stderr"} {
		wg.Go(func() {
			if err := w.Copy(stream, strings.NewReader(strings.Repeat(stream+strings.Repeat("x", 40000)+"\n", 50))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lines := map[string]int{}
	for entry := range bytes.Lines(readLog(t, path).content[""]) {
		var e struct{ Log, Stream string }
		if err := json.Unmarshal(entry, &e); err != nil {
			t.Fatal(err)
		}
		lines[e.Stream] += strings.Count(e.Log, "\n")
	}
	if lines["stdout"] != 50 || lines["stderr"] != 50 {
		t.Errorf("lines %v, want 50 each", lines)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "a"), Options{MaxFile: 1, MaxSize: 1, Compress: true}); err == nil {
		t.Error("compress with one file was accepted; dockerd refuses it")
	}
	if err := open(t, filepath.Join(dir, "b"), Options{}).WritePartial("stdout", make([]byte, ChunkSize+1), at, true); err == nil {
		t.Error("a piece of more than ChunkSize bytes was accepted")
	}
}

func TestWriteConfig(t *testing.T) {
	root := t.TempDir()
	id := strings.Repeat("ab", 32)
	c := Container{
		ID: id, Name: "mesos-1", Image: "shop/cart:2", Labels: map[string]string{"team": "a"},
		Env: []string{"MARATHON_APP_ID=/shop/cart"}, Created: at, Running: true,
		Log: Options{MaxSize: 1_000_000, MaxFile: 3, Compress: true, Attrs: map[string]string{"MARATHON_APP_ID": "/shop/cart"}},
	}
	for _, running := range []bool{true, false} {
		c.Running = running
		if err := WriteConfig(root, c); err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID, Name, LogPath string
			State             struct{ Running bool }
			Config            struct {
				Image  string
				Env    []string
				Labels map[string]string
			}
			Created time.Time
		}
		readJSON(t, filepath.Join(Dir(root, id), "config.v2.json"), &got)
		if got.ID != id || got.Name != "/mesos-1" || got.LogPath != LogPath(root, id) || got.State.Running != running ||
			got.Config.Image != "shop/cart:2" || got.Config.Labels["team"] != "a" || !got.Created.Equal(at) || len(got.Config.Env) != 1 {
			t.Errorf("config.v2.json is %+v", got)
		}
	}
	var host struct {
		LogConfig struct {
			Type   string
			Config map[string]string
		}
	}
	readJSON(t, filepath.Join(Dir(root, id), "hostconfig.json"), &host)
	if got, want := fmt.Sprint(host.LogConfig), "{json-file map[compress:true env:MARATHON_APP_ID max-file:3 max-size:1000000]}"; got != want {
		t.Errorf("LogConfig is %s, want %s", got, want)
	}
	if names, _ := filepath.Glob(filepath.Join(Dir(root, id), ".tmp*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}
