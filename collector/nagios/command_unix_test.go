//go:build unix

package nagios

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/collector/state"
)

func TestCommandFile(t *testing.T) {
	dir := t.TempDir()
	c := &commandFile{path: filepath.Join(dir, "nagios.cmd")}
	some := []Service{{Host: "mesoscope-c1", Name: "/prod/web health", Status: state.Critical, Text: "0 of 1", Perfdata: "bad=1", Long: []string{"n1: a", "n2: b"}}, {Host: "mesoscope-c1", Name: "x"}}
	refused := func(what, want string, services []Service) {
		t.Helper()
		if taken, err := c.take(t.Context(), services); err == nil || taken == len(services) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d taken, %v", what, taken, err)
		}
	}
	refused("no file", "no such file", some)
	if err := syscall.Mkfifo(c.path, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("nobody reads", "Nagios does not run", some)

	r, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if taken, err := c.take(t.Context(), some); taken != 2 || err != nil {
		t.Fatalf("%d taken, %v", taken, err)
	}
	text := make([]byte, 1<<20)
	n, err := r.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text[:n]), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "[") || !strings.HasSuffix(lines[0], `] PROCESS_SERVICE_CHECK_RESULT;mesoscope-c1;/prod/web health;2;CRITICAL: 0 of 1 | bad=1\nn1: a\nn2: b`) {
		t.Errorf("written: %q", lines)
	}

	// One that is read no more is full in the end, and that is an error.
	refused("nobody takes it out", "is full", slices.Repeat(some, 10_000))
	if n, err := io.ReadAtLeast(r, text, 1); err != nil || bytes.Count(text[:n], []byte("\n")) == 0 {
		t.Errorf("%d bytes, %v", n, err)
	}

	c.path = filepath.Join(dir, "file")
	if err := os.WriteFile(c.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a file", "is no named pipe", some)
}

func TestLineFits(t *testing.T) {
	s := Service{Host: "mesoscope-c1", Name: "x", Text: "text", Perfdata: "bad=1", Long: slices.Repeat([]string{"né\\"}, 2000)}
	for range 8 {
		b := line(s, time.Unix(1, 0))
		if len(b) > 4095 || b[len(b)-1] != '\n' || bytes.Count(b, []byte("\n")) != 1 || (len(b)-1-len(bytes.TrimRight(b[:len(b)-1], `\`)))%2 != 0 || !bytes.Equal(b, bytes.ToValidUTF8(b, []byte("?"))) {
			t.Errorf("%d bytes, ends %q", len(b), b[len(b)-10:])
		}
		s.Text += "a"
	}
}
