package kibana

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	testkibana "mesoscope/test/kibana"
)

// keys are the objects of the file as the imitation names them.
func keys() (list []string) {
	for _, o := range objects() {
		list = append(list, o.Type+":"+o.ID)
	}
	slices.Sort(list)
	return list
}

func TestInstall(t *testing.T) {
	fake := &testkibana.Server{Spaces: []string{"ops"}}
	s := httptest.NewServer(fake)
	defer s.Close()
	install := func(path string, dry bool, action string) Report {
		t.Helper()
		r, err := Install(t.Context(), Server{URL: s.URL + path}, dry)
		if err != nil {
			t.Fatal(err)
		}
		if r.Version != "9.4.3" || len(r.Steps) != len(objects()) {
			t.Fatalf("%+v", r)
		}
		for _, step := range r.Steps {
			if step.Action != action || step.Detail != "" {
				t.Errorf("%+v, want %s", step, action)
			}
		}
		return r
	}
	install("", true, WouldImport)
	if n := fake.Imports(); n != 0 {
		t.Fatalf("a dry run imports (%d)", n)
	}
	install("/", false, Created)
	install("", false, Updated)
	if r := install("/s/ops/", false, Created); r.Space != "ops" {
		t.Errorf("space %q", r.Space)
	}
	install("/s/ops/app/discover", false, Updated) // as it stands in a browser
	for _, space := range []string{"", "ops"} {
		if got := fake.Objects(space); !slices.Equal(got, keys()) {
			t.Errorf("space %q has %v, want %v", space, got, keys())
		}
	}
}

func TestInstallErrors(t *testing.T) {
	elasticsearch := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"no handler found for uri [/api/status] and method [GET]"}`))
	})
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login?next=%2F", http.StatusFound) })
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<!doctype html><p>welcome")) })
	for _, c := range []struct {
		name        string
		handler     http.Handler
		path, login string
		unreachable bool
		want        string // in the error; "" = none
	}{
		{"starting", &testkibana.Server{NotReady: "plain"}, "", "", true, "not ready: Kibana server is not ready yet"},
		{"its Elasticsearch is away", &testkibana.Server{NotReady: "status"}, "", "", true, "Unable to retrieve version information"},
		{"too old", &testkibana.Server{Version: "8.7.1"}, "", "", false, "8.7.1 is too old for this file, it must be 8.8 or newer"},
		{"much too old", &testkibana.Server{Version: "7.17.0"}, "", "", false, "too old"},
		{"a later one", &testkibana.Server{Version: "8.19.2"}, "", "", false, ""},
		{"no login", &testkibana.Server{Login: "ApiKey x"}, "", "", false, "give --username"},
		{"wrong login", &testkibana.Server{Login: "ApiKey x"}, "", "ApiKey y", false, "wrong or expired"},
		{"login", &testkibana.Server{Login: "ApiKey x"}, "", "ApiKey x", false, ""},
		{"no rights", &testkibana.Server{MayNot: "write"}, "", "", false, "Saved Objects Management"},
		{"no space", &testkibana.Server{}, "/s/nowhere", "", false, `no space "nowhere"`},
		{"base path", &testkibana.Server{Base: "/kibana", Spaces: []string{"ops"}}, "/kibana/s/ops", "", false, ""},
		{"base path forgotten", &testkibana.Server{Base: "/kibana"}, "", "", false, "base path"},
		{"an unknown type", &testkibana.Server{Lacks: []string{"search"}}, "", "", false, `saved search "Mesoscope: gaps": this Kibana does not know search`},
		{"nothing to refer to", &testkibana.Server{Lacks: []string{"index-pattern"}}, "", "", false, `saved search "Mesoscope: gaps": Kibana lacks what it refers to: data view mesoscope-all`},
		{"Elasticsearch", elasticsearch, "", "", false, "is Elasticsearch, not Kibana"},
		{"a login page", login, "", "", false, "leads to /login"},
		{"something else", page, "", "", false, "No Kibana answers there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.handler)
			defer s.Close()
			_, err := Install(t.Context(), Server{URL: s.URL + c.path, Authorization: c.login}, false)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUnreachable) != c.unreachable {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestInstallAddress(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	at := strings.Replace(gone.URL, "http://", "http://me:secret@", 1)
	_, err := Install(t.Context(), Server{URL: at}, false)
	if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "kibana:5601", "ftp://kibana", "http://", "http://me:secret@kibana:5601/?x=1"} {
		if _, err := Install(t.Context(), Server{URL: bad}, false); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// An id that another space has becomes another one here, and a success that
// leaves an object out is none.
func TestInstallAnswers(t *testing.T) {
	s := httptest.NewServer(&testkibana.Server{Elsewhere: map[string]string{"mesoscope-lines": "7b0c"}})
	defer s.Close()
	r, err := Install(t.Context(), Server{URL: s.URL}, false)
	if err != nil || !strings.Contains(r.Steps[0].Detail, "7b0c") {
		t.Errorf("%+v %v", r.Steps, err)
	}
	empty := imported{Success: true}
	if _, err := empty.steps(); err == nil || !strings.Contains(err.Error(), "says nothing of it") {
		t.Errorf("%v", err)
	}
}

// The file has what its searches refer to, under the names of their form, and
// nobody who edits it by hand leaves an id twice.
func TestFile(t *testing.T) {
	views, searches, err := testkibana.Read(File())
	if err != nil {
		t.Fatal(err)
	}
	if len(views) != 2 || len(searches) != 7 {
		t.Errorf("%d data views, %d searches", len(views), len(searches))
	}
	for _, s := range searches {
		if s.View.Pattern == "" || s.Description == "" || !strings.HasPrefix(s.ID, "mesoscope-") {
			t.Errorf("%+v", s)
		}
		for _, f := range s.Filters {
			if !f.Disabled {
				t.Errorf("%s: the filter on %s is a sample and must be off", s.ID, f.Field)
			}
			if !bytes.Contains(f.Query, []byte(`"`+f.Field+`":"`+f.Value+`"`)) {
				t.Errorf("%s: the filter says %s %s and asks %s", s.ID, f.Field, f.Value, f.Query)
			}
		}
	}
	if k := keys(); len(slices.Compact(slices.Clone(k))) != len(k) {
		t.Errorf("an id stands twice: %v", k)
	}
}
