//go:build e2e

package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mesoscope/collector/state"
	"mesoscope/collector/status"
	"mesoscope/web/storetest"
)

// checks are what a collector in the same process says; nil: there is none.
var checks []status.Check

// withChecks is the handler of a process that is a collector, too.
func withChecks(page http.Handler) http.Handler {
	if checks == nil {
		return page
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	mux.Handle(status.ChecksPath, answer(checks))
	mux.Handle(status.CollectorPath, answer(status.Status{Checks: len(checks), Findings: []status.Finding{{App: "web", Check: "health", Text: "<b>there</b> is no option x"}}}))
	return mux
}

// What is red stands first, with since when and the last result; the button says
// how many. What others wrote is text and never markup.
func TestPageShowsChecks(t *testing.T) {
	now := time.Now()
	checks = []status.Check{
		{Name: "redis", Kind: "redis", App: "cache", Target: "172.17.0.2:6379", Status: state.Critical, Since: now.Add(-time.Minute), FirstBad: now.Add(-2 * time.Minute),
			LastGood: now.Add(-3 * time.Minute), Text: "<img src=x onerror=alert(1)> connection refused"},
		{Name: "health", Kind: "http", App: "web", Target: "http://172.17.0.3/", Status: state.OK, Since: now.Add(-time.Hour), Text: "HTTP 200"},
	}
	defer func() { checks = nil }()
	p := open(t, &storetest.Store{}, healthy, "")
	p.until(`document.querySelector('#checks-label').textContent === '1 of 2 checks bad'`)
	if got := p.eval(`document.querySelector('#checks-open').dataset.state`); !strings.Contains(got, "bad") {
		t.Errorf("the button's state is %s", got)
	}
	p.run(click("#checks-open"), chromedp.Sleep(100*time.Millisecond))
	text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\n`, "\n").Replace(p.eval(`document.querySelector('#checks-body').innerText`))
	at := 0
	for _, want := range []string{"web health: <b>there</b> is no option x", "CRITICAL", "cache", "redis (redis)", "<img src=x onerror=alert(1)> connection refused", "172.17.0.2:6379, last good ", "OK", "web", "HTTP 200"} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q behind byte %d of %s", want, at, text)
		}
		at += i
	}
	p.shot("checks-light")
	checks[0].Status, checks[0].Text = state.OK, "PONG"
	p.until(`document.querySelector('#checks-label').textContent === '2 checks'`)
}

// A process that checks nothing has no button.
func TestPageWithoutChecks(t *testing.T) {
	p := open(t, &storetest.Store{}, healthy, "")
	p.until(`!document.querySelector('#sources-open').hidden`)
	if got := p.eval(`String(document.querySelector('#checks-open').hidden)`); !strings.Contains(got, "true") {
		t.Errorf("hidden: %s", got)
	}
}
