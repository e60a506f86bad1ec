package search

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// pageSize is the most lines that one request asks for; index.max_result_window
// is 10,000 by default.
const pageSize = 5000

// sortFields are the order of lines: by time, and where that is equal by what
// an _id is made of, so that no two lines are equal; event.id is the _id of what
// is no line. Elasticsearch does not keep the order of arrival; within one file
// log.offset is that order.
var sortFields = []string{"@timestamp", "container.id", "log.file.generation", "stream", "log.offset", "event.id"}

// elasticsearchStore asks a cluster. Its Cursor holds the values of sortFields,
// so it needs no state in the server and stays good for as long as the line.
type elasticsearchStore struct {
	client    *elasticsearch.Client
	indices   string
	followers *followers
}

// NewElasticsearch asks the indices or data streams that the pattern indices
// names ("logs-mesos.*-*,logs-mesoscope.*-*"), mapped as the template of `mesoscope setup` does
// it. A pattern that matches nothing is an empty store, not an error.
//
// Following (Request.Arrival) has limits here: Elasticsearch does not tell in
// which order documents came. Each question looks through the lines that
// agents read (event.created) since a minute before the latest one seen, and
// leaves out those that it gave before. So a line is shown about a refresh
// (one second by default) after it was stored; a line that took more than a
// minute from being read to being stored (a cluster that was away, an agent
// whose clock is wrong by more than that) may not be shown, though Search
// finds it; and a Cursor remembers what was given only within this Store: with
// one from another process the last minute is not looked through again.
func NewElasticsearch(client *elasticsearch.Client, indices string) AuditStore {
	return &elasticsearchStore{client, indices, newFollowers()}
}

func (s *elasticsearchStore) Close() error { return nil }

// filter is what r selects, without After.
func filter(r Request) clause {
	clauses := []clause{dsl(visible(r.Query.root))}
	if span := timeRange(r); len(span) > 0 {
		clauses = append(clauses, clause{"range": clause{"@timestamp": span}})
	}
	return boolean("filter", clauses)
}

// timeRange is the range of r, none if it has no begin and no end. Times that
// date_nanos cannot hold are as good as none.
func timeRange(r Request) clause {
	span := clause{}
	if !r.Since.IsZero() && r.Since.Year() >= 1970 {
		span["gte"] = dslTime(unixNano(r.Since))
	}
	if !r.Until.IsZero() && r.Until.Year() <= 2261 {
		span["lt"] = dslTime(max(0, unixNano(r.Until)))
	}
	return span
}

type hit struct {
	ID     string          `json:"_id"`
	Source json.RawMessage `json:"_source"`
	Sort   json.RawMessage `json:"sort"`
}

type answer struct {
	Hits struct {
		Hits []hit `json:"hits"`
	} `json:"hits"`
	Aggregations struct {
		Result struct {
			Buckets []struct {
				Key         json.RawMessage `json:"key"`
				KeyAsString string          `json:"key_as_string"`
				Count       int64           `json:"doc_count"`
			} `json:"buckets"`
		} `json:"result"`
	} `json:"aggregations"`
}

