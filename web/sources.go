package web

import (
	"encoding/json"
	"net/http"
)

// A Source is one followed file or stream, as /api/v1/sources shows it.
type Source struct {
	ID           string  `json:"id"`
	Container    string  `json:"container"`
	Service      string  `json:"service"`
	Stream       string  `json:"stream"`
	Driver       string  `json:"driver"`
	Path         string  `json:"path"`
	Size         int64   `json:"size"`        // bytes
	Offset       int64   `json:"offset"`      // bytes read
	Settled      int64   `json:"settled"`     // bytes whose lines are stored
	LagBytes     int64   `json:"lag_bytes"`   // Size - Settled
	LagSeconds   float64 `json:"lag_seconds"` // age of the oldest line that is not stored
	State        string  `json:"state"`
	Guarantee    string  `json:"guarantee"`
	MetadataFrom string  `json:"metadata_from"`
	LastError    string  `json:"last_error"`
}

// Sources says what is followed at this moment.
type Sources interface {
	Sources() []Source
}

func serveSources(s Sources) http.Handler {
	return serveJSON(func() any {
		list := s.Sources()
		if list == nil {
			list = []Source{}
		}
		return list
	})
}

func serveJSON(value func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(value()) // fails only when the client has gone
	})
}
