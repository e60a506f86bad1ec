package main

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mesoscope/internal/tools/thirdparty"
)

var update = flag.Bool("update", false, "write THIRD_PARTY.md anew")

// importRules: a package of the first column imports nothing of the second,
// unless except names the one or the other. A package stands for all below it,
// "*" for the whole module; see matches for the patterns.
var importRules = []struct {
	pkg    string
	not    []string
	except []string
	why    string
}{
	{"record", []string{"mesoscope/"}, nil, "everybody uses it; it must be free of everything"},
	{"receipt", []string{"mesoscope/"}, nil, "who writes receipts and who reads them share its shape and nothing else"},
	{"config", []string{"mesoscope/"}, nil, "it is read by all parts and must know none of them"},
	{"mesos", []string{"mesoscope/"}, nil, "what Mesos and Marathon say over HTTP is the same for everybody who asks"},
	{"internal", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/search", "mesoscope/shipper", "mesoscope/web"}, nil,
		"code without a product word in its name cannot use the product"},
	{"search", []string{"mesoscope/agent", "mesoscope/shipper", "mesoscope/command", "mesoscope/web"}, nil, "imports go one way; questions know nothing of how lines came"},
	{"shipper", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/web", "mesoscope/search"}, nil, "imports go one way; a sink knows batches only"},
	{"agent", []string{"mesoscope/command", "mesoscope/web", "mesoscope/search"}, nil, "imports go one way; the page gets its data through interfaces"},
	{"agent/tail", []string{"mesoscope/agent/discover", "mesoscope/shipper"}, nil, "following files needs a path and a Stream, whoever found them and whoever takes the lines"},
	{"agent/pipeline", []string{"mesoscope/agent/tail", "mesoscope/agent/discover", "mesoscope/shipper"}, nil, "bytes to events is pure, so that it can be fuzzed alone"},
	{"agent/status", []string{"mesoscope/"}, nil, "the process and its readers share these shapes and nothing else"},
	{"deploy", []string{"mesoscope/"}, nil, "what is brought for the programs of others is files, and how they get there"},
	{"checks", []string{"mesoscope/"}, nil, "a check knows its target and nothing of who asks, so that collector, agent and command line can use it"},
	{"checks/schedule", []string{"mesoscope/"}, nil, "when something runs has nothing to do with what it is"},
	{"collector/alert", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/config", "mesoscope/shipper", "mesoscope/embedded", "mesoscope/search", "mesoscope/web"}, nil,
		"an output of the collector knows the shapes of collector/check, and nothing of who fills them"},
	{"collector/document", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/config", "mesoscope/shipper", "mesoscope/embedded", "mesoscope/search", "mesoscope/web"}, nil,
		"documents go to a sink through record.Batch, whichever sink it is"},
	{"collector/nagios", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/config", "mesoscope/shipper", "mesoscope/embedded", "mesoscope/search", "mesoscope/web"}, nil,
		"an output of the collector knows the shapes of collector/check, and nothing of who fills them"},
	{"collector/probe", []string{"mesoscope/"}, []string{"mesoscope/checks"}, "it stands in for another program and knows nothing of the collector around it"},
	{"collector", []string{"mesoscope/agent", "mesoscope/command", "mesoscope/web"}, nil, "imports go one way; what a collector needs of the others is handed to it"},
	{"web", []string{"mesoscope/agent", "mesoscope/shipper", "mesoscope/command"}, []string{"mesoscope/agent/status"}, "the page gets its data through interfaces that it declares"},
	{"demo", []string{"mesoscope/agent", "mesoscope/shipper", "mesoscope/search", "mesoscope/web", "mesoscope/command"}, nil, "the sample workload writes log files as Docker does; it must not know who reads them"},
	{"*", []string{"github.com/docker/"}, []string{"agent/discover"}, "Docker is known in one place, so that another engine is one more source"},
	{"*", []string{"github.com/elastic/"}, []string{"shipper", "search", "test"}, "Elasticsearch is known to the two stores only"},
	{"*", []string{"modernc.org/sqlite"}, []string{"embedded"}, "SQL ends at the store in a file"},
	{"*", []string{"github.com/goccy/go-yaml"}, []string{"config", "collector/target", "collector/declare", "collector/probe", "test"}, "YAML ends where the Config begins; files of targets, of probe modules and checks.yml are YAML too"},
	{"*", []string{"github.com/alecthomas/kong"}, []string{"command"}, "parts are called by functions, not by flags"},
	{"*", []string{"github.com/miekg/dns", "github.com/go-sql-driver/mysql", "github.com/jackc/"}, []string{"checks", "collector/probe"}, "protocols of others are spoken by checks only, and by what stands in for another prober"},
	{"*", []string{"=log"}, nil, "messages go through log/slog, which carries level and fields"},
	{"*", []string{"=math/rand"}, nil, "math/rand/v2 has better generators and no global seed"},
}

// A source is one Go file without what it does inside of functions.
type source struct {
	path    string // "agent/tail/tail.go"
	pkg     string // "agent/tail"; "." is the root
	test    bool
	file    *ast.File
	imports []string
}

// sources parses all Go files of the module, whatever their build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := source{path: path, pkg: filepath.Dir(path), test: strings.HasSuffix(path, "_test.go"), file: f}
		for _, i := range f.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// matches says whether a package path falls under a pattern: "a" is a and all
// below it, "a/" all that begins so, "=a" a alone.
func matches(path, pattern string) bool {
	if exact, ok := strings.CutPrefix(pattern, "="); ok {
		return path == exact
	}
	return strings.HasPrefix(path, pattern) && strings.HasSuffix(pattern, "/") ||
		path == pattern || strings.HasPrefix(path, pattern+"/")
}

// broken is the reason why package pkg must not import path, or "".
func broken(pkg, path string) string {
	own := strings.TrimPrefix(path, "mesoscope/")
	for _, r := range importRules {
		if r.pkg != "*" && (!matches(pkg, r.pkg) || path != own && matches(own, r.pkg)) {
			continue // the rule is not about pkg, or pkg imports what is below it
		}
		allowed := slices.ContainsFunc(r.except, func(e string) bool { return matches(pkg, e) || matches(path, e) })
		if !allowed && slices.ContainsFunc(r.not, func(n string) bool { return matches(path, n) }) {
			return r.why
		}
	}
	return ""
}

// TestImports holds the layers: main -> command -> agent, web -> shipper,
// search -> embedded, record, config. Test files may import what they want.
func TestImports(t *testing.T) {
	exists := map[string]bool{}
	for _, s := range sources(t) {
		for dir := s.pkg; dir != "."; dir = filepath.Dir(dir) {
			exists[dir] = true
		}
		for _, path := range s.imports {
			if why := broken(s.pkg, path); why != "" && !s.test {
				t.Errorf("%s imports %s: %s", s.path, path, why)
			}
		}
	}
	named := map[string]bool{}
	for _, r := range importRules {
		for _, name := range slices.Concat([]string{r.pkg}, r.not, r.except) {
			own, ours := strings.CutPrefix(name, "mesoscope/")
			if ours || !slices.Contains(r.not, name) && name != "*" {
				named[own] = own != ""
			}
		}
	}
	for name, listed := range named {
		if listed && !exists[name] {
			t.Errorf("a rule names the package %s, which does not exist: correct or remove the rule", name)
		}
	}
}

// TestBroken makes sure that the rules can be broken at all.
func TestBroken(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		bad       bool
	}{
		{"record", "mesoscope/config", true}, {"record", "encoding/json", false},
		{"agent/tail", "github.com/docker/docker/client", true}, {"agent/discover", "github.com/docker/docker/client", false},
		{"agent", "mesoscope/agent/tail", false}, {"agent/tail", "mesoscope/agent/discover", true},
		{"agent", "mesoscope/web", true}, {"web", "mesoscope/agent/status", false}, {"web", "mesoscope/agent", true},
		{"shipper", "github.com/elastic/go-elasticsearch/v8", false}, {"command", "github.com/elastic/go-elasticsearch/v8", true},
		{"web", "log", true}, {"web", "log/slog", false}, {"internal/listen", "mesoscope/config", false},
	} {
		if why := broken(c.pkg, c.path); (why != "") != c.bad {
			t.Errorf("%s imports %s: %q", c.pkg, c.path, why)
		}
	}
}

