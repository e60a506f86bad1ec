package embedded

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"unicode/utf16"

	"mesoscope/record"
)

// MaxKeyword is the longest value of a shared field that can be searched for,
// in UTF-16 units: ignore_above of the template for Elasticsearch.
const MaxKeyword = 1024

// origin gives the row of s, and writes it if it is new.
func (w *appending) origin(ctx context.Context, s *record.Stream) (int64, error) {
	key := originKey{s.Name, s.Dataset, string(s.Fields)}
	if id, ok := w.Store.origins[key]; ok {
		return id, nil
	}
	if id, ok := w.origins[key]; ok {
		return id, nil
	}
	result, err := w.tx.ExecContext(ctx, "INSERT INTO origin (stream, dataset, fields, last) VALUES (?, ?, ?, 0)", key.stream, key.dataset, key.fields)
	if err != nil {
		return 0, err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return 0, err
	}
	for _, f := range flatten(s.Fields) {
		if _, err := w.tx.ExecContext(ctx, "INSERT OR IGNORE INTO origin_field VALUES (?, ?, ?)", f.name, f.value, id); err != nil {
			return 0, err
		}
	}
	w.origins[key] = id
	return id, nil
}

// A field is one value by its dotted name.
type field struct{ name, value string }

// flatten gives all values of members, a JSON object without braces, as
// Elasticsearch indexes them: objects by dotted names, each element of an
// array, numbers and booleans as they are written, no null. A value inside an
// object called "labels" (mapping type flattened) stands under the object's own
// name too. An address in host.ip is stored by SortableIP. What is too long is
// left out.
func flatten(members []byte) []field {
	d := json.NewDecoder(bytes.NewReader(append(append([]byte{'{'}, members...), '}')))
	d.UseNumber()
	var object map[string]any
	if d.Decode(&object) != nil {
		return nil // then every document of the stream is invalid and has no fields to search for
	}
	var fields []field
	var add func(name, labels string, v any)
	add = func(name, labels string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, v := range v {
				inner := labels
				if labels == "" && k == "labels" {
					if _, ok := v.(map[string]any); ok {
						inner = name + ".labels"
					}
				}
				add(name+"."+k, inner, v)
			}
			return
		case []any:
			for _, v := range v {
				add(name, labels, v)
			}
			return
		}
		value, ok := scalar(v)
		if !ok {
			return
		}
		if name == "host.ip" {
			if value, ok = SortableIP(value); !ok {
				return
			}
		}
		fields = append(fields, field{name, value})
		if labels != "" {
			fields = append(fields, field{labels, value})
		}
	}
	for k, v := range object {
		add(k, "", v)
	}
	return fields
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, len(v) <= MaxKeyword || len(utf16.Encode([]rune(v))) <= MaxKeyword
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false // null
}

// SortableIP is the form in which addresses are stored: 32 hex digits, IPv4
// mapped to IPv6 as Elasticsearch does it, so that they sort as addresses do.
func SortableIP(s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", false
	}
	b := a.As16()
	return hex.EncodeToString(b[:]), true
}

// ParseSortableIP is the address that SortableIP gave s for.
func ParseSortableIP(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)).Unmap(), true
}
