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
// when its last item has a final answer; each item that did not simply end as
// stored is marked on it first. All state belongs to the assembler, so there are
// no locks on the way.
//
// What may be stored already (a request without an answer, a batch with Since)
// is asked about before it goes again (resend.go): an asker (lookup.go, bare.go)
// finds out which earlier requests are dead, which backing indices there are
// (backing.go), and what they hold. An id that is there although it was never
// sent is compared (collide.go). A destination that takes nothing is paused
// (pause.go), and its batches go back to the reader (giveback.go).
//
// Setup (setup.go, template.go) puts templates and lifecycle in place before
// the first line.
package shipper
