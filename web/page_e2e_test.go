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
	"github.com/chromedp/cdproto/input"
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

// healthy is one source without a problem.
var healthy = sources{{ID: "1", Container: "web-1", Service: "web", Stream: "stdout", Driver: "json-file", State: "following", Guarantee: "exactly once"}}

type sources []web.Source

func (s sources) Sources() []web.Source { return s }

func open(t *testing.T, store *storetest.Store, s web.Sources, query string) *page {
	t.Helper()
	server := httptest.NewServer(withChecks(web.New(store, web.Options{Sources: s, Status: func() any { return output }, LoopbackOnly: true})))
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
		p.t.Fatalf("%s: %v; at %s, %s, pill %s; lines: %s", js, err, p.eval("location.search"), p.eval("document.querySelector('#hint').textContent"), p.eval("document.querySelector('#pill').textContent"), p.eval(messages))
	}
}

func (p *page) key(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		if len(k) > 1 || k[0] < ' ' {
			p.run(chromedp.KeyEvent(k))
			continue
		}
		// As a keyboard does it, in one event: chromedp's two would put the
		// letter into the box that the first of them moves the focus to.
		p.run(command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: k, Text: k}),
			command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: k}))
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

func TestPageByKeysAlone(t *testing.T) {
	s := sample(time.Now())
	s.Add("hostile", storetest.Doc(time.Now().Add(-2*time.Second), "web", "stdout", "warn", hostile, 5000, ""))
	p := open(t, s, healthy, "")
	p.until(rows + " > 20 && " + counted)

	// To the search box, a query, and on to the lines.
	p.key("/")
	p.until(`document.activeElement.id === 'q'`)
	p.key("gateway and log.level: warn", kb.Enter)
	p.until(`[...document.querySelectorAll('.row .level')].every((e) => e.textContent === 'WARN') && document.activeElement.id === 'lines'`)
	p.until(`new URLSearchParams(location.search).get('q') === 'gateway and log.level: warn'`)
	if p.eval(`document.querySelectorAll('.row mark').length > 5`) != "true" {
		t.Error("what was searched for is not marked")
	}

	// Over the lines, open one, on to the next with it open, close it.
	p.key(kb.ArrowUp, kb.ArrowUp, kb.ArrowUp, kb.Enter)
	p.until(`document.querySelector('#detail .whole')`)
	chosen := `document.querySelector('.row[aria-selected=true] .message').textContent`
	first := p.eval(chosen)
	if whole := p.eval(`document.querySelector('#detail .whole').textContent`); whole != first {
		t.Errorf("open is %s, chosen is %s", whole, first)
	}
	p.key(kb.ArrowDown)
	p.until(`document.querySelector('#detail .whole').textContent !== ` + first + ` && document.querySelector('#detail .whole').textContent === ` + chosen)
	p.key("k")
	p.until(`document.querySelector('#detail .whole').textContent === ` + first)
	p.key(kb.Escape)
	p.until(`document.querySelector('#detail').hidden && document.activeElement.id === 'lines'`)

	// The first and last line, and out of the search box.
	p.key(kb.Home)
	p.until(`document.querySelector('.row[data-at="0"]').getAttribute('aria-selected') === 'true'`)
	p.key(kb.End, "/")
	p.until(`document.activeElement.id === 'q'`)
	p.key(kb.Escape)
	p.until(`document.activeElement.id === 'lines'`)
	p.key("?")
	p.until(`document.querySelector('#help').open`)
	p.key(kb.Escape)
	p.until(`!document.querySelector('#help').open`)
	p.key("t")
	p.until(`document.querySelector('#tail').getAttribute('aria-pressed') === 'true'`)
	p.key("t")
	p.until(`document.querySelector('#tail').getAttribute('aria-pressed') === 'false'`)
}

func TestPageShowsGaps(t *testing.T) {
	s := &storetest.Store{}
	now := time.Now().Add(-time.Second).UTC().Format(time.RFC3339Nano)
	s.Add("gap", `{"@timestamp":"`+now+`","message":"lines are missing here","event":{"kind":"pipeline_error","dataset":"mesos.container"},"container":{"name":"web-1"}}`)
	p := open(t, s, sources{}, "")
	p.until(rows + " === 1 && document.querySelector('.row.level-fatal .level').textContent === 'GAP'")
}

