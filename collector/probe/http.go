package probe

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	httpPhaseMetric    = newMetric("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects", "phase")
	httpLengthMetric   = newMetric("probe_http_content_length", "Length of http content response")
	httpBodyMetric     = newMetric("probe_http_uncompressed_body_length", "Length of uncompressed response body")
	httpHopsMetric     = newMetric("probe_http_redirects", "The number of redirects")
	httpTLSMetric      = newMetric("probe_http_ssl", "Indicates if SSL was used for the final redirect")
	httpStatusMetric   = newMetric("probe_http_status_code", "Response HTTP status code")
	httpVersionMetric  = newMetric("probe_http_version", "Returns the version of HTTP of the probe response")
	httpModifiedMetric = newMetric("probe_http_last_modified_timestamp_seconds", "Returns the Last-Modified HTTP response header in unixtime")
)

const (
	userAgent = "mesoscope-probe"
	maxHops   = 10
	// maxBody bounds what is kept of a body to be matched, if the module has no
	// body_size_limit.
	maxBody = 64 << 20
)

func probeHTTP(ctx context.Context, target string, m *module, s *sheet) bool {
	h := &m.http
	s.zero(httpLengthMetric, httpBodyMetric, httpHopsMetric, httpTLSMetric, httpStatusMetric, httpVersionMetric, regexMetric)
	if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		s.log.Error("the target is no URL", "err", err)
		return false
	}
	var ip netip.Addr
	if h.proxy == nil || !h.proxyNames {
		var took time.Duration
		var ok bool
		ip, took, ok = s.resolve(ctx, h.network, u.Hostname())
		s.add(httpPhaseMetric, took.Seconds(), "resolve")
		if !ok {
			return false
		}
	}
	q, err := h.request(ctx, u, ip)
	if err != nil {
		s.log.Error("the request cannot be made", "err", err)
		return false
	}
	for _, phase := range []string{"connect", "tls", "processing", "transfer"} {
		s.add(httpPhaseMetric, 0, phase)
	}
	way := &transport{h: h, s: s, host: q.URL.Host, serverName: h.serverName(u)}
	hops := 0
	client := http.Client{Transport: way, Jar: &jar{}, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		hops = len(via)
		s.log.Info("redirected", "location", next.Response.Header.Get("Location"))
		if hops > maxHops || !h.follow {
			return errors.New("this redirect is not followed")
		}
		// http.Client keeps credentials for the address that we asked, not for its
		// name. Nobody else gets them, and not without TLS where there was some.
		if strings.EqualFold(next.URL.Hostname(), u.Hostname()) && (next.URL.Scheme == "https" || u.Scheme == "http") {
			return h.credentials.set(next.Header)
		}
		return nil
	}}
	answer, err := client.Do(q)
	if err != nil {
		s.log.Error("the request failed", "err", err)
	}
	ok := false
	if answer == nil {
		answer = &http.Response{}
	} else {
		ok = h.judge(s, answer, err == nil)
		way.finish()
	}
	way.timings()
	if answer.TLS != nil {
		s.set(httpTLSMetric, 1)
		s.certificates(answer.TLS)
		s.set(chainExpiryMetric, float64(lastExpiry(answer.TLS).Unix()))
		if h.failIfTLS {
			s.log.Error("the final request was over TLS")
			ok = false
		}
	} else if h.failIfNotTLS && ok {
		s.log.Error("the final request was not over TLS")
		ok = false
	}
	s.set(httpStatusMetric, float64(answer.StatusCode))
	s.set(httpLengthMetric, float64(answer.ContentLength))
	s.set(httpHopsMetric, float64(hops))
	return ok
}

// serverName is the name that the certificate of the first host must have.
func (h *httpModule) serverName(u *url.URL) string {
	return cmp.Or(h.tls.serverName, h.hostHeader(), u.Hostname())
}

// hostHeader is the module's header Host, or "".
func (h *httpModule) hostHeader() string {
	for name, value := range h.headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			return value
		}
	}
	return ""
}

