// Package kibana is what Mesoscope brings for Kibana: the data views and saved
// searches of mesoscope.ndjson, and how they get there.
//
// The way of the data: the file -> Install -> POST /api/saved_objects/_import
// -> a Report with what Kibana says of each object.
package kibana

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed mesoscope.ndjson
var file []byte

// fileName is what the file is called in the request: Kibana refuses any other
// ending.
const fileName = "mesoscope.ndjson"

// File is mesoscope.ndjson: a saved object a line, as Kibana 8.8 and newer
// export and import them.
func File() []byte { return bytes.Clone(file) }

// An Object is a data view or a saved search.
type Object struct {
	Type  string // index-pattern, search
	ID    string
	Title string // as people see it
}

// Kind is the type as people call it.
func (o Object) Kind() string {
	switch o.Type {
	case "index-pattern":
		return "data view"
	case "search":
		return "saved search"
	}
	return o.Type
}

// objects are those of the file.
func objects() []Object {
	var list []Object
	for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan(); {
		var o struct {
			Type, ID   string
			Attributes struct{ Name, Title string }
		}
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			panic(fmt.Sprintf("BUG: kibana: %s: %v", fileName, err))
		}
		title := o.Attributes.Title // of a data view that is its pattern
		if o.Attributes.Name != "" {
			title = o.Attributes.Name
		}
		list = append(list, Object{o.Type, o.ID, title})
	}
	return list
}