func TestPageShowsHostileLinesAsText(t *testing.T) {
	now := time.Now()
	s := &storetest.Store{}
	s.Add("script", storetest.Doc(now.Add(-2*time.Second), "<b>web</b>", "stdout", "<i>warn</i>", hostile, 1, `,"note":"<img src=x onerror=alert(2)>"`))
	s.Add("long", storetest.Doc(now.Add(-time.Second), "web", "stdout", "info", "\x1b[31m\x00\u202e\u009b\u2028 tab\tend "+strings.Repeat("x", 50_000)+"END", 2, ""))
	p := open(t, s, sources{{ID: "1", Container: "<script>alert(3)</script>", State: "following", LastError: "<img src=x onerror=alert(4)>"}}, "")
	p.until(rows + " === 2 && " + `document.querySelectorAll('#facets .value').length > 3`)
	if got := p.eval(messages + "[0]"); !strings.HasPrefix(got, `"\u003cscript`) && !strings.HasPrefix(got, `"<script>alert(1)</script><img`) {
		t.Errorf("the line is shown as %s", got)
	}
	p.key(kb.ArrowUp, kb.ArrowUp, kb.Enter)
	p.until(`document.querySelector('#detail .whole').textContent.startsWith('<script>alert(1)</script>')`)
	p.until(`document.querySelectorAll('.around-lines li').length === 1`) // the other is of another container
	p.run(click("#sources-open"))
	p.until(`document.querySelector('#sources-body').textContent.includes('<script>alert(3)</script>')`)
	p.key(kb.Escape)
	if n := p.eval(`document.querySelectorAll('main script, main img, main b, aside script, aside img, aside b, dialog script, dialog img').length`); n != "0" {
		t.Errorf("%s elements were made of what a container printed", n)
	}
	if title := p.eval(`document.title`); title != `"Mesoscope"` {
		t.Errorf("the title is %s", title)
	}
	p.key("j")
	p.until(`document.querySelector('#detail .show-all')`)
	got := p.eval(`document.querySelector('#detail .whole').textContent.slice(0, 42)`)
	if got != `"^[[31m^@[U+202E][U+009B][U+2028] tab\tend x"` {
		t.Errorf("controls are shown as %s", got)
	}
	p.run(click("#detail .show-all"))
	p.until(`document.querySelector('#detail .whole').textContent.endsWith('xEND')`)
}

