package embedded

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"mesoscope/record"
)

// fields are what a container's stream usually shares.
func benchStream(n int) *record.Stream {
	return &record.Stream{Name: fmt.Sprintf("docker/%064x/stdout", n), Index: "logs-mesos.container-default", Dataset: "mesos.container",
		Fields: fmt.Appendf(nil, `"stream":"stdout","container":{"id":"%064x","name":"web-%d","runtime":"docker","image":{"name":"shop/web","tag":["1.4.2"]},"labels":{"com.docker.compose.service":"web","MESOS_TASK_ID":"web.%d"}},"host":{"name":"node-1","ip":["10.0.0.5"]},"service":{"name":"/prod/web-%d"}`, n, n, n, n)}
}

// BenchmarkAppend stores lines of about 150 bytes of 20 streams, 256 a batch
// and 16 batches a transaction, which is what a busy sink gathers.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "store.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const perBatch, perAppend = 256, 16
	streams := make([]*record.Stream, 20)
	for i := range streams {
		streams[i] = benchStream(i)
	}
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	lines := 0
	b.ResetTimer()
	for lines < b.N {
		b.StopTimer()
		var batches []*record.Batch
		for i := range perAppend {
			batch := new(record.Batch)
			batch.Reset(streams[(lines/perBatch+i)%len(streams)], nil)
			for range perBatch {
				at := start.Add(time.Duration(lines) * time.Millisecond).Format(time.RFC3339Nano)
				add(batch, fmt.Sprintf("%026d", lines), fmt.Sprintf(`"@timestamp":"%s","message":"%s INFO [http-nio-8080-exec-%d] c.e.shop.OrderController - GET /api/v1/orders/%d -> 200 in %d ms user=%d trace=%016x","log":{"level":"info","offset":%d,"file":{"path":"/var/lib/docker/containers/x/x-json.log","generation":"g1"}},"event":{"sequence":%d,"created":"%s","dataset":"mesos.container"}`,
					at, at, lines%10, lines%9973, lines%97, lines%4001, uint64(lines)*0x9e3779b97f4a7c15, lines*200, lines, at))
				lines++
			}
			batch.Cursor = fmt.Appendf(nil, "%d", lines)
			batches = append(batches, batch)
		}
		b.StartTimer()
		if err := s.Append(context.Background(), batches); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	used, err := s.Used(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(used)/float64(lines), "file-B/line")
}

// add appends a document to b.
func add(b *record.Batch, id, own string) {
	b.Body = record.AppendAction(b.Body, []byte(id))
	item := record.Item{Doc: uint32(len(b.Body))}
	b.Body = append(b.Body, "{"+own+","...)
	b.Body = append(b.Body, b.Stream.Fields...)
	b.Body = append(b.Body, "}\n"...)
	item.End = uint32(len(b.Body))
	b.Items = append(b.Items, item)
}
