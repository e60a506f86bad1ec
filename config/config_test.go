package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// readCase reads a file of testdata. Its name says the kind, and lines
// "# env: NAME=value" in it are its environment.
func readCase(t *testing.T, path string) (Config, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kind := Agent
	for _, k := range []Kind{Standalone, KindCollector} {
		if strings.HasPrefix(filepath.Base(path), string(k)) {
			kind = k
		}
	}
	env := []string{"HOME=/home/user"}
	for _, m := range regexp.MustCompile(`(?m)^# env: (.*)$`).FindAllStringSubmatch(string(text), -1) {
		env = append(env, m[1])
	}
	return Parse(path, text, kind, env)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got: %s\nwant: %s", path, got, want)
	}
}

// here takes this machine's path out of messages with absolute paths.
func here(t *testing.T, s string) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(s, wd+"/", "")
}

// TestInvalid compares the whole message of each bad file.
func TestInvalid(t *testing.T) {
	paths, _ := filepath.Glob("testdata/invalid/*.yml")
	if len(paths) < 30 {
		t.Fatalf("%d bad files", len(paths))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := readCase(t, path)
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("%T is not Errors", err)
			}
			if !reflect.DeepEqual(c, Config{}) {
				t.Error("a bad file gives a Config")
			}
			if strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "not-a-real-secret") {
				t.Errorf("the message shows a secret: %v", err)
			}
			golden(t, strings.TrimSuffix(path, ".yml")+".golden", here(t, err.Error())+"\n")
		})
	}
}

// TestValid compares the settings in force of each good file.
func TestValid(t *testing.T) {
	paths, _ := filepath.Glob("testdata/valid/*.yml")
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := readCase(t, path)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range c.Redacted() {
				if s.Key == "node.name" && s.Default || s.Key == "data_dir" && s.Default || strings.Contains(s.Value, Default(Agent).DataDir) {
					continue // depends on the machine
				}
				fmt.Fprintf(&b, "%-40s %-40s %s\n", s.Key, here(t, s.Value), s.From)
			}
			golden(t, strings.TrimSuffix(path, ".yml")+".golden", here(t, b.String()))
		})
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]Bytes{
		"0": 0, "8388608": 8 * mib, "8MiB": 8 * mib, "8 mib": 8 * mib, "10GB": 10e9, "1.5GiB": 3 * gib / 2, "1B": 1, "2TiB": 2 << 40,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MiB", "10g", "1e3", "inf", "NaN", "0x10", "1_000", "-1", "+1", "1..2", "9e99", "99999999999999999999"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("%q: %d", in, got)
		}
	}
	for in, want := range map[Bytes]string{0: "0B", 1: "1B", 1000: "1KB", 1024: "1KiB", 8 * mib: "8MiB", 10e9: "10GB", 1500 * mib: "1500MiB"} {
		if got := in.String(); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "1.5d": 36 * time.Hour,
	} {
		if got, err := ParseDuration(in); err != nil || time.Duration(got) != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "-1s", "+1s", "d", "-1d", "1w", "1d-1h", "999999999d", "infd", "1dd"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
	for in, want := range map[time.Duration]string{
		90 * time.Second: "1m30s", 720 * time.Hour: "30d", 36 * time.Hour: "36h", 5 * time.Minute: "5m", 0: "0s", 100 * time.Millisecond: "100ms",
	} {
		if got := Duration(in).String(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestMinFree(t *testing.T) {
	for _, c := range []struct {
		text        string
		total, want Bytes
	}{{"5%", 100 * gib, 5 * gib}, {"5%", 20 << 40, 10 * gib}, {"20GiB", 100 * gib, 20 * gib}, {"0%", gib, 0}, {"0", gib, 0}} {
		if got := (Hold{MinFree: c.text}).MinFreeOf(c.total); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.text, c.total, got, c.want)
		}
	}
}

func TestDataDir(t *testing.T) {
	for _, c := range []struct {
		uid  int
		env  map[string]string
		want string
	}{
		{0, map[string]string{"HOME": "/root"}, "/var/lib/mesoscope"},
		{1, map[string]string{"HOME": "/home/a"}, "/home/a/.local/state/mesoscope"},
		{1, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/s"}, "/s/mesoscope"},
		{1, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "s"}, "/home/a/.local/state/mesoscope"},
		{1, nil, filepath.Join(os.TempDir(), "mesoscope")},
	} {
		if got := defaultDataDir(c.uid, func(n string) string { return c.env[n] }); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
}

// TestOrder: flag, environment, file, default.
func TestOrder(t *testing.T) {
	file := []byte("data_dir: /file\nhttp: {listen: \"127.0.0.1:1\"}\nnode: {name: file}\n")
	env := []string{"MESOSCOPE_HTTP_LISTEN=127.0.0.1:2", "MESOSCOPE_NODE_NAME=env"}
	c, err := Parse("f.yml", file, Standalone, env, Flag{"--node-name", "node.name", "flag"})
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/file" || c.HTTP.Listen != "127.0.0.1:2" || c.Node.Name != "flag" || c.Log.Level != "info" {
		t.Errorf("%+v", c)
	}
	if c.Output.Embedded.Path != "/file/standalone/store.db" {
		t.Error(c.Output.Embedded.Path)
	}
	_, err = Parse("f.yml", file, Standalone, env, Flag{"--listen", "http.listen", "nowhere"})
	want := `--listen: http.listen: "nowhere" is not host:port; write 127.0.0.1:9911 or, for all networks, :9911`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// TestVariableInVariable: a scheduler chooses port and host with the machine,
// and nothing but the program can put them where they belong.
func TestVariableInVariable(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PORT0=31005", "HOST=m7.example.net", "MESOSCOPE_HTTP_LISTEN=:${PORT0}", "MESOSCOPE_NODE_NAME=${HOST}",
		"MESOSCOPE_OUTPUT_ELASTICSEARCH_HOSTS=http://${HOST}:9200,http://es:9200"}
	c, err := Parse("f.yml", []byte("node: {name: file}\n"), Agent, env)
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != ":31005" || c.Node.Name != "m7.example.net" || strings.Join(c.Output.Elasticsearch.Hosts, " ") != "http://m7.example.net:9200 http://es:9200" {
		t.Errorf("%+v", c)
	}
	for _, s := range c.Redacted() {
		if want, is := map[string]string{"http.listen": ":${PORT0}", "output.elasticsearch.hosts": "http://${HOST}:9200,http://es:9200"}[s.Key]; is && s.Value != want {
			t.Errorf("%s is shown as %s, want %s", s.Key, s.Value, want)
		}
	}
	for variable, want := range map[string]string{
		"MESOSCOPE_HTTP_LISTEN=:${PORT9}":               "MESOSCOPE_HTTP_LISTEN: http.listen: ${PORT9} has no value; set the variable PORT9",
		"MESOSCOPE_MEMORY_LIMIT=${file:" + secret + "}": "MESOSCOPE_MEMORY_LIMIT: memory_limit: \"${file:" + secret + "}\" is not a size; write a number with B, KiB, MiB, GiB, TiB (or KB, MB, GB, TB), like 8MiB",
	} {
		if _, err := Parse("f.yml", nil, Standalone, []string{variable}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", variable, err, want)
		}
	}
}

// TestLoad reads from disk, and says what it could not read.
func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yml")
	if _, err := Load(path, Standalone); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("node: {name: n7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path, Standalone); err != nil || c.Node.Name != "n7" {
		t.Errorf("%+v %v", c, err)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Standalone); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Error(err)
	}
	if c, err := Load("", Standalone); err != nil || c.HTTP.Listen != "127.0.0.1:9912" || c.Node.Name == "" {
		t.Errorf("%+v %v", c, err)
	}
}

