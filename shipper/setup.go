package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"mesoscope/config"
)

// What Setup did with one thing.
const (
	ActionCreated   = "created"
	ActionUpdated   = "updated"
	ActionUnchanged = "unchanged" // it was there already; nothing was written
	ActionNewer     = "newer"     // a newer mesoscope has put it; left as it is
	ActionLeftOut   = "left out"  // this server cannot

	ActionWouldCreate = "would create" // by Setup; Plan only says so
	ActionWouldUpdate = "would update"
)

// A Step is one thing that Setup put in place or left out.
type Step struct {
	Kind   string `json:"kind"` // lifecycle policy, component template, index template, logsdb, retention, field type
	Name   string `json:"name"`
	Action string `json:"action"`
	Detail string `json:"detail,omitempty"`
}

// A Report says what Setup found and did.
type Report struct {
	Cluster string `json:"cluster"`
	Version string `json:"version"`
	Steps   []Step `json:"steps"`
}

// Changed says whether anything was written.
func (r Report) Changed() bool {
	for _, s := range r.Steps {
		if s.Action == ActionCreated || s.Action == ActionUpdated {
			return true
		}
	}
	return false
}

// LeftOut are the steps that this server cannot do.
func (r Report) LeftOut() (out []Step) {
	for _, s := range r.Steps {
		if s.Action == ActionLeftOut {
			out = append(out, s)
		}
	}
	return out
}

// ErrForbidden is in the error of Setup when the credentials may not put
// templates: an agent says so once and goes on, since somebody else may have
// put them.
var ErrForbidden = errors.New("not allowed")

// ErrUnreachable is in the error of Setup when no host answered.
var ErrUnreachable = errors.New("elasticsearch cannot be reached")

// Setup puts lifecycle, mappings and index templates for logs-mesos.*-* and
// logs-mesoscope.*-* in place, as far as the server can: servers differ in
// version, licence and modules, so what it can is tried without leaving a trace
// (_index_template/_simulate) and not guessed. It may be called at any time by
// any number of agents: what is there already is not written again. Existing
// data streams take changes at their next rollover.
func Setup(ctx context.Context, client *elasticsearch.Client, cfg config.Elasticsearch) (Report, error) {
	s := setup{ctx: ctx, client: client}
	err := s.run(cfg)
	return s.report, err
}

// Plan says what Setup would do, and writes nothing.
func Plan(ctx context.Context, client *elasticsearch.Client, cfg config.Elasticsearch) (Report, error) {
	s := setup{ctx: ctx, client: client, dry: true}
	err := s.run(cfg)
	return s.report, err
}

type setup struct {
	ctx    context.Context
	client *elasticsearch.Client
	dry    bool
	can    abilities
	report Report
}

func (s *setup) step(kind, name, action, detail string) {
	s.report.Steps = append(s.report.Steps, Step{kind, name, action, detail})
}

func (s *setup) run(cfg config.Elasticsearch) error {
	retention := time.Duration(cfg.Retention)
	if err := s.probe(); err != nil {
		return err
	}
	logsdb := s.wantLogsDB(cfg.LogsDB)
	if !s.can.types["match_only_text"] {
		s.step("field type", "match_only_text", ActionLeftOut, "message is of type text instead, which takes more disk")
	}
	for _, t := range []string{"date_nanos", "flattened"} {
		if !s.can.types[t] {
			s.step("field type", t, ActionLeftOut, map[string]string{
				"date_nanos": "times are stored in milliseconds; the text of the document keeps the nanoseconds",
				"flattened":  "labels and application fields are stored but cannot be searched",
			}[t])
		}
	}
	if len(s.can.stock) == 0 {
		s.step("component template", strings.Join(stockTemplates, ", "), ActionLeftOut, "this server does not bring them; our own mappings stand alone")
	}
	switch {
	case s.can.ilm:
		if err := s.put("lifecycle policy", policyName, "/_ilm/policy/"+policyName, policy(retention)); err != nil {
			return err
		}
	case retention <= 0:
	case s.can.streamLife && s.can.enforced:
		s.step("retention", timeUnit(retention), ActionUnchanged, "data stream lifecycle, in the index templates")
	case s.can.streamLife:
		s.step("retention", timeUnit(retention), ActionLeftOut, "the server keeps the setting but has nothing that enforces it: delete old backing indices yourself")
	default:
		s.step("retention", timeUnit(retention), ActionLeftOut, "the server has neither index lifecycle management nor data stream lifecycle: delete old backing indices yourself")
	}
	if err := s.put("component template", packageTemplate, "/_component_template/"+packageTemplate, s.can.packageBody(logsdb)); err != nil {
		return err
	}
	for _, t := range indexTemplates {
		if err := s.put("index template", t.name, "/_index_template/"+t.name, s.can.indexBody(t.pattern, retention)); err != nil {
			return err
		}
	}
	return nil
}

