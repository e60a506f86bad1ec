package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"mesoscope/agent/pipeline"
	"mesoscope/record"
)

const (
	containers = 20
	bulk       = 5000
	run        = 40 // lines of one container behind each other in a bulk
)

// load sends the documents. The same number always makes the same lines.
func (b *bench) load(index string, id func(key) string) error {
	bodies, errs := make(chan []byte, 2), make(chan error, 2)
	for range 2 {
		go func() {
			for body := range bodies {
				if err := b.bulk(index, body); err != nil {
					errs <- err
					for range bodies { // the maker must come to its end
					}
					return
				}
			}
			errs <- nil
		}()
	}
	err := b.make(id, bodies)
	close(bodies)
	for range 2 {
		if e := <-errs; err == nil {
			err = e
		}
	}
	return err
}

// make makes the bulks.
func (b *bench) make(id func(key) string, bodies chan<- []byte) error {
	var origins [containers]*pipeline.Origin
	var offsets [containers]int64
	var sequences [containers]int64
	birth := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	names := make([]string, containers)
	for i := range containers {
		names[i] = fmt.Sprintf("%064x", uint64(i+1)*0x9e3779b97f4a7c15)
		fields := fmt.Appendf(nil, `"stream":"stdout","container":{"id":%q,"name":"shop-%d","image":{"name":"registry.example/shop/service","tag":["1.%d.0"]},"labels":{"tier":"web","team":"checkout"}},`+
			`"service":{"name":"/prod/shop/service-%d"},"host":{"name":"node-17","hostname":"node-17"},"orchestrator":{"type":"mesos"},"data_stream":{"type":"logs","dataset":"mesos.container","namespace":"default"},"ecs":{"version":"8.11.0"}`, names[i], i, i, i)
		s := &record.Stream{Name: names[i], Dataset: "mesos.container", Fields: fields}
		origins[i] = pipeline.NewOrigin(s, names[i], "/var/lib/docker/containers/"+names[i]+"/"+names[i]+"-json.log", fmt.Sprintf("generation-%d", i))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := int64(0); n < int64(b.docs); {
		var body bytes.Buffer
		zip, err := gzip.NewWriterLevel(&body, gzip.BestSpeed)
		if err != nil {
			return err
		}
		for end := min(n+bulk, int64(b.docs)); n < end; n++ {
			c := int(n / run % containers)
			at := birth.Add(time.Duration(n) * 37 * time.Microsecond)
			message := line(rnd, n)
			sequences[c]++
			l := &pipeline.Line{Place: pipeline.Place{Offset: offsets[c], Sequence: sequences[c]}, Text: message, Time: at.AppendFormat(nil, time.RFC3339Nano), Nanos: at.UnixNano()}
			k := key{container: names[c], birth: birth.UnixNano() + int64(c), nanos: at.UnixNano(), offset: offsets[c], number: n}
			offsets[c] += int64(len(message)) + 80
			batch := &record.Batch{Stream: origins[c].Stream}
			origins[c].Append(batch, l, l.Time)
			action := []byte("{\"create\":{}}\n")
			if text := id(k); text != "" {
				action = record.AppendAction(nil, []byte(text))
			}
			if _, err := zip.Write(append(action, batch.Body[batch.Items[0].Doc:batch.Items[0].End]...)); err != nil {
				return err
			}
		}
		if err := zip.Close(); err != nil {
			return err
		}
		bodies <- body.Bytes()
	}
	return nil
}

var verbs = []string{"accepted", "rejected", "completed", "retried", "forwarded", "stored", "expired"}

// line is a message of 150 to 700 bytes, as services print them.
func line(rnd *rand.Rand, n int64) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "level=%s request=%016x user=%d path=/api/v2/orders/%d status=%d duration=%dms order %s", []string{"info", "info", "info", "warn", "error"}[rnd.IntN(5)],
		rnd.Uint64(), rnd.IntN(50_000), rnd.IntN(1_000_000), []int{200, 201, 404, 500}[rnd.IntN(4)], rnd.IntN(900), verbs[rnd.IntN(len(verbs))])
	for range rnd.IntN(20) {
		fmt.Fprintf(&b, " item-%d %s", rnd.IntN(5000), verbs[rnd.IntN(len(verbs))])
	}
	fmt.Fprintf(&b, " n=%d", n)
	return []byte(b.String())
}

// bulk sends one body; all of its documents must be stored.
func (b *bench) bulk(index string, body []byte) error {
	answer, err := b.post("/"+index+"/_bulk?filter_path=errors", body)
	if err != nil {
		return err
	}
	var a struct {
		Errors bool `json:"errors"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return err
	}
	if a.Errors {
		return fmt.Errorf("documents of a bulk for %s were refused", index)
	}
	return nil
}
