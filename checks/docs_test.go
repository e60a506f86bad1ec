package checks

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/checks.md anew")

// TestDocs: the table of signals in docs/checks.md is that of the kinds.
func TestDocs(t *testing.T) {
	const path, mark = "../docs/checks.md", "<!-- made by: go test ./checks -run Docs -update -->\n"
	var b strings.Builder
	for _, name := range Names() {
		k := Kinds[name]
		fmt.Fprintf(&b, "\n### %s\n\n%s. Target: `%s`. `mesoscope %s`\n", name, k.Summary, k.Target, k.Example)
		for i, o := range k.Options {
			if i == 0 {
				b.WriteString("\n| option | what it does |\n|---|---|\n")
			}
			value := strings.TrimSpace(o.Name + " " + o.Placeholder)
			if o.Default != "" {
				value += "=" + o.Default
			}
			fmt.Fprintf(&b, "| `--%s` | %s |\n", value, strings.ReplaceAll(o.Help, "|", `\|`))
		}
		b.WriteString("\n| signal | state | when |\n|---|---|---|\n")
		for _, s := range k.Signals {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", s.Name, s.State, s.When)
		}
		for _, m := range k.Metrics {
			if m.Warning+m.Critical != "" {
				fmt.Fprintf(&b, "| %s | limits | %s: warning `%s`, critical `%s` |\n", m.Name, m.Help, m.Warning, m.Critical)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), mark)
	if want := head + mark + b.String(); !ok || want != string(text) {
		if *update {
			err = os.WriteFile(path, []byte(want), 0o644)
		}
		if !*update || err != nil || !ok {
			t.Errorf("%s is not what the kinds say; run go test ./checks -run Docs -update (%v)", path, err)
		}
	}
}