// wantLogsDB decides about index.mode logsdb. auto: where it is the default for
// logs, from 9.0 on.
func (s *setup) wantLogsDB(mode string) bool {
	switch {
	case mode == "off":
		return false
	case mode == "on" && !s.can.logsdb:
		s.step("logsdb", "index.mode", ActionLeftOut, "logsdb: on, but this server does not take it")
		return false
	case mode == "on":
		return true
	}
	return s.can.logsdb && s.can.version[0] >= 9
}

// probe finds out what the server can.
func (s *setup) probe() error {
	var info struct {
		Cluster string `json:"cluster_name"`
		Version struct {
			Number string `json:"number"`
		} `json:"version"`
	}
	if err := s.get("/", &info); err != nil {
		return err
	}
	s.report.Cluster, s.report.Version = info.Cluster, info.Version.Number
	if _, err := fmt.Sscanf(info.Version.Number, "%d.%d", &s.can.version[0], &s.can.version[1]); err != nil || s.can.version[0] < 8 {
		return fmt.Errorf("elasticsearch %q is not supported, it must be 8 or newer", info.Version.Number)
	}
	s.can.types = map[string]bool{}
	for _, t := range []string{"match_only_text", "date_nanos", "flattened"} {
		ok, err := s.takes(object{"mappings": object{"properties": object{"x": object{"type": t}}}})
		if err != nil {
			return err
		}
		s.can.types[t] = ok
	}
	var err error
	if s.can.logsdb, err = s.takes(object{"settings": object{"index.mode": "logsdb", "index.mapping.source.mode": "stored"}}); err != nil {
		return err
	}
	if s.can.streamLife, err = s.takes(object{"lifecycle": object{"data_retention": "30d"}}); err != nil {
		return err
	}
	if s.can.ilm, err = s.has("/_ilm/policy/" + policyName); err != nil {
		return err
	}
	if s.can.enforced, err = s.has("/_data_stream/logs-mesos.*/_lifecycle"); err != nil {
		return err
	}
	for _, name := range stockTemplates {
		status, _, err := s.do(http.MethodGet, "/_component_template/"+name, nil)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			s.can.stock = append(s.can.stock, name)
		}
	}
	// Stock templates of some version may not go together with ours: then ours
	// stand alone.
	if len(s.can.stock) > 0 {
		b := s.can.indexBody("logs-mesos.*-*", 0)
		b["composed_of"] = s.can.stock
		delete(b, "ignore_missing_component_templates")
		b["template"] = object{"mappings": s.can.mappings()}
		ok, reason, err := s.simulate(b)
		if err != nil {
			return err
		}
		if !ok {
			s.step("component template", strings.Join(s.can.stock, ", "), ActionLeftOut, "they do not go together with ours: "+cutString(reason, 200))
			s.can.stock = nil
		}
	}
	return nil
}

// takes says whether the server takes a template with this content.
func (s *setup) takes(template object) (bool, error) {
	ok, _, err := s.simulate(object{
		"index_patterns": []string{"mesoscope-probe-*"}, "priority": 987654, "data_stream": object{}, "template": template,
	})
	return ok, err
}