func TestPageFilters(t *testing.T) {
	p := open(t, sample(time.Now()), healthy, "")
	p.until(rows + " > 20 && " + counted)
	value := func(name, kind string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('#facets .%s')].find((b) => b.dataset.key === %q)`, kind, map[string]string{"value": "is ", "not": "not "}[kind]+name)
	}
	p.do(value("payments", "value") + ".click()")
	p.until(`[...document.querySelectorAll('.row .service')].every((e) => e.textContent === 'payments')`)
	p.until(`document.querySelector('.chip-text').textContent === 'service.name: payments' && location.search.includes('is=service.name%3Apayments')`)
	p.do(value("warn", "not") + ".click()")
	p.until(`document.querySelectorAll('.chip.not').length === 1 && [...document.querySelectorAll('.row .level')].every((e) => e.textContent === 'ERROR')`)
	if n := p.eval(`document.querySelectorAll('#facets section[aria-label=Service] .value').length`); n == "1" {
		t.Error("the other services cannot be chosen any more")
	}
	// The link shows the same to someone else; the back button takes it off.
	p.run(chromedp.Reload())
	p.until(`document.querySelectorAll('.chip').length === 2 && ` + rows + ` > 0 && [...document.querySelectorAll('.row .level')].every((e) => e.textContent === 'ERROR')`)
	p.run(chromedp.NavigateBack())
	p.until(`document.querySelectorAll('.chip').length === 1 && [...document.querySelectorAll('.row .level')].some((e) => e.textContent === 'WARN')`)
	p.run(click(".chip button"))
	p.until(`document.querySelectorAll('.chip').length === 0 && [...document.querySelectorAll('.row .service')].some((e) => e.textContent === 'web')`)
	// From a field of an open line.
	p.key(kb.End, kb.Enter)
	p.until(`document.querySelector('[aria-label^="No lines with service.name"]')`)
	p.do(`document.querySelector('[aria-label^="No lines with service.name"]').click()`)
	p.until(`document.querySelector('.chip.not') && document.querySelector('#detail').hidden`)
}

func TestPageFollows(t *testing.T) {
	p := open(t, sample(time.Now()), healthy, "")
	p.until(rows + " > 20")
	p.key("t")
	p.until(`document.querySelector('#tail').getAttribute('aria-pressed') === 'true' && ` + rows + ` > 20`)
	add := func(text string, n int) {
		for i := range n {
			p.store.Add(fmt.Sprintf("%s%d", text, i), storetest.Doc(time.Now(), "web", "stdout", "info", fmt.Sprintf("%s %d", text, i), 10000+i, ""))
		}
	}
	last := messages + ".at(-1)"
	add("fresh", 3)
	p.until(last + ` === 'fresh 2'`)

	// Reading further up: nothing moves, the new ones wait.
	p.do(`document.querySelector('#lines').scrollTop -= 2000`)
	p.run(chromedp.Sleep(100 * time.Millisecond))
	top := p.eval(messages + "[12]")
	add("meanwhile", 5)
	p.until(`document.querySelector('#pill').textContent.includes('5 new lines')`)
	if now := p.eval(messages + "[12]"); now != top {
		t.Errorf("the lines moved: %s became %s", top, now)
	}
	p.run(click("#pill"))
	p.until(last + ` === 'meanwhile 4'`)

	// Paused by key, and on again.
	p.key("p")
	add("paused", 2)
	p.until(`document.querySelector('#pill').textContent.includes('2 new lines')`)
	p.shot("following")
	p.key("p")
	p.until(last + ` === 'paused 1'`)

	// The store goes and comes back.
	p.store.Fail(fmt.Errorf("disk on holiday"))
	p.until(`document.querySelector('#hint').textContent.includes('disk on holiday')`)
	p.expected = append(p.expected, "502")
	p.store.Fail(nil)
	add("back", 1)
	p.until(last + ` === 'back 0' && document.querySelector('#hint').textContent === ''`)
}

func TestPageShowsLinesAround(t *testing.T) {
	now := time.Now()
	s := &storetest.Store{}
	for i := range 40 {
		// All at the same moment, and not in order: only the number tells.
		n := i * 7 % 40
		s.Add(fmt.Sprint("w", n), storetest.Doc(now.Add(-time.Minute), "web", "stdout", "info", fmt.Sprintf("web %d", n), n, ""))
		s.Add(fmt.Sprint("e", n), storetest.Doc(now.Add(-time.Minute), "web", "stderr", "info", fmt.Sprintf("stderr %d", n), n, ""))
		s.Add(fmt.Sprint("a", n), storetest.Doc(now.Add(-time.Minute), "api", "stdout", "info", fmt.Sprintf("api %d", n), n, ""))
	}
	p := open(t, s, healthy, "?q=%22web+20%22")
	p.until(rows + " === 1")
	p.key(kb.ArrowUp, kb.Enter)
	around := `[...document.querySelectorAll('.around-lines li span')].map((e) => e.textContent).join()`
	list := func(from, to int) string {
		var out []string
		for i := from; i <= to; i++ {
			out = append(out, fmt.Sprintf("web %d", i))
		}
		return "'" + strings.Join(out, ",") + "'"
	}
	p.until(around + " === " + list(15, 25))
	p.do(`document.querySelector('.around > button').click()`)
	p.until(around + " === " + list(5, 25))
	if here := p.eval(`document.querySelector('.around-lines .here span').textContent`); here != `"web 20"` {
		t.Errorf("the line itself is %s", here)
	}
	p.do(`document.querySelector('.around-lines button[data-sequence="5"]').click()`)
	p.until(around + " === " + list(0, 10))
}

func TestPageWithTenThousandLines(t *testing.T) {
	now := time.Now()
	s := &storetest.Store{}
	for i := range 12_000 {
		s.Add(fmt.Sprint(i), storetest.Doc(now.Add(-10*time.Minute).Add(time.Duration(i)*time.Millisecond), "web", "stdout", "info", fmt.Sprintf("line %d", i), i, ""))
	}
	p := open(t, s, healthy, "")
	p.until(`document.querySelector('#count').textContent === 'Newest 500 of 12,000 lines'`)
	for n := 1000; n <= 10_000; n += 500 {
		p.do(`document.querySelector('#older').click()`)
		p.until(fmt.Sprintf(`document.querySelector('#canvas').style.height === '%dpx'`, n*24))
	}
	p.until(`document.querySelector('#older-text').textContent.includes('10,000')`)
	p.key(kb.Home)
	p.until(messages + `[0] === 'line 2000'`)
	if n := p.eval(rows); len(n) > 2 {
		t.Errorf("%s rows are in the document", n)
	}
	// Drawing must fit a frame, also here where a test shares two cores.
	ms, err := chromedp.Run(p.ctx, chromedp.Evaluate[float64](`(() => {
		const box = document.querySelector('#lines'), t = performance.now();
		for (let i = 0; i < 50; i++) { box.scrollTop = i * 4000; box.dispatchEvent(new Event('scroll')); box.offsetHeight; }
		return performance.now() - t;
	})()`))
	if err != nil || ms > 1000 {
		t.Errorf("50 jumps took %.0f ms, %v", ms, err)
	}
}

func TestPageSaysWhatIsWrong(t *testing.T) {
	p := open(t, &storetest.Store{}, sources{}, "")
	p.until(`document.querySelector('#empty').textContent.includes('mesoscope standalone --demo')`)
	p.shot("nothing")
	before := p.eval(`document.querySelector('#columns').getBoundingClientRect().top`)
	p.expected = append(p.expected, "400", "502")
	p.key("/", "level: (", kb.Enter)
	p.until(`document.querySelector('#hint.error') && document.querySelector('#q').getAttribute('aria-invalid') === 'true'`)
	p.shot("error")
	if after := p.eval(`document.querySelector('#columns').getBoundingClientRect().top`); after != before {
		t.Errorf("the page jumped from %s to %s", before, after)
	}
	p.store.Fail(fmt.Errorf("disk gone"))
	p.key("/", "fine", kb.Enter)
	p.until(`document.querySelector('#hint').textContent.includes('disk gone')`)
	p.store.Fail(nil)
	p.key("/", kb.Enter)
	p.until(`document.querySelector('#hint').textContent === ''`)
}
