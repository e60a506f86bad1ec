package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// How a file's lines are counted, exactly and without fetching them:
//
//  1. A histogram says which windows of windowLines numbers hold documents.
//  2. Each window is asked for the count of documents in each part of partLines
//     numbers, and for the numbers that stand there more than once (terms with
//     min_doc_count 2). The terms are exact, because size and shard_size are as
//     large as the window: no shard leaves a value out. Documents less surplus
//     copies are then the exact number of different lines in a part, and a part
//     that has as many as it has numbers has every one of them. A count alone
//     would not say that (one line missing and one doubled), nor would sums of
//     numbers and of their squares (1, 5, 6 and 2, 3, 7 have the same), and
//     cardinality is an estimate.
//  3. Only parts that are neither full nor empty are listed, number by number.
//
// A file of ten million lines takes some 300 questions of a few kilobytes.
const (
	windowLines = 1 << 15 // below search.max_buckets, which is 65,536
	partLines   = 256
)

// sequenceTerms gives the numbers that stand there at least so often, all of
// them, in order.
func sequenceTerms(least int) clause {
	return clause{"terms": clause{"field": "event.sequence", "size": windowLines, "shard_size": windowLines,
		"min_doc_count": least, "order": clause{"_key": "asc"}}}
}

// An amount is a bucket whose key is a number.
type amount struct {
	Key   float64 `json:"key"`
	Count int64   `json:"doc_count"`
}

type amounts struct {
	Error   int64    `json:"doc_count_error_upper_bound"`
	Buckets []amount `json:"buckets"`
}

// Tally counts as described above.
func (s *elasticsearchStore) Tally(ctx context.Context, keys []Key) ([]Tally, error) {
	tallies, err := s.tallyAll(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("count lines of %s: %w", s.indices, err)
	}
	return tallies, nil
}

func (s *elasticsearchStore) tallyAll(ctx context.Context, keys []Key) ([]Tally, error) {
	stale, err := s.refresh(ctx)
	if err != nil {
		return nil, err
	}
	tallies, indices := make([]Tally, len(keys)), make([][]string, len(keys))
	for i, k := range keys {
		if tallies[i], indices[i], err = s.tally(ctx, k); err != nil {
			return nil, err
		}
	}
	// Afterwards: what retention deleted before the lines were counted is in it.
	expiry, closed, err := s.expiry(ctx)
	if err != nil {
		return nil, err
	}
	for i := range tallies {
		tallies[i].Stale, tallies[i].Expired, tallies[i].Closed = stale, expiry.of(indices[i]), closed.of(indices[i])
	}
	return tallies, nil
}

// tally counts the lines of k and says in which indices they are.
func (s *elasticsearchStore) tally(ctx context.Context, k Key) (t Tally, indices []string, err error) {
	filters := []clause{
		dslTerm("container.id", k.Container), dslTerm("log.file.generation", k.Generation), dslTerm("stream", k.Stream), dsl(exists{"event.sequence"}),
	}
	var a struct {
		Aggregations struct {
			Windows amounts `json:"windows"`
			Indices struct {
				Buckets []struct {
					Key string `json:"key"`
				} `json:"buckets"`
			} `json:"indices"`
		} `json:"aggregations"`
	}
	if err := s.askFor(ctx, clause{"size": 0, "query": boolean("filter", filters), "aggs": clause{
		"windows": sequenceHistogram(windowLines),
		"indices": clause{"terms": clause{"field": "_index", "size": 1000}},
	}}, &a); err != nil {
		return Tally{}, nil, err
	}
	var found runs
	for _, w := range a.Aggregations.Windows.Buckets {
		n, err := s.window(ctx, filters, int64(w.Key), &found)
		if err != nil {
			return Tally{}, nil, err
		}
		t.Lines += n
	}
	t.Runs = found
	for _, i := range a.Aggregations.Indices.Buckets {
		indices = append(indices, i.Key)
	}
	return t, indices, nil
}

func sequenceHistogram(interval int) clause {
	return clause{"histogram": clause{"field": "event.sequence", "interval": interval, "offset": 1, "min_doc_count": 1}}
}

func sequenceRange(first, last int64) clause {
	return clause{"range": clause{"event.sequence": clause{"gte": first, "lte": last}}}
}

