// Package shipper brings batches into a store and settles them. A sink is
// anything with
//
//	Run(ctx context.Context, in <-chan *record.Batch) error
//
// Elasticsearch (elasticsearch.go) is the sink for a cluster; Embedded
// (embedded.go) the one for a single host.
//
// The way of the data in Elasticsearch: one goroutine, the assembler, takes
// batches from the channel, puts those of one index side by side into a bulk
// (lane.go) without copying them, and hands it to a free sender (send.go) when
// the pace (pace.go) says so. The sender compresses it (gzip.go), posts it
// (body.go) and reads the answer item by item (answer.go). Back in the assembler each item gets its
// verdict (verdict.go): stored, known already, again, again in a reduced form
// (reduce.go), or into the dead-letter file (deadletter.go). A batch is settled
// when its last item has a final answer. All state belongs to the assembler, so
// there are no locks on the way.
//
// Setup (setup.go, template.go) puts templates and lifecycle in place before
// the first line.
package shipper
