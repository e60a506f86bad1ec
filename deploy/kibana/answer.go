package kibana

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// An answer of Kibana, or of what stands at its address.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// text is what the answer says, for people.
func (a answer) text() string {
	var e struct{ Message string }
	if json.Unmarshal(a.body, &e) == nil && e.Message != "" {
		return e.Message
	}
	text := strings.Join(strings.Fields(string(a.body)), " ")
	if strings.HasPrefix(text, "<") || text == "" {
		return http.StatusText(a.status)
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// do sends one request. A redirect is an answer: it is to a login or to a base
// path, and what is asked for would not arrive there.
func (i *installing) do(method, path, contentType string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(i.ctx, method, i.base.String()+path, body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", i.name(), err)
	}
	req.Header.Set("kbn-xsrf", "mesoscope") // without it Kibana takes a request for a forged one
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if i.Authorization != "" {
		req.Header.Set("Authorization", i.Authorization)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if i.Client != nil {
		client.Transport, client.Timeout = i.Client.Transport, i.Client.Timeout
	}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL with its path says nothing more
		}
		return answer{}, fmt.Errorf("%w: %s: %w", ErrUnreachable, i.name(), err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return answer{}, fmt.Errorf("%w: %s: %w", ErrUnreachable, i.name(), err)
	}
	return answer{res.StatusCode, res.Header, text}, nil
}

// refusal says what an answer that is none means.
func (i *installing) refusal(a answer) error {
	said := fmt.Sprintf("%s: HTTP %d: %s", i.name(), a.status, a.text())
	switch {
	case a.header.Get("X-Elastic-Product") == "Elasticsearch":
		return fmt.Errorf("%s is Elasticsearch, not Kibana, whose port is 5601 by default", i.name())
	case a.status == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s. Try again in a minute", ErrUnreachable, said)
	case a.status == http.StatusUnauthorized:
		if i.Authorization == "" && i.base.User == nil {
			return fmt.Errorf("%s. It wants a login: give --username with --password-file, or --api-key-file", said)
		}
		return fmt.Errorf("%s. The name, password or API key is wrong or expired", said)
	case a.status == http.StatusForbidden:
		return fmt.Errorf("%s. The user or key needs the Kibana privileges Saved Objects Management, Data Views and Discover (all) in this space", said)
	case a.status >= 300 && a.status < 400:
		return fmt.Errorf("%s leads to %s: give the URL with Kibana's base path, and a login if it wants one", i.name(), a.header.Get("Location"))
	case a.status == http.StatusNotFound || a.status == http.StatusOK:
		return fmt.Errorf("%s. No Kibana answers there: is a base path (server.basePath) missing in the URL?", said)
	case a.status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s. A proxy before Kibana, or savedObjects.maxImportPayloadBytes, allows less than the %d bytes of the file", said, len(file))
	}
	return errors.New(said)
}

// name is the address without a password.
func (i *installing) name() string { return redacted(i.base.String()) }

func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "the URL"
}

// imported is Kibana's answer to an import.
type imported struct {
	Success bool
	Results []struct {
		Type, ID      string
		Overwrite     bool
		DestinationID string
	} `json:"successResults"`
	Errors []struct {
		Type, ID string
		Error    struct {
			Type       string // conflict, ambiguous_conflict, unsupported_type, missing_references, unknown
			Message    string
			References []struct{ Type, ID string }
		}
	}
}

// steps puts the answer in the order of the file. A success that does not name
// an object is none.
func (a imported) steps() ([]Step, error) {
	var steps []Step
	var errs []error
	for _, o := range objects() {
		known := false
		for _, r := range a.Results {
			if r.Type != o.Type || r.ID != o.ID {
				continue
			}
			known = true
			s := Step{Object: o, Action: Created}
			if r.Overwrite {
				s.Action = Updated
			}
			if r.DestinationID != "" && r.DestinationID != o.ID {
				s.Detail = "as " + r.DestinationID + ", since another space has the id"
			}
			steps = append(steps, s)
		}
		for _, e := range a.Errors {
			if e.Type != o.Type || e.ID != o.ID {
				continue
			}
			known = true
			why := e.Error.Message
			switch e.Error.Type {
			case "missing_references":
				why = "Kibana lacks what it refers to:"
				for _, r := range e.Error.References {
					why += fmt.Sprintf(" %s %s", Object{Type: r.Type}.Kind(), r.ID)
				}
			case "unsupported_type":
				why = "this Kibana does not know " + o.Type
			case "conflict", "ambiguous_conflict":
				why = "several objects there come from this one: delete the copies in Stack Management, Saved Objects"
			}
			if why == "" {
				why = e.Error.Type
			}
			errs = append(errs, fmt.Errorf("%s %q: %s", o.Kind(), o.Title, why))
		}
		if !known && a.Success {
			errs = append(errs, fmt.Errorf("%s %q: Kibana says nothing of it", o.Kind(), o.Title))
		}
	}
	if len(errs) > 0 {
		return steps, fmt.Errorf("kibana did not take everything: %w", errors.Join(errs...))
	}
	if !a.Success {
		return steps, errors.New("kibana says that the import failed, and not why")
	}
	return steps, nil
}
