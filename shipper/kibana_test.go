package shipper

import (
	"regexp"
	"strings"
	"testing"

	"mesoscope/deploy/kibana"
	"mesoscope/search"
	testkibana "mesoscope/test/kibana"
)

// asked finds the fields of a KQL query.
var asked = regexp.MustCompile(`([\w@.]+)\s*(?::|[<>])`)

// What Kibana's searches show, sort and ask for has a type in the index
// templates, and one that can do that.
func TestKibanaKnowsTheFields(t *testing.T) {
	c := abilities{types: map[string]bool{"match_only_text": true, "date_nanos": true, "flattened": true}}
	typeOf := func(field string) string {
		m := c.mappings()
		for _, part := range strings.Split(field, ".") {
			p, _ := m["properties"].(object)
			m, _ = p[part].(object)
		}
		name, _ := m["type"].(string)
		return name
	}
	if typeOf("container.name") != "keyword" || typeOf("container") != "" || typeOf("container.name.first") != "" || typeOf("nothing") != "" {
		t.Fatal("this test cannot tell what is mapped")
	}
	views, searches, err := testkibana.Read(kibana.File())
	if err != nil {
		t.Fatal(err)
	}
	patterns := map[string]bool{}
	for _, template := range indexTemplates {
		patterns[template.pattern] = true
	}
	for _, v := range views {
		for _, p := range strings.Split(v.Pattern, ",") {
			if !patterns[p] {
				t.Errorf("%s: no template for %s", v.ID, p)
			}
		}
		if typeOf(v.TimeField) != "date_nanos" {
			t.Errorf("%s: time field %s", v.ID, v.TimeField)
		}
	}
	for _, s := range searches {
		if _, err := search.Parse(s.Query); err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
		fields := append([]string{}, s.Columns...)
		for _, m := range asked.FindAllStringSubmatch(s.Query, -1) {
			fields = append(fields, m[1])
		}
		for _, f := range fields {
			if typeOf(f) == "" {
				t.Errorf("%s: no template has the field %s", s.ID, f)
			}
		}
		for _, f := range s.Filters {
			if typeOf(f.Field) != "keyword" {
				t.Errorf("%s: filter on %s", s.ID, f.Field)
			}
		}
		for _, by := range s.Sort {
			if k := typeOf(by[0]); k != "date_nanos" && k != "long" && k != "keyword" {
				t.Errorf("%s: %s cannot be sorted by (%q)", s.ID, by[0], k)
			}
		}
		if k := typeOf(s.Breakdown); s.Breakdown != "" && k != "keyword" {
			t.Errorf("%s: the chart cannot be coloured by %s (%q)", s.ID, s.Breakdown, k)
		}
	}
}
