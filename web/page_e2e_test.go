//go:build e2e

package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mesoscope/web"
	"mesoscope/web/storetest"
)

// A page is one tab of a real Chromium on a page of its own, which fails the
// test at its end for any request to another origin, any JavaScript error and
// any message of level error in the console.
type page struct {
	t      *testing.T
	ctx    context.Context
	url    string
	store  *storetest.Store
	mu     sync.Mutex
	errors []string
	// expected are pieces of messages that the test provokes.
	expected []string
}

type sources []web.Source

func (s sources) Sources() []web.Source { return s }

func open(t *testing.T, store *storetest.Store, s web.Sources, query string) *page {
	t.Helper()
	server := httptest.NewServer(web.New(store, web.Options{Sources: s, LoopbackOnly: true}))
	dir, err := os.MkdirTemp("", "page") // not t.TempDir: Chromium still writes to it while the test ends
	if err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1440, 900))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stopTab := chromedp.NewContext(alloc)
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	p := &page{t: t, ctx: ctx, url: server.URL, store: store}
	if err := chromedp.Listen(ctx, p.watch); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		stopTab()
		stopAlloc()
		server.CloseClientConnections()
		server.Close()
		os.RemoveAll(dir)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.errors {
			t.Error(e)
		}
	})
	p.run(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), command(runtime.Enable, cdp.Empty{}),
		chromedp.Navigate(server.URL+"/"+query), chromedp.WaitVisible(chromedp.CSS("#lines")))
	return p
}

func (p *page) watch(ev any) {
	fault := ""
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		if u := ev.Request.URL; !strings.HasPrefix(u, p.url+"/") {
			fault = "request to another origin: " + u
		}
	case *runtime.EventExceptionThrown:
		fault = "JavaScript error: " + ev.ExceptionDetails.Text
		if x := ev.ExceptionDetails.Exception; x != nil {
			fault += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError {
			fault = fmt.Sprintf("console error: %s", ev.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError {
			fault = "browser error: " + ev.Entry.Text + " " + ev.Entry.URL
		}
	}
	if fault == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.expected {
		if strings.Contains(fault, e) {
			return
		}
	}
	p.errors = append(p.errors, fault)
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval is the value of a JavaScript expression.
func (p *page) eval(js string) string {
	p.t.Helper()
	s, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("JSON.stringify("+js+") ?? 'undefined'"))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return s
}

// until waits for the expression to be true.
func (p *page) until(js string) {
	p.t.Helper()
	_, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("Boolean("+js+")", chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(10*time.Second)))
	if err != nil {
		p.shot("failed")
		p.t.Fatalf("%s: %v; lines: %s", js, err, p.eval(messages))
	}
}

func (p *page) key(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.run(chromedp.KeyEvent(k))
	}
}

// shot saves a picture below MESOSCOPE_SCREENSHOTS, else where it is removed.
func (p *page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("MESOSCOPE_SCREENSHOTS")
	if dir == "" {
		dir = p.t.TempDir()
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
	if len(png) < 10_000 {
		p.t.Errorf("%s: a picture of %d bytes shows nothing", name, len(png))
	}
}

// command makes an action of a protocol command whose answer does not matter.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (p *page) scheme(value string) chromedp.Action[chromedp.Void] {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
	})
}

// click presses what the CSS selector finds.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// do runs a statement in the page.
func (p *page) do(js string) {
	p.t.Helper()
	p.eval("(() => {" + js + "})()")
}

const (
	messages = `[...document.querySelectorAll('.row')].sort((a, b) => a.dataset.at - b.dataset.at).map((r) => r.querySelector('.message').textContent)`
	rows     = `document.querySelectorAll('.row').length`
	counted  = `document.querySelectorAll('#facets .value').length > 4 && document.querySelector('#chart canvas')`
	hostile  = `<script>alert(1)</script><img src=x onerror="document.title='broken'">`
)

// sample is a quarter of an hour of a small shop.
func sample(now time.Time) *storetest.Store {
	s := &storetest.Store{}
	type kind struct{ service, stream, level, text string }
	kinds := []kind{
		{"web", "stdout", "info", `10.0.3.%d "GET /cart/%d HTTP/1.1" 200 5123 0.031`},
		{"web", "stdout", "info", `10.0.3.%d "POST /orders/%d HTTP/1.1" 201 812 0.122`},
		{"orders", "stdout", "info", `{"level":"info","msg":"order stored","shard":%d,"order":%d}`},
		{"orders", "stdout", "debug", "cache lookup shard=%d key=order:%d miss"},
		{"payments", "stderr", "warn", "retry %d after timeout of gateway for payment %d"},
		{"redis", "stdout", "", "1:M * %d changes in 60 seconds. Saving... pid %d"},
		{"chatter", "stdout", "debug", "tick %d of worker %d"},
	}
	for i := range 900 {
		k := kinds[(i*7+i/5)%len(kinds)]
		if i%61 == 60 || i > 500 && i < 520 {
			k = kind{"payments", "stderr", "error", "Traceback (most recent call last):\n  File \"pay.py\", line %d, in charge\n    raise GatewayError(\"timeout for payment %d\")\nGatewayError: timeout"}
		}
		t := now.Add(-15 * time.Minute).Add(time.Duration(i)*time.Second + time.Duration(i*i%997)*time.Millisecond + 123456*time.Nanosecond)
		s.Add(fmt.Sprintf("id%d", i), storetest.Doc(t, k.service, k.stream, k.level, fmt.Sprintf(k.text, i%19, 40000+i), i, ""))
	}
	return s
}

func TestPageLooks(t *testing.T) {
	now := time.Now()
	s := sample(now)
	s.Add("hostile", storetest.Doc(now.Add(-2*time.Second), "web", "stdout", "warn", hostile+" \x1b[31mred\x1b[0m \u202eevil", 5000, ""))
	p := open(t, s, sources{
		{ID: "1", Container: "web-1", Service: "web", Stream: "stdout", Driver: "json-file", State: "following", Guarantee: "exactly once"},
		{ID: "2", Container: "redis-1", Service: "redis", Stream: "stdout", Driver: "json-file", State: "following", LagBytes: 123456, LagSeconds: 42, Guarantee: "exactly once"},
	}, "?is=stream:stdout&is=stream:stderr")
	p.until(rows + " > 20 && " + counted)
	for _, scheme := range []string{"light", "dark"} {
		p.run(p.scheme(scheme), chromedp.Sleep(300*time.Millisecond))
		p.shot("page-" + scheme)
	}
	back := p.eval(`getComputedStyle(document.body).backgroundColor`)
	p.run(click("#theme"), chromedp.Sleep(100*time.Millisecond))
	if now := p.eval(`getComputedStyle(document.body).backgroundColor`); now == back {
		t.Errorf("the button does not change the theme: %s", now)
	}
	p.run(click("#theme"))
	p.key("k", "k", "k", "k", kb.Enter)
	p.until(`document.querySelectorAll('.around-lines li').length > 1`)
	p.shot("detail-dark")
	p.run(click("#theme"), chromedp.Sleep(200*time.Millisecond))
	p.shot("detail-light")
	p.key(kb.Escape, "?")
	p.run(chromedp.Sleep(100 * time.Millisecond))
	p.shot("help-light")
	p.do(`document.querySelector('#help').close()`)
	p.run(click("#sources-open"), chromedp.Sleep(100*time.Millisecond))
	p.shot("sources-light")
	p.do(`document.querySelector('#sources').close()`)
	p.run(chromedp.EmulateViewport(600, 900), chromedp.Sleep(300*time.Millisecond))
	p.shot("narrow-light")
}
