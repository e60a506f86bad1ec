package checks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A request is one HTTP exchange on a connection of its own.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   string
	socket string // a UNIX socket to dial instead of the URL's host
	most   int64  // bytes of the body that are kept; the rest is not read
}

// A page is the answer to a request.
type page struct {
	status     int
	statusText string // "200 OK"
	header     http.Header
	body       []byte
	cut        bool // body is only the beginning
}

const (
	maxHeader = 64 << 10
	userAgent = "mesoscope-check"
)

// fetch does one exchange with HTTP/1.1. No Transport: a check wants a fresh
// connection, its own phases, and no goroutine that outlives it.
func fetch(ctx context.Context, r *Result, t Target, q request) (page, error) {
	network, address := "tcp", q.url.Host
	if q.socket != "" {
		network, address = "unix", q.socket
	}
	if network == "tcp" && q.url.Port() == "" {
		address = net.JoinHostPort(q.url.Hostname(), portOf(q.url))
	}
	// one byte more than is kept shows that there is more; chunks cost a little
	s, err := connect(ctx, r, network, address, maxHeader+q.most+q.most/8+1)
	if err != nil {
		return page{}, err
	}
	defer s.release()
	if q.url.Scheme == "https" {
		if _, err := s.startTLS(ctx, r, t, q.url.Hostname()); err != nil {
			return page{}, err
		}
	}
	out := &http.Request{
		Method: q.method, URL: q.url, Host: q.url.Host, Header: q.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(q.body)), ContentLength: int64(len(q.body)), Close: true,
	}
	if host := q.header.Get("Host"); host != "" {
		out.Host = host
	}
	if q.body == "" {
		out.Body = http.NoBody
	}
	began := time.Now()
	err = s.send(out)
	r.phase("send", began)
	if err != nil {
		return page{}, err
	}
	return s.receive(r, out, q.most)
}

// send writes a request.
func (s *session) send(q *http.Request) error {
	w := writers.Get().(*bufio.Writer)
	defer func() { w.Reset(nil); writers.Put(w) }()
	w.Reset(s)
	if err := q.Write(w); err != nil {
		return err
	}
	return w.Flush()
}

// receive reads the answer. Informational ones (1xx) are passed over.
func (s *session) receive(r *Result, to *http.Request, most int64) (page, error) {
	began := time.Now()
	_, err := s.in.Peek(1)
	r.phase("wait", began)
	if err != nil {
		return page{}, err
	}
	began = time.Now()
	defer func() { r.phase("receive", began) }()
	if start, err := s.in.Peek(5); string(start) != "HTTP/" {
		if err != nil && len(start) == 0 {
			return page{}, err
		}
		return page{}, wrongProtocol("the answer is no HTTP: it begins with %q", start)
	}
	var answer *http.Response
	for range 10 {
		answer, err = http.ReadResponse(s.in, to)
		if err != nil {
			if s.late != nil { // half a line is no error of its own
				err = s.late
			}
			return page{}, malformed(err)
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	defer answer.Body.Close()
	p := page{status: answer.StatusCode, statusText: strings.TrimSpace(answer.Status), header: answer.Header}
	if answer.StatusCode < 200 {
		return p, nil
	}
	p.body, err = io.ReadAll(io.LimitReader(answer.Body, most+1))
	var wrong protocolError
	if int64(len(p.body)) > most || errors.As(err, &wrong) && len(p.body) > 0 {
		p.body, p.cut = p.body[:min(int64(len(p.body)), most)], true
		return p, nil
	}
	return p, malformed(err)
}

// malformed keeps errors of the network and calls all others a broken answer.
func malformed(err error) error {
	var network net.Error
	var wrong protocolError
	if err == nil || errors.As(err, &network) || errors.As(err, &wrong) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return wrongProtocol("the answer is no valid HTTP: %v", err)
}

// baseURL reads the address of a kind that is asked below one URL. A bare
// host[:port] gets http and the usual port.
func baseURL(port string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !strings.Contains(s, "://") {
			s = "http://" + s
		}
		u, err := parseURL(s)
		if err != nil {
			return "", err
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return "", fmt.Errorf("%q has more than scheme, host, port and path", s)
		}
		if u.Port() == "" && u.Scheme == "http" {
			u.Host = net.JoinHostPort(u.Hostname(), port)
		}
		u.Path = strings.TrimRight(u.Path, "/")
		return u.String(), nil
	}
}

// parseURL reads an http or https URL without credentials in it.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL", hidePassword(s))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is no http or https URL", hidePassword(s))
	case u.User != nil:
		return nil, errors.New("a name or password does not belong into the URL (it shows in ps): use --username and --password-file")
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q names no host", s)
	}
	if _, err := hostPort(1)(u.Host); err != nil {
		return nil, err
	}
	return u, nil
}

// baseOptions are those of all kinds that are asked below one URL.
var baseOptions = append(append([]Option{}, tlsOptions...), credentials...)

// baseSignals are what all of them can find.
var baseSignals = append(append([]Signal{}, networkSignals...), certificateSignal,
	Signal{"credentials", Critical, "name or password are refused"},
	Signal{"status", Critical, "an HTTP status other than 200"})

const maxJSON = 8 << 20

// ask fetches base URL + path. What is wrong has become a finding if ok is
// false; without credentials a 401 is none, only a text.
func (r *Result) ask(ctx context.Context, t Target, path string, also ...int) (page, bool) {
	u, err := url.Parse(t.Address + path)
	if err != nil {
		r.find(Unknown, "options", "TARGET: %v", err)
		return page{}, false
	}
	q := request{method: "GET", url: u, header: http.Header{"User-Agent": {userAgent}, "Accept": {"application/json"}}, most: maxJSON}
	authorize(t, q.header)
	doing := "asking for " + path
	p, err := fetch(ctx, r, t, q)
	if err != nil {
		r.failed(t, err, doing)
		return p, false
	}
	r.facts.status, r.Evidence.Status = p.status, p.status
	r.answer(p.body)
	switch {
	case p.status == http.StatusOK && p.cut:
		r.find(Critical, "protocol", "%s: the answer is larger than %s", path, size(maxJSON))
		return p, false
	case p.status == http.StatusOK:
		return p, true
	case p.status == http.StatusUnauthorized || p.status == http.StatusForbidden:
		if value[string](t, "username") == "" {
			r.say("alive, password needed, signals not read")
		} else {
			r.find(Critical, "credentials", "name or password refused: %s answers %s", path, p.statusText)
		}
		return p, false
	}
	for _, status := range also {
		if p.status == status {
			return p, true
		}
	}
	r.find(Critical, "status", "%s answers %s", path, p.statusText)
	return p, false
}

// askJSON is ask for an answer that must be JSON of the given shape.
func (r *Result) askJSON(ctx context.Context, t Target, path string, into any, also ...int) bool {
	p, ok := r.ask(ctx, t, path, also...)
	return ok && r.decode(p, path, into)
}

// decode reads the JSON of a page.
func (r *Result) decode(p page, path string, into any) bool {
	if err := json.Unmarshal(p.body, into); err != nil {
		r.find(Critical, "protocol", "%s: the answer is not the JSON that belongs there: %v", path, err)
		return false
	}
	return true
}

// authorize adds basic authentication if there is a name.
func authorize(t Target, header http.Header) {
	if name := value[string](t, "username"); name != "" {
		q := http.Request{Header: header}
		q.SetBasicAuth(name, value[string](t, "password-file"))
	}
}
