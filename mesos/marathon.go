package mesos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// An App is an app or a pod as Marathon has it now.
type App struct {
	ID      string // "/group/app"
	Version string // of the definition, as in MARATHON_APP_VERSION
	Labels  map[string]string
}

// A MarathonClient asks one of several Marathons; any of them answers for all.
type MarathonClient struct {
	urls   []string
	access Access
	http   *http.Client
}

// NewMarathon is for the Marathons at URLs, "http://m1:8080". Nothing is asked
// yet.
func NewMarathon(urls []string, access Access) (*MarathonClient, error) {
	m := &MarathonClient{access: access, http: newHTTP(access, false)}
	for _, base := range urls {
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is not the URL of a Marathon; write http://m1:8080", base)
		}
		m.urls = append(m.urls, strings.TrimRight(base, "/"))
	}
	return m, nil
}

// ErrNoApp says that Marathon has no app or pod of that name (any more).
var ErrNoApp = errors.New("no such app")

// App asks for an app or pod by its path, "/group/app".
func (m *MarathonClient) App(ctx context.Context, id string) (App, error) {
	path := (&url.URL{Path: id}).EscapedPath()
	for _, kind := range []string{"/v2/apps", "/v2/pods"} {
		resp, err := m.any(ctx, kind+path)
		var s *StatusError
		if errors.As(err, &s) && s.Code == http.StatusNotFound {
			continue
		}
		if err != nil {
			return App{}, err
		}
		a, err := readApp(resp.Body)
		resp.Body.Close()
		if err == nil && a.ID != id {
			err = fmt.Errorf("the answer is about %q", a.ID)
		}
		if err != nil {
			return App{}, fmt.Errorf("decode app %s of marathon: %w", id, err)
		}
		return a, nil
	}
	return App{}, ErrNoApp
}

// any asks one Marathon after another until one answers.
func (m *MarathonClient) any(ctx context.Context, path string) (*http.Response, error) {
	var all error
	for _, base := range m.urls {
		resp, err := m.access.get(ctx, m.http, base+path)
		var s *StatusError
		if err == nil || errors.As(err, &s) && s.Code < 500 {
			return resp, err
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// readApp reads {"app":{…}} of apps, or the bare object of pods.
func readApp(r io.Reader) (a App, err error) {
	d := newDecoder(r)
	var members func(key []byte) error
	members = func(key []byte) error {
		switch string(key) {
		case `"app"`:
			return d.object(members)
		case `"id"`:
			return d.text(&a.ID)
		case `"version"`:
			return d.text(&a.Version)
		case `"labels"`:
			return d.object(func(key []byte) error {
				name, err := jsontext.AppendUnquote(nil, key)
				if err != nil {
					return err
				}
				var value string
				if err := d.text(&value); err != nil {
					return err
				}
				if a.Labels == nil {
					a.Labels = make(map[string]string)
				}
				a.Labels[string(name)] = value
				return nil
			})
		}
		return d.SkipValue()
	}
	return a, d.object(members)
}

// events are those after which an app may have other labels, or be another one.
const events = "?event_type=event_stream_attached&event_type=api_post_event&event_type=deployment_success" +
	"&event_type=group_change_success&event_type=pod_created_event&event_type=pod_updated_event&event_type=app_terminated_event"

// Events listens to the event stream and calls heard for each event with its
// name and its JSON, until the stream or ctx ends; its error is never nil.
// Events come without order and are lost while nobody listens: they say that it
// is time to ask, nothing else. Marathon sends the first one at once.
func (m *MarathonClient) Events(ctx context.Context, heard func(name, data string)) error {
	var all error
	for _, base := range m.urls {
		req, err := m.access.request(ctx, base+"/v2/events"+events)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := m.http.Do(req)
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		if resp.StatusCode != http.StatusOK {
			resp.Body.Close()
			all = errors.Join(all, fmt.Errorf("%s/v2/events: %w", base, &StatusError{Code: resp.StatusCode}))
			continue
		}
		defer resp.Body.Close()
		return listen(resp.Body, heard)
	}
	return all
}

// longestEvent bounds one line of the stream: a deployment's names all its apps.
const longestEvent = 16 << 20

func listen(r io.Reader, heard func(name, data string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestEvent)
	name := ""
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "event:"); ok {
			name = strings.TrimSpace(text)
		}
		// Old Marathons know no event_type and send everything, status updates
		// of all tasks among it.
		if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok && name != "" && strings.Contains(events+"&", "="+name+"&") {
			heard(name, data)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("events of marathon: %w", err)
	}
	return fmt.Errorf("events of marathon: %w", io.ErrUnexpectedEOF)
}

// URL is the first of the addresses, for messages.
func (m *MarathonClient) URL() string { return strings.Join(m.urls, ",") }
