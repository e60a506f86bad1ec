package kibana

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// attributes are those that each type has from Kibana 8.8 on.
var attributes = map[string][]string{
	"index-pattern": {"title", "name", "type", "timeFieldName", "sourceFilters", "fields", "typeMeta", "fieldFormatMap", "fieldAttrs",
		"runtimeFieldMap", "allowNoIndex", "allowHidden"},
	"search": {"title", "description", "columns", "sort", "grid", "rowHeight", "rowsPerPage", "hideChart", "breakdownField",
		"kibanaSavedObjectMeta", "isTextBasedQuery", "usesAdHocDataView", "timeRestore", "timeRange", "refreshInterval", "viewMode",
		"hideAggregatedPreview", "hits", "version"},
}

type reference struct{ Name, Type, ID string }

// object is a line of the file.
type object struct {
	Type, ID   string
	Attributes map[string]json.RawMessage
	References []reference
	Core       string `json:"coreMigrationVersion"`
	Migrated   string `json:"typeMigrationVersion"`
	line       json.RawMessage
}

func (o object) key() string { return o.Type + ":" + o.ID }

func decode(r io.Reader) (list []object, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		o := object{line: bytes.Clone(lines.Bytes())}
		if err := json.Unmarshal(o.line, &o); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, lines.Err()
}

// A View is a data view.
type View struct{ ID, Pattern, TimeField string }

// A Search is a saved search as Discover runs it.
type Search struct {
	ID, Title, Description string
	View                   View
	Query                  string // KQL
	Filters                []Filter
	Columns                []string
	Sort                   [][2]string // field, asc or desc
	Breakdown              string      // the field by which the chart is coloured
}

// A Filter is one of the pills above the lines.
type Filter struct {
	Field    string
	Value    string
	Disabled bool
	Query    json.RawMessage // in Elasticsearch's query DSL
}

// Read takes a file of data views and saved searches apart.
func Read(file []byte) (views []View, searches []Search, err error) {
	list, err := decode(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	byID := map[string]View{}
	for _, o := range list {
		if o.Type != "index-pattern" {
			continue
		}
		v := View{ID: o.ID}
		if err := errors.Join(json.Unmarshal(o.Attributes["title"], &v.Pattern), json.Unmarshal(o.Attributes["timeFieldName"], &v.TimeField)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.key(), err)
		}
		byID[o.ID] = v
		views = append(views, v)
	}
	for _, o := range list {
		if o.Type == "index-pattern" {
			continue
		}
		s, err := o.search()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.key(), err)
		}
		s.View = byID[s.View.ID]
		searches = append(searches, s)
	}
	return views, searches, nil
}

// search checks the form of a saved search.
func (o object) search() (Search, error) {
	s := Search{ID: o.ID}
	var meta struct{ SearchSourceJSON string }
	var source struct {
		Query        struct{ Language, Query string }
		IndexRefName string
		Filter       []struct {
			Meta struct {
				Disabled, Negate         bool
				Key, Field, IndexRefName string
				Params                   struct{ Query string }
			}
			Query json.RawMessage
		}
	}
	for name, into := range map[string]any{"title": &s.Title, "description": &s.Description, "columns": &s.Columns, "sort": &s.Sort,
		"breakdownField": &s.Breakdown, "kibanaSavedObjectMeta": &meta} {
		if o.Attributes[name] == nil && name == "breakdownField" {
			continue
		}
		if err := json.Unmarshal(o.Attributes[name], into); err != nil {
			return s, fmt.Errorf("[attributes.%s]: %w", name, err)
		}
	}
	d := json.NewDecoder(strings.NewReader(meta.SearchSourceJSON))
	if err := d.Decode(&source); err != nil {
		return s, fmt.Errorf("searchSourceJSON: %w", err)
	}
	if source.Query.Language != "kuery" {
		return s, fmt.Errorf("a query in %q", source.Query.Language)
	}
	refers := func(name string) (id string, err error) {
		for _, r := range o.References {
			if r.Name == name && r.Type == "index-pattern" {
				return r.ID, nil
			}
		}
		return "", fmt.Errorf("no reference %q", name)
	}
	s.Query = source.Query.Query
	var err error
	if s.View.ID, err = refers(source.IndexRefName); err != nil {
		return s, err
	}
	for _, f := range source.Filter {
		if _, err := refers(f.Meta.IndexRefName); err != nil {
			return s, err
		}
		if f.Meta.Key != f.Meta.Field || f.Meta.Negate {
			return s, fmt.Errorf("filter %+v", f.Meta)
		}
		s.Filters = append(s.Filters, Filter{f.Meta.Key, f.Meta.Params.Query, f.Meta.Disabled, f.Query})
	}
	return s, nil
}
