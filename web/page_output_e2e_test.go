//go:build e2e

package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mesoscope/agent/status"
	"mesoscope/web/storetest"
)

// output is what /api/v1/status answers.
var output any = status.Status{}

// What is wrong with the output is counted on the button, and explained behind
// it: problems, answers, dead letters and the command that shows them.
func TestPageShowsOutput(t *testing.T) {
	now := time.Now()
	output = status.Status{
		Problems: []string{"12 lines could not be stored <b>"},
		Output: status.Output{Kind: "elasticsearch", State: status.OutputOK,
			Answers:     []status.Answer{{Answer: "429, 5xx", Outcome: "sent again", Lines: 1234, Last: now, Example: "<img src=x onerror=alert(1)>"}},
			DeadLetters: &status.DeadLetters{Count: 12, Bytes: 5000, Oldest: now.Add(-time.Hour), Newest: now, Reason: "mapping: no", Command: "mesoscope deadletter list"},
		},
	}
	defer func() { output = status.Status{} }()
	p := open(t, &storetest.Store{}, healthy, "")
	p.until(`document.querySelector('#sources-label').textContent === '1 problem'`)
	p.run(click("#sources-open"), chromedp.Sleep(100*time.Millisecond))
	text := p.eval(`document.querySelector('#sources-body').innerText`)
	for _, want := range []string{"12 lines could not be stored <b>", "Output: elasticsearch, ok", "429, 5xx", "sent again", "<img src=x onerror=alert(1)>", "1,234",
		"12 dead letters (4.9 KiB), given up from ", "mesoscope deadletter list shows them.", "Newest: mapping: no", "web-1"} {
		if !strings.Contains(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(text), want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	p.shot("output-light")
}
