package search

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// expiry says up to when retention has deleted, by data stream; zero: not at
// all.
type expiry map[string]time.Time

// backing is the name of a backing index: its data stream and its number. Moved
// ones have something in front.
var backing = regexp.MustCompile(`\.ds-(.+)-\d{4}\.\d{2}\.\d{2}-(\d{6,})$`)

// dataStream is the data stream of a backing index; a plain index is its own.
func dataStream(index string) string {
	if m := backing.FindStringSubmatch(index); m != nil {
		return m[1]
	}
	return index
}

// expiry asks for the backing indices. Retention deletes whole ones, the oldest
// first: where the first one of all is still there nothing has gone, else what
// came before the oldest one was made. Closed ones are there, but nobody can
// look into them. Credentials that may not see indices get the time of the
// oldest document instead.
func (s *elasticsearchStore) expiry(ctx context.Context) (expiry, closedIndices, error) {
	yes := true
	response, err := esapi.IndicesGetSettingsRequest{Index: []string{s.indices}, Name: []string{"index.creation_date", "index.verified_before_close"},
		ExpandWildcards: "open,closed", AllowNoIndices: &yes, IgnoreUnavailable: &yes}.Do(ctx, s.client)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusForbidden {
		oldest, err := s.oldest(ctx)
		return oldest, nil, err
	}
	if response.IsError() {
		return nil, nil, fmt.Errorf("list backing indices: %s", reason(response))
	}
	var a map[string]struct {
		Settings struct {
			Index struct {
				Created string `json:"creation_date"`
				Closed  string `json:"verified_before_close"`
			} `json:"index"`
		} `json:"settings"`
	}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	out, whole, closed := expiry{}, map[string]bool{}, closedIndices{}
	for index, settings := range a {
		m := backing.FindStringSubmatch(index)
		if m == nil {
			continue
		}
		if n, err := strconv.Atoi(m[2]); err != nil || n == 1 {
			whole[m[1]] = true
		}
		if settings.Settings.Index.Closed == "true" {
			closed[m[1]] = append(closed[m[1]], index)
		}
		ms, err := strconv.ParseInt(settings.Settings.Index.Created, 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("creation date of %s: %w", index, err)
		}
		if t := time.UnixMilli(ms).UTC(); out[m[1]].IsZero() || t.Before(out[m[1]]) {
			out[m[1]] = t
		}
	}
	for name := range whole {
		delete(out, name)
	}
	return out, closed, nil
}

// oldest is the expiry of every data stream that has documents by the oldest.
func (s *elasticsearchStore) oldest(ctx context.Context) (expiry, error) {
	var a struct {
		Aggregations struct {
			Result struct {
				Buckets []struct {
					Key    string `json:"key"`
					Oldest struct {
						Value float64 `json:"value"`
					} `json:"oldest"`
				} `json:"buckets"`
			} `json:"result"`
		} `json:"aggregations"`
	}
	if err := s.askFor(ctx, clause{"size": 0, "query": dsl(visible(nil)), "aggs": clause{"result": clause{
		"terms": clause{"field": "_index", "size": 10000},
		"aggs":  clause{"oldest": clause{"min": clause{"field": "@timestamp"}}},
	}}}, &a); err != nil {
		return nil, err
	}
	out := expiry{}
	for _, b := range a.Aggregations.Result.Buckets {
		name, t := dataStream(b.Key), milliseconds(b.Oldest.Value)
		if out[name].IsZero() || t.Before(out[name]) {
			out[name] = t
		}
	}
	return out, nil
}

// of is the expiry of lines that are in these indices. Of a file without any
// line left nobody knows in which data stream it was: then the earliest of all,
// so that nothing passes for deleted that may be lost.
func (e expiry) of(indices []string) (earliest time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (earliest.IsZero() || t.Before(earliest)) {
			earliest = t
		}
	}
	if len(indices) == 0 {
		for name, t := range e {
			if !ownStream.MatchString(name) {
				earlier(t)
			}
		}
		return earliest
	}
	for _, index := range indices {
		t, ok := e[dataStream(index)]
		if !ok {
			return time.Time{}
		}
		earlier(t)
	}
	return earliest
}

// ownStream is a data stream of own datasets.
var ownStream = regexp.MustCompile(`^logs-` + regexp.QuoteMeta(ownDatasets))

// closedIndices are the closed backing indices, by data stream.
type closedIndices map[string][]string

// of are those that may hold lines of a file of which these indices hold some;
// none: all.
func (c closedIndices) of(indices []string) (closed []string) {
	streams := map[string]bool{}
	for _, index := range indices {
		streams[dataStream(index)] = true
	}
	for name, list := range c {
		if streams[name] || len(indices) == 0 && !ownStream.MatchString(name) {
			closed = append(closed, list...)
		}
	}
	slices.Sort(closed)
	return closed
}