// request is the first request: to the address, in the name of the host.
func (h *httpModule) request(ctx context.Context, u *url.URL, ip netip.Addr) (*http.Request, error) {
	host := u.Host
	if ip.IsValid() {
		at := *u
		at.Host = ip.String()
		if ip.Is6() {
			at.Host = "[" + at.Host + "]"
		}
		if port := u.Port(); port != "" {
			at.Host = net.JoinHostPort(ip.String(), port)
		}
		u = &at
	}
	var body io.Reader
	if h.body != "" {
		body = strings.NewReader(h.body)
	}
	q, err := http.NewRequestWithContext(ctx, h.method, "", body)
	if err != nil {
		return nil, err
	}
	q.URL, q.Host = u, host
	q.Header.Set("User-Agent", userAgent)
	for name, value := range h.headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			q.Host = value
		} else {
			q.Header.Set(name, value)
		}
	}
	return q, h.credentials.set(q.Header)
}

// judge holds the answer against the module. whole is false if the answer is a
// redirect that is not followed, which has no body.
func (h *httpModule) judge(s *sheet, answer *http.Response, whole bool) bool {
	s.log.Info("there is an answer", "status", answer.StatusCode)
	ok := slices.Contains(h.statuses, answer.StatusCode)
	if len(h.statuses) == 0 {
		ok = answer.StatusCode >= 200 && answer.StatusCode < 300
	}
	if !ok {
		s.log.Error("the status is not one of those that are wanted", "status", answer.StatusCode, "valid_status_codes", h.statuses)
	}
	if ok && len(h.headerBad)+len(h.headerGood) > 0 {
		ok = h.judgeHeader(s, answer.Header)
		s.set(regexMetric, not(ok))
	}
	body := &counted{in: answer.Body}
	if h.compression != "" {
		plain, err := decompressed(h.compression, answer.Body)
		if err != nil {
			s.log.Error("the body cannot be decompressed", "compression", h.compression, "err", err)
			ok = false
		} else {
			body.in = plain
		}
	}
	defer answer.Body.Close()
	body.left = h.most
	if h.most == 0 {
		body.left = -1
	}
	if ok && len(h.bodyBad)+len(h.bodyGood) > 0 {
		ok = h.judgeBody(s, body)
		s.set(regexMetric, not(ok))
	}
	if whole {
		if _, err := io.Copy(io.Discard, body); err != nil {
			s.log.Error("the body could not be read", "err", err)
			ok = false
		}
		s.set(httpBodyMetric, float64(body.n))
	}
	if t, err := http.ParseTime(answer.Header.Get("Last-Modified")); err == nil {
		s.set(httpModifiedMetric, float64(t.Unix()))
	}
	version, _ := strconv.ParseFloat(strings.TrimPrefix(answer.Proto, "HTTP/"), 64) // it is valid, or there is no answer
	s.set(httpVersionMetric, version)
	if len(h.versions) > 0 && !slices.Contains(h.versions, answer.Proto) {
		s.log.Error("the version of HTTP is not one of those that are wanted", "version", answer.Proto)
		ok = false
	}
	return ok
}

func not(ok bool) float64 {
	if ok {
		return 0
	}
	return 1
}

func (h *httpModule) judgeHeader(s *sheet, header http.Header) bool {
	for i, p := range slices.Concat(h.headerBad, h.headerGood) {
		values := header.Values(p.name)
		if len(values) == 0 {
			if !p.optional {
				s.log.Error("a header is missing", "header", p.name)
				return false
			}
			continue
		}
		if bad := i < len(h.headerBad); slices.ContainsFunc(values, p.pattern.MatchString) == bad {
			s.log.Error("a header is not as wanted", "header", p.name, "regexp", p.pattern, "matches", bad)
			return false
		}
	}
	return true
}

func (h *httpModule) judgeBody(s *sheet, body io.Reader) bool {
	text, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = errTooLarge
	}
	if err != nil {
		s.log.Error("the body could not be read", "err", err)
		return false
	}
	for _, p := range h.bodyBad {
		if p.Match(text) {
			s.log.Error("the body matches", "regexp", p)
			return false
		}
	}
	for _, p := range h.bodyGood {
		if !p.Match(text) {
			s.log.Error("the body does not match", "regexp", p)
			return false
		}
	}
	return true
}