// TestKeys: each key is set by one variable of its own, which is not taken for
// one of Kubernetes', and is in the documentation.
func TestKeys(t *testing.T) {
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, k := range keys() {
		name := EnvName(k)
		if other, twice := seen[name]; twice {
			t.Errorf("%s sets %s and %s", name, k, other)
		}
		seen[name] = k
		if foreign.MatchString(name) {
			t.Errorf("%s is ignored as foreign", name)
		}
		if !strings.Contains(string(doc), "`"+k+"`") {
			t.Errorf("docs/configuration.md does not speak of `%s`", k)
		}
	}
	for _, k := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)`").FindAllStringSubmatch(string(doc), -1) {
		if _, ok := seen[EnvName(k[1])]; !ok {
			t.Errorf("docs/configuration.md explains `%s`, which is no key", k[1])
		}
	}
}

// TestDocumentedExample reads the YAML block of the documentation.
func TestDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) == 0 {
		t.Fatal("no example")
	}
	for _, b := range blocks {
		if _, err := Parse("docs/configuration.md", b[1], Agent, []string{"REGION=eu"}); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParse: whatever the file holds, Parse returns either a Config that obeys
// the rules or errors whose places are inside the file; it never panics.
func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/*.yml")
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a *a"))
	f.Add([]byte("node: &n {name: *n}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "file:") || strings.Contains(string(text), "_file") {
			return // would read whatever the fuzzer names, devices too
		}
		c, err := Parse("f.yml", text, Standalone, nil)
		if err == nil {
			if (c.Output.Elasticsearch == nil) == (c.Output.Embedded == nil) {
				t.Error("not exactly one output")
			}
			if c.MemoryLimit < minMemory || len(c.Redacted()) == 0 {
				t.Errorf("%+v", c)
			}
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		// YAML ends lines at a lone \r, too
		lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n")
		for _, e := range all {
			if e.Problem == "" || e.Line > len(lines)+1 {
				t.Errorf("%+v in %d lines", e, len(lines))
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	f := func(text, name, secret string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, s, err := Credentials(path)
		if n != name || s != secret || (err == nil) != (name != "") {
			t.Errorf("%q: %q %q %v", text, n, s, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is shown: %v", err)
		}
	}
	f("ops hunter2\n", "ops", "hunter2")
	f("ops:hunter 2:3", "ops", "hunter 2:3")
	f("ops\thunter2", "ops", "hunter2")
	f(`{"principal": "ops", "secret": "hunter2"}`, "ops", "hunter2")
	for _, bad := range []string{"", "hunter2", ":hunter2", "ops:", "a b\nc hunter2", `{"principal":"hunter2"}`, `{hunter2`} {
		f(bad, "", "")
	}
}
