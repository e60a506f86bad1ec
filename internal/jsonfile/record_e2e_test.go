//go:build e2e

package jsonfile

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "record what this machine's dockerd writes into testdata")

// TestDockerd gives the recorded input to a real dockerd and compares the files
// that it writes with those of a Writer. It needs root, for Docker's folder.
func TestDockerd(t *testing.T) {
	image := os.Getenv("MESOSCOPE_TEST_IMAGE")
	if image == "" {
		image = "test/busybox"
	}
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			args := append([]string{"create", "-i", "--network=none"}, r.dockerArgs...)
			out, err := exec.Command("docker", append(args, image, "cat")...).Output()
			if err != nil {
				t.Skipf("docker create: %v: needs a running dockerd and the image %s", err, image)
			}
			id := strings.TrimSpace(string(out))
			t.Cleanup(func() { exec.Command("docker", "rm", "-f", id).Run() })
			run := exec.Command("docker", "start", "-a", "-i", id)
			run.Stdin = bytes.NewReader(r.input())
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("docker start: %v: %.200s", err, out)
			}
			path, err := exec.Command("docker", "inspect", "-f", "{{.LogPath}}", id).Output()
			if err != nil {
				t.Fatal(err)
			}
			files := readLog(t, strings.TrimSpace(string(path)))
			if *update {
				writeRecording(t, filepath.Join("testdata", r.name), files)
			}
			check(t, r, files)
		})
	}
}

// writeRecording keeps each file gzipped with the dockerd's own Extra.
func writeRecording(t *testing.T, dir string, s logSet) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for suffix, data := range s.content {
		var b bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		zw.Extra = []byte(s.extra[suffix])
		zw.Write(data)
		zw.Close()
		if err := os.WriteFile(filepath.Join(dir, "log"+strings.TrimSuffix(suffix, ".gz")+".gz"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
