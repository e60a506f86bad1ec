package web_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mesoscope/web"
	"mesoscope/web/storetest"
)

type following []web.Source

func (f following) Sources() []web.Source { return f }

func get(t *testing.T, h http.Handler, path, host string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(b)
}

func TestAssets(t *testing.T) {
	h := web.New(&storetest.Store{}, web.Options{})
	err := filepath.WalkDir("static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		resp, body := get(t, h, "/"+filepath.ToSlash(p), "x")
		if resp.StatusCode != 200 || body != string(want) {
			t.Errorf("%s: %d, %d bytes of %d", p, resp.StatusCode, len(body), len(want))
		}
		etag := resp.Header.Get("ETag")
		if resp, body := get(t, h, "/"+filepath.ToSlash(p), "x", "If-None-Match", etag); etag == "" || resp.StatusCode != 304 || body != "" {
			t.Errorf("%s: asked again with %s: %d", p, etag, resp.StatusCode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, body := get(t, h, "/", "x")
	if !strings.Contains(body, "<title>Mesoscope</title>") || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("/: %s %.80s", resp.Header.Get("Content-Type"), body)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self';") || strings.Contains(csp, "unsafe") {
		t.Errorf("content security policy: %s", csp)
	}
	for _, path := range []string{"/static/", "/static/none.js", "/nothing", "/static/../web.go"} {
		if resp, _ := get(t, h, path, "x"); resp.StatusCode != 404 && resp.StatusCode != 307 && resp.StatusCode != 301 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// The page must work where nothing but this machine can be reached, and text
// must never become markup.
func TestOwnFilesLoadNothingAndWriteNoMarkup(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(src|href)="https?:|\burl\(|@import|from '[^.]|(innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser)`)
	for _, pattern := range []string{"static/*.html", "static/*.css", "static/js/*.js"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if m := elsewhere.Find(b); m != nil {
				t.Errorf("%s has %q", f, m)
			}
			if strings.HasSuffix(f, ".html") && regexp.MustCompile(`<[^>]* (on\w+|style)=|<script>|<style`).Match(b) {
				t.Errorf("%s has inline script or style, which the content security policy refuses", f)
			}
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	h := web.New(&storetest.Store{}, web.Options{LoopbackOnly: true})
	for host, want := range map[string]int{
		"localhost:9912": 200, "127.0.0.1:9912": 200, "[::1]:9912": 200, "LOCALHOST": 200, "127.8.8.8": 200,
		"evil.example": 421, "evil.example:9912": 421, "127.0.0.1.evil.example": 421, "10.0.0.1:9912": 421, "": 421,
	} {
		if resp, _ := get(t, h, "/api/v1/search", host); resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", host, resp.StatusCode, want)
		}
	}
	if resp, _ := get(t, web.New(&storetest.Store{}, web.Options{}), "/", "logs.example"); resp.StatusCode != 200 {
		t.Errorf("not on loopback only: %d", resp.StatusCode)
	}
}

func TestSources(t *testing.T) {
	if resp, _ := get(t, web.New(&storetest.Store{}, web.Options{}), "/api/v1/sources", "x"); resp.StatusCode != 404 {
		t.Errorf("without sources: %d", resp.StatusCode)
	}
	_, body := get(t, web.New(&storetest.Store{}, web.Options{Sources: following(nil)}), "/api/v1/sources", "x")
	if body != "[]\n" {
		t.Errorf("none: %q", body)
	}
	_, body = get(t, web.New(&storetest.Store{}, web.Options{Sources: following{{ID: "a", LagBytes: 3}}}), "/api/v1/sources", "x")
	var list []map[string]any
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 {
		t.Fatal(err, body)
	}
	for _, name := range strings.Fields("id container service stream driver path size offset settled lag_bytes lag_seconds state guarantee metadata_from last_error") {
		if _, ok := list[0][name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}