// window adds the runs of the windowLines numbers from first on.
func (s *elasticsearchStore) window(ctx context.Context, filters []clause, first int64, found *runs) (lines int64, err error) {
	filters = append(filters[:len(filters):len(filters)], sequenceRange(first, first+windowLines-1))
	var a struct {
		Aggregations struct {
			Parts amounts `json:"parts"`
			Twice amounts `json:"twice"`
		} `json:"aggregations"`
	}
	if err := s.askFor(ctx, clause{"size": 0, "query": boolean("filter", filters), "aggs": clause{
		"parts": sequenceHistogram(partLines), "twice": sequenceTerms(2),
	}}, &a); err != nil {
		return 0, err
	}
	twice := a.Aggregations.Twice
	if twice.Error != 0 {
		return 0, errors.New("the server gave estimates where it was asked for exact counts")
	}
	// What is full needs no list; the others are listed with one more question.
	var ranges []clause
	full := map[int64]bool{}
	for _, p := range a.Aggregations.Parts.Buckets {
		from := int64(p.Key)
		different := p.Count
		for _, d := range twice.Buckets {
			if n := int64(d.Key); n >= from && n < from+partLines {
				different -= d.Count - 1
			}
		}
		lines += p.Count
		if full[from] = different == partLines; !full[from] {
			ranges = append(ranges, sequenceRange(from, from+partLines-1))
		}
	}
	listed, err := s.list(ctx, filters, ranges)
	if err != nil {
		return 0, err
	}
	for _, p := range a.Aggregations.Parts.Buckets {
		from := int64(p.Key)
		end := from + partLines
		if full[from] {
			next := from
			for ; len(twice.Buckets) > 0 && int64(twice.Buckets[0].Key) < end; twice.Buckets = twice.Buckets[1:] {
				n := int64(twice.Buckets[0].Key)
				if n < from {
					continue // stands in the list of a part before
				}
				if n > next {
					found.add(next, n-1, 1)
				}
				found.add(n, n, twice.Buckets[0].Count)
				next = n + 1
			}
			if next < end {
				found.add(next, end-1, 1)
			}
			continue
		}
		for ; len(listed) > 0 && int64(listed[0].Key) < end; listed = listed[1:] {
			n := int64(listed[0].Key)
			found.add(n, n, listed[0].Count)
		}
	}
	return lines, nil
}

// list gives each number in ranges that is stored, and how often.
func (s *elasticsearchStore) list(ctx context.Context, filters, ranges []clause) ([]amount, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	var a struct {
		Aggregations struct {
			Result amounts `json:"result"`
		} `json:"aggregations"`
	}
	filters = append(filters[:len(filters):len(filters)], clause{"bool": clause{"should": ranges, "minimum_should_match": 1}})
	err := s.askFor(ctx, clause{"size": 0, "query": boolean("filter", filters), "aggs": clause{"result": sequenceTerms(1)}}, &a)
	return a.Aggregations.Result.Buckets, err
}

// Generations asks for the combinations of container, file and stream.
func (s *elasticsearchStore) Generations(ctx context.Context, r Request) ([]Generation, error) {
	list, err := s.generations(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("list log files of %s: %w", s.indices, err)
	}
	return list, nil
}

func (s *elasticsearchStore) generations(ctx context.Context, r Request) ([]Generation, error) {
	if _, err := s.refresh(ctx); err != nil {
		return nil, err
	}
	source := func(name, field string) clause { return clause{name: clause{"terms": clause{"field": field}}} }
	one := func(field string) clause { return clause{"terms": clause{"field": field, "size": 1}} }
	composite := clause{"size": 1000, "sources": []clause{
		source("container", "container.id"), source("generation", "log.file.generation"), source("stream", "stream"),
	}}
	type text struct {
		Buckets []struct {
			Key string `json:"key"`
		} `json:"buckets"`
	}
	type instant struct {
		Value float64 `json:"value"` // ms
	}
	var list []Generation
	for {
		var a struct {
			Aggregations struct {
				Result struct {
					After   json.RawMessage `json:"after_key"`
					Buckets []struct {
						Key   Key     `json:"key"`
						Name  text    `json:"name"`
						Path  text    `json:"path"`
						First instant `json:"first"`
						Last  instant `json:"last"`
					} `json:"buckets"`
				} `json:"result"`
			} `json:"aggregations"`
		}
		if err := s.askFor(ctx, clause{"size": 0, "query": boolean("filter", []clause{filter(r), dsl(exists{"event.sequence"})}), "aggs": clause{"result": clause{
			"composite": composite,
			"aggs": clause{
				"name": one("container.name"), "path": one("log.file.path"),
				"first": clause{"min": clause{"field": "@timestamp"}}, "last": clause{"max": clause{"field": "@timestamp"}},
			},
		}}}, &a); err != nil {
			return nil, err
		}
		result := a.Aggregations.Result
		for _, b := range result.Buckets {
			g := Generation{Key: b.Key, First: milliseconds(b.First.Value), Last: milliseconds(b.Last.Value)}
			if len(b.Name.Buckets) > 0 {
				g.Name = b.Name.Buckets[0].Key
			}
			if len(b.Path.Buckets) > 0 {
				g.Path = b.Path.Buckets[0].Key
			}
			list = append(list, g)
		}
		if len(result.Buckets) == 0 || result.After == nil {
			break
		}
		composite["after"] = result.After
	}
	sortGenerations(list)
	return list, nil
}

func milliseconds(ms float64) time.Time {
	whole := math.Floor(ms)
	return time.UnixMilli(int64(whole)).Add(time.Duration((ms - whole) * 1e6)).UTC()
}

// refresh makes all that is stored visible. stale: these credentials may not.
func (s *elasticsearchStore) refresh(ctx context.Context) (stale bool, err error) {
	yes := true
	response, err := esapi.IndicesRefreshRequest{Index: []string{s.indices}, AllowNoIndices: &yes, IgnoreUnavailable: &yes}.Do(ctx, s.client)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusForbidden {
		return true, nil
	}
	if response.IsError() {
		return false, fmt.Errorf("refresh: %s", reason(response))
	}
	return false, nil
}
