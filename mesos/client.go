package mesos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Access is how one is let in. The zero value asks without credentials.
type Access struct {
	User, Password string // basic; User "" = none
	Token          string // bearer; "" = none
	CAs            *x509.CertPool
	// Renew, if set, gives the credentials of each request instead, as tokens
	// expire.
	Renew func() (Access, error)
}

// answerTime is how long an agent may take to begin its answer: one that
// recovers can hang.
const answerTime = 15 * time.Second

// maxAnswer bounds an answer, in bytes: a state of 100 MB is real.
const maxAnswer = 256 << 20

// newHTTP takes no proxy of the environment for what is near: a proxy's 127.0.0.1
// is another one.
func newHTTP(a Access, near bool) *http.Client {
	proxy := http.ProxyFromEnvironment
	if near {
		proxy = nil
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: a.CAs},
		ResponseHeaderTimeout: answerTime,
		IdleConnTimeout:       2 * time.Minute,
		MaxIdleConnsPerHost:   2,
		// The agent is near: to compress and to inflate costs both sides more
		// than to copy.
		DisableCompression: true,
	}}
}

func (a Access) request(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if a.Renew != nil {
		if a, err = a.Renew(); err != nil {
			return nil, err // it names the file
		}
	}
	switch {
	case a.Token != "":
		req.Header.Set("Authorization", "Bearer "+a.Token)
	case a.User != "":
		req.SetBasicAuth(a.User, a.Password)
	}
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// A StatusError is an answer other than 200.
type StatusError struct {
	Code int
	Text string // the beginning of the body, in one line
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Denied says whether err is an answer that asks for (other) credentials.
func Denied(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && (e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden)
}

func (a Access) get(ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	req, err := a.request(ctx, url)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err // it names the URL
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says enough
		return nil, fmt.Errorf("%s: %w", url, &StatusError{resp.StatusCode, strings.Join(strings.Fields(string(text)), " ")})
	}
	resp.Body = &bounded{resp.Body, maxAnswer}
	return resp, nil
}

// bounded fails when more has come than it may take.
type bounded struct {
	io.ReadCloser
	left int64
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// An Agent is the agent of a node, formerly called slave.
type Agent struct {
	base   string // without a slash at its end
	access Access
	http   *http.Client
	seed   maphash.Seed

	mu   sync.Mutex
	old  bool   // it answers at /state.json: before 0.25
	last uint64 // hash of the state decoded last
	told bool   // last counts
}

// NewAgent is for the agent at a URL, "http://127.0.0.1:5051". Nothing is asked
// yet.
func NewAgent(base string, access Access) (*Agent, error) {
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of a Mesos agent; write http://127.0.0.1:5051", base)
	}
	return &Agent{base: strings.TrimRight(base, "/"), access: access, http: newHTTP(access, true), seed: maphash.MakeSeed()}, nil
}

// URL is where the agent is asked.
func (a *Agent) URL() string { return a.base }

// State asks for what runs and decodes it as it comes. nil without an error
// says that nothing has changed since the last State that was returned; unless
// fresh is set, that is found out by a hash, without decoding anything.
func (a *Agent) State(ctx context.Context, fresh bool) (*State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !fresh && a.told {
		body, err := a.state(ctx)
		if err != nil {
			return nil, err
		}
		sum := a.sum()
		_, err = io.Copy(sum, body)
		body.Close()
		if err != nil {
			return nil, fmt.Errorf("read state of mesos agent: %w", err)
		}
		if sum.Sum64() == a.last {
			return nil, nil
		}
	}
	body, err := a.state(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	sum := a.sum()
	text := io.TeeReader(body, sum)
	s, err := ReadState(text)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, text); err != nil {
		return nil, fmt.Errorf("read state of mesos agent: %w", err)
	}
	if a.told && sum.Sum64() == a.last {
		return nil, nil
	}
	a.last, a.told = sum.Sum64(), true
	return s, nil
}

func (a *Agent) sum() *maphash.Hash {
	h := new(maphash.Hash)
	h.SetSeed(a.seed)
	return h
}

// state opens the answer. The names with .json went away with 1.8, those
// without came with 0.25. An agent that starts knows neither for a moment.
func (a *Agent) state(ctx context.Context) (io.ReadCloser, error) {
	paths := []string{"/state", "/state.json"}
	if a.old {
		paths[0], paths[1] = paths[1], paths[0]
	}
	var first error
	for i, path := range paths {
		resp, err := a.access.get(ctx, a.http, a.base+path)
		if err == nil {
			a.old = a.old != (i == 1)
			return resp.Body, nil
		}
		if first == nil {
			first = err
		}
		var s *StatusError
		if !errors.As(err, &s) || s.Code != http.StatusNotFound {
			return nil, err
		}
	}
	return nil, first
}

// Containers asks which containers there are: Executors without tasks. It
// answers while the agent is still recovering and has no state to tell; such an
// answer may be incomplete. Agents before 1.0 do not have it.
func (a *Agent) Containers(ctx context.Context) ([]Executor, error) {
	resp, err := a.access.get(ctx, a.http, a.base+"/containers")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	d := newDecoder(resp.Body)
	var list []Executor
	err = d.array(func() error {
		var e Executor
		err := d.object(func(key []byte) error {
			switch string(key) {
			case `"container_id"`:
				return d.text(&e.ContainerID)
			case `"executor_id"`:
				return d.text(&e.ID)
			case `"framework_id"`:
				return d.text(&e.Framework.ID)
			}
			return d.SkipValue()
		})
		if e.ContainerID != "" {
			list = append(list, e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decode containers of mesos agent: %w", err)
	}
	return list, nil
}

func newDecoder(r io.Reader) decoder {
	return decoder{jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}
