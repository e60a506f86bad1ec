package alert

import (
	"os"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// TestRouteForEachRealert: the label realert_every has a route for each of its
// values, for those who are woken and for teams, with that interval.
func TestRouteForEachRealert(t *testing.T) {
	type route struct {
		Receiver string
		Matchers []string
		Repeat   string `yaml:"repeat_interval"`
		Routes   []route
	}
	var file struct{ Route route }
	text, err := os.ReadFile("../../deploy/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	trees := 0
	for _, r := range file.Route.Routes {
		if len(r.Routes) == 0 {
			continue
		}
		trees++
		found := map[string]string{}
		for _, child := range r.Routes {
			found[child.Matchers[0]] = child.Repeat
		}
		for _, x := range realerts {
			repeat, err := time.ParseDuration(found[`realert_every="`+x.label+`"`])
			if err != nil || repeat != x.every {
				t.Errorf("%s, %s: repeat_interval is %s, %v", r.Receiver, x.label, repeat, err)
			}
		}
		if len(found) != len(realerts) {
			t.Errorf("%s has the routes %v", r.Receiver, found)
		}
	}
	if trees != 2 {
		t.Errorf("%d receivers have routes for realert_every, want pager and team", trees)
	}
}
