package nagios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// perRequest is how many results one request has: PHP limits a request's size.
const perRequest = 200

// An nrdp is an NRDP server: Nagios' receiver of passive results by HTTP.
type nrdp struct {
	url, name, token string // name is the URL without password
	client           *http.Client
}

func newNRDP(o Options) (*nrdp, error) {
	u, err := url.Parse(o.NRDP)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("collector.nagios.nrdp: wanted a URL such as https://nagios/nrdp/")
	}
	return &nrdp{url: o.NRDP, name: u.Redacted(), token: o.Token, client: &http.Client{Transport: o.Transport, Timeout: 10 * time.Second}}, nil
}

type checkResult struct {
	Result struct {
		Type      string `json:"type"`
		CheckType string `json:"checktype"`
	} `json:"checkresult"`
	Host    string `json:"hostname"`
	Service string `json:"servicename"`
	State   string `json:"state"`
	Output  string `json:"output"`
}

func (n *nrdp) take(ctx context.Context, list []Service) (taken int, err error) {
	for len(list) > 0 {
		some := list[:min(len(list), perRequest)]
		if err := n.post(ctx, some); err != nil {
			return taken, err
		}
		taken += len(some)
		list = list[len(some):]
	}
	return taken, nil
}

func (n *nrdp) post(ctx context.Context, list []Service) error {
	var body struct {
		Results []checkResult `json:"checkresults"`
	}
	for _, s := range list {
		r := checkResult{Host: s.Host, Service: s.Name, State: strconv.Itoa(int(s.Status)), Output: escape(s.Output())}
		r.Result.Type, r.Result.CheckType = "service", "1" // passive
		body.Results = append(body.Results, r)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	form := url.Values{"token": {n.token}, "cmd": {"submitcheck"}, "JSONDATA": {string(text)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("POST to %s: %w", n.name, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := n.client.Do(req)
	if err != nil {
		return err // names the URL, without password
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", n.name, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", n.name, res.Status)
	}
	// A refusal comes with status 200 too.
	status, message, ok := verdictOf(answer)
	if !ok {
		return fmt.Errorf("%s does not answer as NRDP does: %s", n.name, oneLine(string(answer)))
	}
	if status != 0 {
		return fmt.Errorf("%s refuses: %s", n.name, oneLine(message))
	}
	return nil
}