// ask sends one search.
func (s *elasticsearchStore) ask(ctx context.Context, body clause) (*answer, error) {
	var a answer
	if err := s.askFor(ctx, body, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// askFor reads the answer into a.
func (s *elasticsearchStore) askFor(ctx context.Context, body clause, a any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	yes, no := true, false
	response, err := esapi.SearchRequest{
		Index: []string{s.indices}, Body: bytes.NewReader(data),
		AllowNoIndices: &yes, IgnoreUnavailable: &yes, AllowPartialSearchResults: &no, TrackTotalHits: false,
	}.Do(ctx, s.client)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.IsError() {
		return errors.New(reason(response))
	}
	if err := json.NewDecoder(response.Body).Decode(a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// reason is the server's own words for an error, as exact as it says it.
func reason(response *esapi.Response) string {
	var e struct {
		Error struct {
			Reason    string `json:"reason"`
			RootCause []struct {
				Reason string `json:"reason"`
			} `json:"root_cause"`
		} `json:"error"`
	}
	text := response.Status()
	if json.NewDecoder(response.Body).Decode(&e) != nil {
		return text
	}
	if e.Error.Reason != "" {
		text += ": " + e.Error.Reason
	}
	if len(e.Error.RootCause) > 0 && e.Error.RootCause[0].Reason != e.Error.Reason {
		text += ": " + e.Error.RootCause[0].Reason
	}
	return text
}

func (s *elasticsearchStore) Search(ctx context.Context, r Request) (Result, error) {
	if r.Limit <= 0 {
		r.Limit = defaultLimit
	}
	var result Result
	var err error
	if r.Arrival {
		result, err = s.follow(ctx, r)
	} else {
		result, err = s.search(ctx, r)
	}
	if err != nil {
		return Result{}, fmt.Errorf("search %s: %w", s.indices, err)
	}
	return result, nil
}

func (s *elasticsearchStore) search(ctx context.Context, r Request) (Result, error) {
	direction, missing := "asc", "_last"
	if r.Newest { // exactly the other way round
		direction, missing = "desc", "_first"
	}
	result := Result{Cursor: r.After}
	var after json.RawMessage
	if r.After != "" {
		var err error
		if after, err = decodeCursor(r.After); err != nil {
			return Result{}, err
		}
	}
	for {
		size := min(pageSize, r.Limit+1-len(result.Lines))
		hits, err := s.page(ctx, filter(r), sorting(sortFields, direction, missing), after, size)
		if err != nil {
			return Result{}, err
		}
		for _, h := range hits {
			if len(result.Lines) == r.Limit {
				result.More = true
				break
			}
			line, err := h.line(encodeCursor(h.Sort))
			if err != nil {
				return Result{}, err
			}
			result.Lines = append(result.Lines, line)
			result.Cursor = line.Cursor
			after = h.Sort
		}
		if result.More || len(hits) < size {
			break
		}
	}
	if r.Newest {
		reverse(result.Lines)
	}
	return result, nil
}

// page asks for at most size lines behind after.
func (s *elasticsearchStore) page(ctx context.Context, query clause, sort []clause, after json.RawMessage, size int) ([]hit, error) {
	body := clause{"query": query, "sort": sort, "size": size}
	if after != nil {
		body["search_after"] = after
	}
	a, err := s.ask(ctx, body)
	if err != nil {
		return nil, err
	}
	return a.Hits.Hits, nil
}

func sorting(fields []string, direction, missing string) []clause {
	sort := make([]clause, len(fields))
	for i, f := range fields {
		by := clause{"order": direction, "missing": missing}
		switch kindOf(f) {
		case kindTime:
			by["unmapped_type"], by["numeric_type"], by["format"] = "date_nanos", "date_nanos", "strict_date_optional_time_nanos"
		case kindNumber:
			by["unmapped_type"] = "long"
		default:
			by["unmapped_type"] = "keyword"
		}
		sort[i] = clause{f: by}
	}
	return sort
}

// line is what a Store gives for h.
func (h hit) line(cursor Cursor) (Line, error) {
	var doc struct {
		Time time.Time `json:"@timestamp"`
	}
	if err := json.Unmarshal(h.Source, &doc); err != nil {
		return Line{}, fmt.Errorf("document %s: %w", h.ID, err)
	}
	return Line{ID: h.ID, Time: doc.Time.UTC(), Doc: h.Source, Cursor: cursor}, nil
}

func encodeCursor(sort json.RawMessage) Cursor {
	return Cursor(base64.RawURLEncoding.EncodeToString(sort))
}

func decodeCursor(c Cursor) (json.RawMessage, error) {
	data, err := base64.RawURLEncoding.DecodeString(string(c))
	var values []any
	if err != nil || json.Unmarshal(data, &values) != nil || len(values) != len(sortFields) {
		return nil, fmt.Errorf("%q is no cursor of this store", c)
	}
	return data, nil
}

func (s *elasticsearchStore) Histogram(ctx context.Context, r Request, step time.Duration) ([]Bucket, error) {
	buckets, err := s.histogram(ctx, r, step)
	if err != nil {
		return nil, fmt.Errorf("count lines of %s: %w", s.indices, err)
	}
	return buckets, nil
}

func (s *elasticsearchStore) histogram(ctx context.Context, r Request, step time.Duration) ([]Bucket, error) {
	if err := checkStep(r, step); err != nil {
		return nil, err
	}
	a, err := s.ask(ctx, clause{"size": 0, "query": filter(r), "aggs": clause{"result": clause{"date_histogram": clause{
		"field": "@timestamp", "fixed_interval": fmt.Sprintf("%dms", step.Milliseconds()), "min_doc_count": 1,
	}}}})
	if err != nil {
		return nil, err
	}
	var counted []Bucket
	for _, b := range a.Aggregations.Result.Buckets {
		var ms int64
		if err := json.Unmarshal(b.Key, &ms); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		counted = append(counted, Bucket{Time: time.UnixMilli(ms).UTC(), Count: b.Count})
	}
	return fill(r, step, counted)
}

func (s *elasticsearchStore) Values(ctx context.Context, r Request, field string, n int) ([]Value, error) {
	values, err := s.values(ctx, r, field, n)
	if err != nil {
		return nil, fmt.Errorf("values of %s in %s: %w", field, s.indices, err)
	}
	return values, nil
}

func (s *elasticsearchStore) values(ctx context.Context, r Request, field string, n int) ([]Value, error) {
	if err := checkCountable(field); err != nil || n <= 0 {
		return nil, err
	}
	a, err := s.ask(ctx, clause{"size": 0, "query": filter(r), "aggs": clause{"result": clause{"terms": clause{
		"field": field, "size": n, "shard_size": n*2 + 100, "order": []clause{{"_count": "desc"}, {"_key": "asc"}},
	}}}})
	if err != nil {
		return nil, err
	}
	var values []Value
	for _, b := range a.Aggregations.Result.Buckets {
		v := Value{Value: b.KeyAsString, Count: b.Count}
		if v.Value == "" && json.Unmarshal(b.Key, &v.Value) != nil {
			v.Value = string(b.Key) // a number
		}
		values = append(values, v)
	}
	return values, nil
}
