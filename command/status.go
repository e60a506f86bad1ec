package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"mesoscope/agent/status"
	checkstatus "mesoscope/collector/status"
	"mesoscope/config"
)

// Status is `mesoscope status`.
type Status struct {
	URL       string `placeholder:"URL" help:"Address of an agent, standalone or collector. Without it 127.0.0.1:9911 and then 127.0.0.1:9912 are asked."`
	TokenFile string `type:"path" placeholder:"FILE" help:"A file with the token, if the process wants one."`
	CAFile    string `type:"path" placeholder:"FILE" help:"Certificates to trust for https, in PEM form."`
	All       bool   `short:"a" help:"Show every source or check, also those that are well."`
	Output    string `enum:"text,json" default:"text" help:"text, or json: one object a line, first {\"status\":…}, then {\"source\":…} for each source, or {\"check\":…} for each check."`
}

// Help says what the exit code means.
func (*Status) Help() string {
	return "Problems come first, then the sources that are furthest behind; of a collector the checks that are red, since when, with their last result. " +
		"Exit code 0: all is well, 1: something is wrong, 3: no agent or standalone could be asked."
}

// local are the addresses that are asked without --url: agent, standalone.
var local = []string{"http://127.0.0.1:9911", "http://127.0.0.1:9912"}

const (
	// askFor is how long one address may take; a healthy one takes milliseconds.
	askFor = 5 * time.Second
	// maxAnswer bounds an answer: 64 MiB are more than 100,000 sources.
	maxAnswer = 64 << 20
)

// Run asks and prints.
func (s *Status) Run(w *IO) error {
	client, err := s.client()
	if err != nil {
		return Exit{Usage, err}
	}
	urls := local
	if s.URL != "" {
		urls = []string{strings.TrimRight(s.URL, "/")}
	}
	report, err := s.ask(w.Context, client, urls)
	if err != nil {
		return Exit{Unknown, err}
	}
	return s.print(w, report)
}

// An answered is what a process has said about itself.
type answered interface {
	bad() bool
	json(io.Writer) error
	text(w io.Writer, all bool) error
}

func (s *Status) print(w *IO, report answered) (err error) {
	if s.Output == "json" {
		err = report.json(w.Out)
	} else {
		err = report.text(w.Out, s.All)
	}
	if err == nil && report.bad() {
		return Exit{Code: Bad}
	}
	return err
}

// client is an HTTP client with the flags' token and authorities.
func (s *Status) client() (*http.Client, error) {
	transport := &http.Transport{}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM form", s.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	if s.TokenFile == "" {
		return &http.Client{Transport: transport, Timeout: askFor}, nil
	}
	token, err := config.Secret(s.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return &http.Client{Transport: bearer{token, transport}, Timeout: askFor}, nil
}

// bearer adds a token to requests.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper must not change the caller's request
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// ask takes the first address that answers.
func (s *Status) ask(ctx context.Context, client *http.Client, urls []string) (answered, error) {
	var failed []string
	for _, u := range urls {
		r, err := askOne(ctx, client, u)
		if err == nil {
			return r, nil
		}
		failed = append(failed, fmt.Sprintf("  %s: %v", u, err))
	}
	advice := "Is mesoscope running here? Another address: --url http://HOST:9911"
	if s.URL != "" {
		advice = "Is that the address of an agent, standalone or collector (key http.listen)?"
	}
	return nil, fmt.Errorf("nobody could be asked:\n%s\n%s", strings.Join(failed, "\n"), advice)
}

// askOne asks one process, which says itself whether it is a collector.
func askOne(ctx context.Context, client *http.Client, u string) (answered, error) {
	var raw json.RawMessage
	if err := get(ctx, client, u+status.StatusPath, &raw); err != nil {
		return nil, err
	}
	var who struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(raw, &who) == nil && who.Kind == checkstatus.Kind {
		r := &checkReport{url: u}
		if err := decode(raw, &r.Status); err != nil {
			return nil, err
		}
		return r, get(ctx, client, u+checkstatus.ChecksPath, &r.Checks)
	}
	r := &report{url: u}
	if err := decode(raw, &r.Status); err != nil {
		return nil, err
	}
	if err := get(ctx, client, u+status.SourcesPath, &r.Sources); err != nil {
		return nil, err
	}
	// A standalone is a collector, too; an agent is not.
	c := &checkReport{url: u}
	if get(ctx, client, u+checkstatus.CollectorPath, &c.Status) == nil && c.Status.Kind == checkstatus.Kind {
		r.checks = c
		return r, get(ctx, client, u+checkstatus.ChecksPath, &c.Checks)
	}
	return r, nil
}

func decode(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("answered something that is not a status of mesoscope: %w", err)
	}
	return nil
}

// get reads one JSON answer into v.
func get(ctx context.Context, client *http.Client, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			err = inner // the innermost says it best: "connection refused"
		}
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return errors.New("wants a token; give --token-file")
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("answered something that is not a status of mesoscope: %w", err)
	}
	return nil
}
