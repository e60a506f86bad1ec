package checks

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	maxPage      = 1 << 20
	maxRedirects = 10
)

var httpKind = Kind{
	Summary: "HTTP: status, headers, body, JSON, certificate, and where the time went",
	Target:  "URL",
	Example: `check http https://shop.example.net/health --expect '[BODY].ok == true' --expect '[RESPONSE_TIME] < 500'`,
	Options: slices.Concat([]Option{
		{Name: "method", Placeholder: "NAME", Default: "GET", Help: "Method.", parse: parse(parseMethod)},
		{Name: "header", Placeholder: "'NAME: VALUE'", Many: true, Help: "Header to send.", parse: parse(parseHeader)},
		{Name: "data", Placeholder: "TEXT", Help: "Body to send.", parse: parseText},
		{Name: "match", Placeholder: "REGEXP", Many: true, Help: "The first MiB of the body must match.", parse: parseRegexp},
		{Name: "no-match", Placeholder: "REGEXP", Many: true, Help: "The first MiB of the body must not match.", parse: parseRegexp},
		{Name: "match-header", Placeholder: "'NAME: REGEXP'", Many: true, Help: "A header of that name must match.", parse: parse(parseHeaderMatch)},
		{Name: "no-redirects", Help: "Do not follow redirects; a 3xx is OK. Else up to 10 are followed, on the same host only."},
	}, tlsOptions, credentials),
	Metrics: []Limits{{Name: "size", Help: "bytes of the body, at most 1 MiB"}, certificateLimits},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"status", Critical, "4xx or 5xx, unless a condition is about [STATUS]"},
		{"redirect", Critical, "more than 10 redirects, or one to another host"},
		{"body", Critical, "--match or --no-match does not hold"},
		{"header", Critical, "--match-header does not hold"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: func(s string) (string, error) { u, err := parseURL(s); return orEmpty(u), err },
	check:   checkHTTP,
}

func orEmpty(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.String()
}

// A headerMatch is --match-header.
type headerMatch struct {
	name    string
	pattern *regexp.Regexp
}

// checkHTTP fetches one page.
func checkHTTP(ctx context.Context, t Target) (r Result) {
	q := request{method: value[string](t, "method"), body: value[string](t, "data"), most: maxPage, header: http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}}}
	for _, h := range values[[2]string](t, "header") {
		if h[0] == "User-Agent" || h[0] == "Accept" {
			q.header.Del(h[0])
		}
		q.header.Add(h[0], h[1])
	}
	authorize(t, q.header)
	q.url, _ = url.Parse(t.Address) // New has parsed it
	var p page
	for hops := 0; ; hops++ {
		var err error
		doing := "waiting for the answer to " + q.method + " " + q.url.Path
		if p, err = fetch(ctx, &r, t, q); err != nil {
			r.failed(t, err, strings.TrimSpace(doing))
			return r
		}
		r.facts.status, r.Evidence.Status = p.status, p.status
		r.facts.bodyCut = p.cut
		r.answer(p.body)
		if value[bool](t, "no-redirects") || !redirects(p) {
			break
		}
		if hops == maxRedirects {
			r.find(Critical, "redirect", "more than %d redirects, the last to %s", maxRedirects, oneLine(p.header.Get("Location")))
			return r
		}
		next, err := q.url.Parse(p.header.Get("Location"))
		if err != nil || !strings.EqualFold(next.Hostname(), q.url.Hostname()) || next.Scheme != "http" && next.Scheme != "https" || next.Scheme == "http" && q.url.Scheme == "https" {
			r.find(Critical, "redirect", "%s to %s, which is not followed: another host, or no TLS any more", p.statusText, clip(p.header.Get("Location")))
			return r
		}
		if t.Confined && portOf(next) != portOf(q.url) {
			r.find(Critical, "redirect", "%s to %s, which is not followed: another port, and the check was declared by the app itself", p.statusText, clip(p.header.Get("Location")))
			return r
		}
		if p.status == http.StatusSeeOther || q.method == http.MethodPost && p.status < 307 {
			q.method, q.body = http.MethodGet, ""
		}
		next.User = nil
		q.url = next
		r.Evidence.Expires = time.Time{}
		r.Metrics = slices.DeleteFunc(r.Metrics, func(m Metric) bool { return m.Name == certificateLimits.Name })
	}
	r.measure("size", float64(len(p.body)), "B")
	r.say("%s, %s", p.statusText, size(int64(len(p.body))))
	r.judgePage(t, p)
	return r
}

// portOf is a URL's port, also if it is the usual one and left out.
func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

func redirects(p page) bool {
	switch p.status {
	case 301, 302, 303, 307, 308:
		return p.header.Get("Location") != ""
	}
	return false
}

// judgePage holds the answer against the options.
func (r *Result) judgePage(t Target, p page) {
	if (p.status < 200 || p.status >= 400) && !t.asserts("STATUS") {
		text := p.statusText
		if first, _, _ := bytes.Cut(bytes.TrimSpace(p.body), []byte("\n")); len(first) > 0 {
			text += ": " + clip(string(first))
		}
		r.find(Critical, "status", "%s", text)
	}
	for _, pattern := range values[*regexp.Regexp](t, "match") {
		if !pattern.Match(p.body) {
			r.find(Critical, "body", "the body does not match %q", pattern)
		}
	}
	for _, pattern := range values[*regexp.Regexp](t, "no-match") {
		if found := pattern.Find(p.body); found != nil {
			r.find(Critical, "body", "the body matches %q: %s", pattern, clip(string(found)))
		}
	}
	for _, m := range values[headerMatch](t, "match-header") {
		if got := p.header.Values(m.name); !slices.ContainsFunc(got, m.pattern.MatchString) {
			if got == nil {
				r.find(Critical, "header", "there is no header %s", m.name)
			} else {
				r.find(Critical, "header", "header %s is %s, which does not match %q", m.name, clip(got[0]), m.pattern)
			}
		}
	}
}

func parseMethod(s string) (string, error) {
	if !httpguts.ValidHeaderFieldName(s) {
		return "", fmt.Errorf("%q is no method", s)
	}
	return s, nil
}

// parseHeader reads "Name: value".
func parseHeader(s string) ([2]string, error) {
	name, text, ok := strings.Cut(s, ":")
	text = strings.TrimSpace(text)
	if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(text) {
		return [2]string{}, fmt.Errorf("%q is not 'Name: value'", s)
	}
	return [2]string{http.CanonicalHeaderKey(name), text}, nil
}

func parseHeaderMatch(s string) (headerMatch, error) {
	name, pattern, ok := strings.Cut(s, ":")
	if !ok || !httpguts.ValidHeaderFieldName(name) {
		return headerMatch{}, fmt.Errorf("%q is not 'Name: regexp'", s)
	}
	re, err := regexp.Compile(strings.TrimSpace(pattern))
	return headerMatch{http.CanonicalHeaderKey(name), re}, err
}