func (s *setup) simulate(body object) (ok bool, reason string, err error) {
	status, answer, err := s.do(http.MethodPost, "/_index_template/_simulate", body)
	if err != nil {
		return false, "", err
	}
	switch {
	case status == http.StatusOK:
		return true, "", nil
	case status == http.StatusBadRequest:
		_, reason = wholeError(answer)
		return false, reason, nil
	}
	return false, "", statusError(http.MethodPost, "/_index_template/_simulate", status, answer)
}

// has says whether a path is served: a server without the module answers 400
// or 405 and names no handler, one with it 200 or 404.
func (s *setup) has(path string) (bool, error) {
	status, answer, err := s.do(http.MethodGet, path, nil)
	if err != nil {
		return false, err
	}
	switch status {
	case http.StatusOK, http.StatusNotFound:
		return true, nil
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusGone:
		return false, nil
	}
	return false, statusError(http.MethodGet, path, status, answer)
}

// put writes a thing unless it is there in the same or a newer form.
func (s *setup) put(kind, name, path string, body object) error {
	status, answer, err := s.do(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	action := ActionCreated
	switch status {
	case http.StatusOK:
		old, ours := findMeta(answer)
		want := findDigest(body)
		if ours && old.Version == templateVersion && old.Digest == want {
			s.step(kind, name, ActionUnchanged, "")
			return nil
		}
		if ours && old.Version > templateVersion {
			s.step(kind, name, ActionNewer, fmt.Sprintf("version %d was put by a newer mesoscope, this one has %d", old.Version, templateVersion))
			return nil
		}
		if !ours {
			return fmt.Errorf("%s %s exists and was not made by mesoscope (no _meta.managed_by): rename or delete it, own settings belong into the component template %s", kind, name, customTemplate)
		}
		action = ActionUpdated
	case http.StatusNotFound:
	default:
		return statusError(http.MethodGet, path, status, answer)
	}
	if s.dry {
		s.step(kind, name, map[string]string{ActionCreated: ActionWouldCreate, ActionUpdated: ActionWouldUpdate}[action], "")
		return nil
	}
	status, answer, err = s.do(http.MethodPut, path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return statusError(http.MethodPut, path, status, answer)
	}
	detail := ""
	if action == ActionUpdated {
		detail = "existing data streams take it at their next rollover"
	}
	s.step(kind, name, action, detail)
	return nil
}

type storedMeta struct {
	ManagedBy string `json:"managed_by"`
	Version   int    `json:"version"`
	Digest    string `json:"digest"`
}

// findMeta looks for our _meta in an answer, wherever it lies: templates and
// policies wrap their content differently.
func findMeta(answer []byte) (storedMeta, bool) {
	var v any
	if json.Unmarshal(answer, &v) != nil {
		return storedMeta{}, false
	}
	var find func(v any) (storedMeta, bool)
	find = func(v any) (storedMeta, bool) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if m, ok := find(e); ok {
					return m, true
				}
			}
		case map[string]any:
			if raw, ok := v["_meta"]; ok {
				b, _ := json.Marshal(raw)
				var m storedMeta
				if json.Unmarshal(b, &m) == nil && m.ManagedBy == "mesoscope" {
					return m, true
				}
			}
			for _, e := range v {
				if m, ok := find(e); ok {
					return m, true
				}
			}
		}
		return storedMeta{}, false
	}
	return find(v)
}

func findDigest(body object) string {
	b, _ := json.Marshal(body)
	m, _ := findMeta(b)
	return m.Digest
}

func (s *setup) get(path string, into any) error {
	status, answer, err := s.do(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return statusError(http.MethodGet, path, status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// do sends one request through the client library.
func (s *setup) do(method, path string, body any) (status int, answer []byte, err error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.ctx, method, path, in)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.client.Perform(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, method, path, err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, method, path, err)
	}
	return res.StatusCode, answer, nil
}

func statusError(method, path string, status int, answer []byte) error {
	typ, reason := wholeError(answer)
	err := fmt.Errorf("%s %s: HTTP %d %s: %s", method, path, status, typ, cutString(reason, 500))
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fmt.Errorf("%w (setup needs the cluster privileges manage_index_templates, manage_ilm and monitor): %w", ErrForbidden, err)
	}
	return err
}
