package checks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// web answers each connection by a handler, without a server's goroutines.
func web(handle func(w io.Writer, q *http.Request)) func(net.Conn) {
	return func(c net.Conn) {
		q, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			reply(c, 400, "")
			return
		}
		handle(c, q)
	}
}

// answer is a whole answer with a body.
func answer(status int, body string, headers ...string) func(net.Conn) {
	return web(func(w io.Writer, _ *http.Request) { reply(w, status, body, headers...) })
}

func reply(w io.Writer, status int, body string, headers ...string) {
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", status, http.StatusText(status), len(body))
	for _, h := range headers {
		fmt.Fprintf(w, "%s\r\n", h)
	}
	fmt.Fprintf(w, "\r\n%s", body)
}

func TestHTTP(t *testing.T) {
	good := issue(t, "127.0.0.1", time.Now().Add(90*24*time.Hour))
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	old := issue(t, "127.0.0.1", time.Now().Add(-75*time.Hour))
	other := issue(t, "shop.example.net", time.Now().Add(90*24*time.Hour))
	const form, secure = "http://%s/health", "https://%s/"
	doc := `{"ok": true, "n": 7, "data": [{"id": 1}], "name": "web"}`
	auth := web(func(w io.Writer, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user != "joe" || password != "s3cret" || q.Header.Get("X-A") != "b" || q.Host != "shop" {
			reply(w, 401, "")
			return
		}
		reply(w, 200, "in")
	})
	trials := append(withForm(t, form, broken(nil)), []trial{
		{name: "good", serve: answer(200, doc), text: "200 OK, 56 bytes", metrics: "size=56B"},
		{name: "no content", serve: web(func(w io.Writer, _ *http.Request) { io.WriteString(w, "HTTP/1.1 204 No Content\r\n\r\n") })},
		{name: "early hints", serve: web(func(w io.Writer, _ *http.Request) {
			io.WriteString(w, "HTTP/1.1 103 Early Hints\r\n\r\n")
			reply(w, 200, "")
		})},
		{name: "404", serve: answer(404, "no such page\n"), want: Critical, signal: "status", text: `404 Not Found: "no such page"`},
		{name: "500 with a bar", serve: answer(500, "a | b\x1b[2J\nc"), want: Critical, signal: "status", text: "500"},
		{name: "404 expected", serve: answer(404, ""), options: opt("expect", "[STATUS] == 404")},
		{name: "status wrong", serve: answer(200, ""), options: opt("expect", "[STATUS] == 204"), want: Critical, signal: "expect", text: `[STATUS] == 204 does not hold: it is "200"`},
		{name: "json", serve: answer(200, doc), options: opt("expect", "[BODY].ok == true", "expect", "len([BODY].data) < 5", "expect", "[BODY].data[0].id == 1", "expect", "has([BODY].nope) == false", "expect", "[BODY].name == pat(w*)")},
		{name: "json wrong", serve: answer(200, doc), options: opt("expect", "[BODY].n > 7"), want: Critical, signal: "expect", text: `it is "7"`},
		{name: "json missing", serve: answer(200, doc), options: opt("expect", "[BODY].data[3].id == 1"), want: Critical, signal: "expect", text: "1 items"},
		{name: "no json", serve: answer(200, "<html>"), options: opt("expect", "[BODY].ok == true"), want: Critical, signal: "expect", text: "no JSON"},
		{name: "match", serve: answer(200, "all is well"), options: opt("match", "^all", "no-match", "error")},
		{name: "no match", serve: answer(200, "all is well"), options: opt("match", "^well"), want: Critical, signal: "body", text: "does not match"},
		{name: "forbidden match", serve: answer(200, "an error here"), options: opt("no-match", "err.r"), want: Critical, signal: "body", text: `"error"`},
		{name: "header", serve: answer(200, "", "X-Version: 12"), options: opt("match-header", "x-version: ^1")},
		{name: "header wrong", serve: answer(200, "", "X-Version: 12"), options: opt("match-header", "X-Version: ^2"), want: Critical, signal: "header", text: `"12"`},
		{name: "header missing", serve: answer(200, ""), options: opt("match-header", "X-Version: ^2"), want: Critical, signal: "header", text: "there is no header"},
		{name: "credentials", serve: auth, options: opt("username", "joe", "password-file", secretFile(t, "s3cret"), "header", "x-a: b", "header", "Host: shop")},
		{name: "redirect", serve: web(func(w io.Writer, q *http.Request) {
			if q.URL.Path == "/health" {
				reply(w, 302, "", "Location: /there")
				return
			}
			reply(w, 200, "there")
		}), text: "200 OK, 5 bytes"},
		{name: "redirect not followed", serve: answer(302, "", "Location: /there"), options: opt("no-redirects", "true"), text: "302"},
		{name: "redirects for ever", serve: answer(302, "", "Location: /health"), want: Critical, signal: "redirect", text: "more than 10"},
		{name: "redirect to another port, of a check by others", serve: answer(302, "", "Location: http://127.0.0.1:1/"), change: func(_ *testing.T, to *Target) { to.Confined = true }, want: Critical, signal: "redirect", text: "another port"},
		{name: "redirect elsewhere", serve: answer(302, "", "Location: http://169.254.169.254/"), want: Critical, signal: "redirect", text: "not followed"},
		{name: "huge", serve: answer(200, strings.Repeat("x", 3<<20)), text: "200 OK, 1 MiB", metrics: "size=1048576B"},
		{name: "huge json", serve: answer(200, `{"a":"`+strings.Repeat("x", 3<<20)+`"}`), options: opt("expect", "has([BODY].a) == true"), want: Critical, signal: "expect"},
		{name: "huge header", serve: web(func(w io.Writer, _ *http.Request) {
			io.WriteString(w, "HTTP/1.1 200 OK\r\n")
			for range 3 << 10 {
				fmt.Fprintf(w, "X: %s\r\n", strings.Repeat("x", 1<<10))
			}
		}), want: Critical, signal: "protocol"},
		{name: "slow body", serve: web(func(w io.Writer, _ *http.Request) {
			io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
			for range 200 {
				if _, err := io.WriteString(w, "x"); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond) // the slowness is what is tested
			}
		}), options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "cut body", serve: web(func(w io.Writer, _ *http.Request) {
			io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx")
		}), want: Critical, signal: "cut"},
		{name: "redis", serve: func(c net.Conn) { io.WriteString(c, "-ERR wrong command\r\n"); silent(c) }, want: Critical, signal: "protocol", text: "no HTTP"},
		{name: "broken status line", serve: web(func(w io.Writer, _ *http.Request) { io.WriteString(w, "HTTP/9 abc\r\n\r\n") }), want: Critical, signal: "protocol"},
		{name: "tls", address: secure, serve: overTLS(good, answer(200, "")), options: opt("ca-file", good.caFile, "expect", "[CERTIFICATE_EXPIRATION] > 48h"), metrics: "certificate_days=89.9"},
		{name: "tls soon", address: secure, serve: overTLS(soon, answer(200, "")), options: opt("ca-file", soon.caFile), want: Warning, signal: "certificate_days", text: "outside of 21:"},
		{name: "tls soon, own limit", address: secure, serve: overTLS(soon, answer(200, "")), options: opt("ca-file", soon.caFile, "warning", "certificate_days=5:")},
		{name: "tls expired", address: secure, serve: overTLS(old, answer(200, "")), options: opt("ca-file", old.caFile), want: Critical, signal: "certificate_days", text: "expired 3 days ago"},
		{name: "tls other name", address: secure, serve: overTLS(other, answer(200, "")), options: opt("ca-file", other.caFile), want: Critical, signal: "certificate", text: "another name"},
		{name: "tls servername", address: secure, serve: overTLS(other, answer(200, "")), options: opt("ca-file", other.caFile, "servername", "shop.example.net")},
		{name: "tls unknown issuer", address: secure, serve: overTLS(good, answer(200, "")), want: Critical, signal: "certificate", text: "unknown authority"},
		{name: "tls insecure", address: secure, serve: overTLS(old, answer(200, "")), options: opt("insecure", "true")},
		{name: "no tls", address: secure, serve: answer(200, ""), want: Critical, signal: "protocol", text: "does not speak TLS"},
		{name: "closed port wanted", address: "http://" + closedPort(t) + "/", options: opt("expect", "[CONNECTED] == false")},
		{name: "password in the URL", address: "http://joe:s3cret@host/", want: Unknown, signal: "options", text: "ps"},
		{name: "slower than allowed", serve: answer(200, ""), options: opt("critical", "time=0:0"), want: Critical, signal: "time", text: "outside of 0:0"},
		{name: "unknown placeholder", serve: answer(200, ""), options: opt("expect", "[DNS_RCODE] == NOERROR"), want: Unknown, signal: "options", text: "--expect: http knows no [DNS_RCODE]"},
	}...)
	testKind(t, "http", form, trials)
}

// TestHTTPPhases: what took long is visible.
func TestHTTPPhases(t *testing.T) {
	good := issue(t, "127.0.0.1", time.Now().Add(90*24*time.Hour))
	r := trial{serve: overTLS(good, answer(200, "body")), options: opt("ca-file", good.caFile)}.run(t, "http", "https://%s/")
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	if want := []string{"connect", "tls", "send", "wait", "receive"}; !slices.Equal(names, want) {
		t.Errorf("phases %v, want %v", names, want)
	}
	if r.Evidence.Status != 200 || r.Evidence.Answer != "body" || r.Evidence.Address == "" {
		t.Errorf("evidence %+v", r.Evidence)
	}
}
