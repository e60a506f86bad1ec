package kibana

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What Install did with an Object.
const (
	Created     = "created"
	Updated     = "updated" // it was there; the file's form has replaced it
	WouldImport = "would import"
)

// A Step is what happened to one Object.
type Step struct {
	Object
	Action string
	Detail string // "", or another id that Kibana has given it
}

// A Report says which Kibana was found, and what was done.
type Report struct {
	Version string // "" if Kibana does not say it without a login
	Space   string // "" = the default one
	Steps   []Step // in the order of the file
}

// ErrUnreachable is in the error of Install when nothing answered, or a Kibana
// that is not ready.
var ErrUnreachable = errors.New("kibana cannot be reached")

// oldest is the first Kibana that knows the form of the file.
var oldest = [2]int{8, 8}

// A Server is a Kibana.
type Server struct {
	// URL with the base path, if it has one, and the space, if it is not the
	// default one: http://kibana:5601/base/s/ops.
	URL           string
	Authorization string       // the header's value; "" = none, or what the URL names
	Client        *http.Client // nil = http.DefaultClient's transport
}

// Install imports the file. What is there with the same ids is replaced, so it
// may be called any number of times; with dry, nothing is written, and Kibana,
// its version and the space are looked at only. Errors say what to do; those
// of a Kibana that is not there or not ready hold ErrUnreachable.
func Install(ctx context.Context, server Server, dry bool) (Report, error) {
	i := installing{ctx: ctx, Server: server}
	if err := i.locate(); err != nil {
		return Report{}, err
	}
	r := Report{Space: i.space}
	var err error
	if r.Version, err = i.status(); err != nil {
		return r, err
	}
	if err := i.findSpace(); err != nil {
		return r, err
	}
	if dry {
		for _, o := range objects() {
			r.Steps = append(r.Steps, Step{Object: o, Action: WouldImport})
		}
		return r, nil
	}
	r.Steps, err = i.send()
	return r, err
}

type installing struct {
	Server
	ctx   context.Context
	base  *url.URL
	space string
}

// locate takes the URL apart.
func (i *installing) locate() error {
	u, err := url.Parse(i.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return fmt.Errorf("%q is not the URL of a Kibana such as http://kibana.example.net:5601 or https://kibana.example.net/s/SPACE", redacted(i.URL))
	}
	u.Path, u.Fragment = strings.TrimRight(u.Path, "/"), ""
	parts := strings.Split(u.Path, "/")
	if n := slices.Index(parts, "app"); n > 0 { // as it stands in a browser
		parts = parts[:n]
		u.Path = strings.Join(parts, "/")
	}
	if n := len(parts); n >= 2 && parts[n-2] == "s" {
		i.space = parts[n-1]
	}
	i.base = u
	return nil
}

// status looks whether Kibana is there, ready, and new enough.
func (i *installing) status() (version string, err error) {
	a, err := i.do(http.MethodGet, "/api/status", "", nil)
	if err != nil {
		return "", err
	}
	var s struct {
		Version struct{ Number string }
		Status  struct {
			Overall struct{ Level, Summary string }
		}
	}
	isStatus := json.Unmarshal(a.body, &s) == nil && s.Status.Overall.Level != ""
	switch {
	case a.status == http.StatusServiceUnavailable:
		why := s.Status.Overall.Summary
		if why == "" {
			why = a.text()
		}
		return s.Version.Number, fmt.Errorf("%w: %s is not ready: %s. It starts, or its Elasticsearch is away; try again in a minute", ErrUnreachable, i.name(), why)
	case a.status == http.StatusOK && isStatus:
	default:
		return "", i.refusal(a)
	}
	if s.Version.Number == "" {
		return "", nil // it says no more to who has not logged in; the import will
	}
	var v [2]int
	if _, err := fmt.Sscanf(s.Version.Number, "%d.%d", &v[0], &v[1]); err != nil || slices.Compare(v[:], oldest[:]) < 0 {
		return s.Version.Number, fmt.Errorf("kibana %s is too old for this file, it must be %d.%d or newer", s.Version.Number, oldest[0], oldest[1])
	}
	return s.Version.Number, nil
}

// findSpace makes sure that the space exists: Kibana imports into one that does
// not, where nobody will ever see it.
func (i *installing) findSpace() error {
	if i.space == "" {
		return nil
	}
	a, err := i.do(http.MethodGet, "/api/spaces/space/"+url.PathEscape(i.space), "", nil)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusNotFound:
		return fmt.Errorf("kibana has no space %q: make it there (Stack Management, Spaces), or correct /s/%s in the URL", i.space, i.space)
	case a.status != http.StatusOK:
		return i.refusal(a)
	}
	return nil
}

// send imports the file.
func (i *installing) send() ([]Step, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", fileName)
	if err == nil {
		_, err = part.Write(file)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return nil, err // a buffer takes everything
	}
	a, err := i.do(http.MethodPost, "/api/saved_objects/_import?overwrite=true", form.FormDataContentType(), &body)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, i.refusal(a)
	}
	var said imported
	if err := json.Unmarshal(a.body, &said); err != nil {
		return nil, fmt.Errorf("%s: the answer to the import cannot be read: %w", i.name(), err)
	}
	return said.steps()
}