// TestPackageDocs: each package has exactly one doc comment.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if docs[s.pkg] == nil {
			docs[s.pkg] = []string{}
		}
		if s.file.Doc != nil {
			docs[s.pkg] = append(docs[s.pkg], s.path)
		}
	}
	for pkg, files := range docs {
		if len(files) != 1 {
			t.Errorf("package %s has %d doc comments, want 1: %v", pkg, len(files), files)
		}
	}
}

// TestNoInit: what init would do is invisible at the place that needs it, and
// runs in every command.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.test {
				t.Errorf("%s has a func init(); call a function from the place that needs it", s.path)
			}
		}
	}
}

// TestShortFiles: a file that one cannot read in a sitting is about two things.
func TestShortFiles(t *testing.T) {
	const most = 500
	for _, s := range sources(t) {
		text, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n > most && !s.test {
			t.Errorf("%s has %d lines, at most %d: split it by what it is about", s.path, n, most)
		}
	}
}

// TestThirdParty: THIRD_PARTY.md lists each module in the binary and each
// vendored asset with its licence text. -update writes it anew.
func TestThirdParty(t *testing.T) {
	want, err := thirdparty.Markdown(".")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("THIRD_PARTY.md", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("THIRD_PARTY.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("THIRD_PARTY.md is not what the binary contains; run: go test -run ThirdParty . -update")
	}
}
