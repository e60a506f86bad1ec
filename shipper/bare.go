package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"mesoscope/record"
)

// With output.elasticsearch.ids: auto lines go without an _id, and Elasticsearch
// makes one: that saves it the look for an older version of each document. Then
// nothing but their number tells that two documents are the same line, so what
// may be stored already is searched for by that before it goes again; two
// attempts at the same time can still store a line twice. Documents that are no
// lines (receipts, gaps) are few and keep their ids, and so do dead letters.

const bareAction = `{"create":{}}` + "\n"

func hasNoID(b *record.Batch, i int) bool { return b.Items[i].Source > 0 }

// stripEntry is a copy of an entry with another action line.
func stripEntry(entry []byte) []byte {
	doc := entry[bytes.IndexByte(entry, '\n')+1:]
	return append([]byte(bareAction), doc...)
}

// strip is a span as it is sent: the same documents without ids. It is valid
// until the next call.
func (s *sender) strip(sp span) span {
	if !s.bare {
		return sp
	}
	from, to := sp.p.batch, &s.stripped
	to.Reset(from.Stream, nil)
	for i := sp.from; i < sp.to; i++ {
		it, entry := from.Items[i], from.Entry(i)
		doc := from.Body[it.Doc:it.End]
		if hasNoID(from, i) {
			to.Body = append(to.Body, bareAction...)
		} else {
			to.Body = append(to.Body, entry[:len(entry)-len(doc)]...)
		}
		begin := len(to.Body)
		to.Body = append(to.Body, doc...)
		to.Items = append(to.Items, record.Item{Doc: uint32(begin), End: uint32(len(to.Body))})
	}
	return span{&pending{batch: to}, 0, sp.to - sp.from}
}

// A line is what the number of a document belongs to.
type line struct{ container, generation, stream string }

const mostNumbers = 5000 // width of the range of one search

// searchNumbers finds out which lines of the bulk are stored, by their numbers.
func (k *asker) searchNumbers(ctx context.Context, q *inquiry) error {
	q.fates = make([]fate, q.b.items)
	lines := map[line]map[int64][]int{} // numbers, and the items that have them
	for n := range q.b.items {
		r := q.b.at(n)
		if !hasNoID(r.p.batch, r.i) {
			continue // `create` finds it
		}
		if l, number, ok := lineOf(r.p.batch.Doc(r.i)); ok {
			if lines[l] == nil {
				lines[l] = map[int64][]int{}
			}
			lines[l][number] = append(lines[l][number], n)
		}
	}
	for _, stream := range q.streams {
		err := k.call(ctx, q, callRefresh, http.MethodPost, "/"+url.PathEscape(stream)+"/_refresh?ignore_unavailable=true", nil, nil)
		var status *callError
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			continue // nothing was ever stored there
		}
		if err != nil && !errors.Is(err, errDenied) {
			return err
		}
		for l, items := range lines {
			if err := k.searchLine(ctx, q, stream, l, items); err != nil {
				return err
			}
		}
	}
	return nil
}

func lineOf(doc []byte) (l line, number int64, ok bool) {
	var d struct {
		Stream    string `json:"stream"`
		Container struct {
			ID string `json:"id"`
		} `json:"container"`
		Log struct {
			File struct {
				Generation string `json:"generation"`
			} `json:"file"`
		} `json:"log"`
		Event struct {
			Sequence *int64 `json:"sequence"`
		} `json:"event"`
	}
	if json.Unmarshal(doc, &d) != nil || d.Event.Sequence == nil {
		return line{}, 0, false
	}
	return line{d.Container.ID, d.Log.File.Generation, d.Stream}, *d.Event.Sequence, true
}

func (k *asker) searchLine(ctx context.Context, q *inquiry, stream string, l line, items map[int64][]int) error {
	numbers := make([]int64, 0, len(items))
	for n := range items {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for len(numbers) > 0 {
		first := numbers[0]
		n := 0
		for n < len(numbers) && numbers[n] < first+mostNumbers {
			n++
		}
		filter := []any{object{"range": object{"event.sequence": object{"gte": first, "lte": numbers[n-1]}}}}
		for name, value := range map[string]string{"container.id": l.container, "log.file.generation": l.generation, "stream": l.stream} {
			if value != "" {
				filter = append(filter, object{"term": object{name: value}})
			}
		}
		body, err := json.Marshal(object{"size": 2 * mostNumbers, "_source": []string{"event.sequence"}, "query": object{"bool": object{"filter": filter}}})
		if err != nil {
			return err
		}
		var a struct {
			TimedOut bool `json:"timed_out"`
			Shards   struct {
				Failed int `json:"failed"`
			} `json:"_shards"`
			Hits struct {
				Hits []struct {
					Source json.RawMessage `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		path := "/" + url.PathEscape(stream) + "/_search?ignore_unavailable=true&allow_partial_search_results=false"
		if err := k.call(ctx, q, callSearch, http.MethodPost, path, body, &a); err != nil {
			return err
		}
		if a.TimedOut || a.Shards.Failed > 0 {
			return fmt.Errorf("POST /%s/_search: %w", stream, errShard)
		}
		for _, h := range a.Hits.Hits {
			if _, number, ok := lineOf(h.Source); ok {
				for _, i := range items[number] {
					q.fates[i] = isThere
				}
			}
		}
		numbers = numbers[n:]
	}
	return nil
}
