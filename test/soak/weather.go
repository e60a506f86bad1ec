package main

import (
	"bytes"
	"math/rand/v2"
	"time"

	"mesoscope/test/fakees"
)

// mostBody is the largest request in a weather that refuses large ones: more
// than any single document takes.
const mostBody = 3 << 20

// weathers are the faults on the way to the store.
func weathers() []*weather {
	one := func(in int, f fakees.Fault) func(*rand.Rand, *fakees.Bulk) fakees.Fault {
		return func(r *rand.Rand, _ *fakees.Bulk) fakees.Fault {
			if r.IntN(in) == 0 {
				return f
			}
			return fakees.Fault{}
		}
	}
	return []*weather{
		{name: "429", bulk: one(1, fakees.Fault{Status: 429, Type: "es_rejected_execution_exception", Reason: "rejected execution of coordinating operation"})},
		{name: "503", bulk: one(2, fakees.Fault{Status: 503, Type: "unavailable", Reason: "for the test", RetryAfter: "1"})},
		{name: "cut-before", bulk: one(2, fakees.Fault{Cut: true})},
		{name: "cut-after", bulk: one(2, fakees.Fault{Cut: true, Apply: true})},
		{name: "cut-answer", bulk: func(r *rand.Rand, _ *fakees.Bulk) fakees.Fault {
			return fakees.Fault{Truncate: 1 + r.IntN(300)}
		}},
		{name: "slow-cut", bulk: func(r *rand.Rand, _ *fakees.Bulk) fakees.Fault {
			return fakees.Fault{Delay: time.Duration(r.IntN(1500)) * time.Millisecond, Cut: r.IntN(2) == 0, Apply: r.IntN(2) == 0}
		}},
		{name: "hang", bulk: one(6, fakees.Fault{Hang: true, Apply: true})},
		{name: "late", bulk: func(r *rand.Rand, _ *fakees.Bulk) fakees.Fault {
			if r.IntN(2) == 0 {
				return fakees.Fault{}
			}
			// Stored when the agent has long been told that it was not, maybe by
			// then in another backing index.
			return fakees.Fault{Cut: true, Late: time.Duration(r.IntN(2000)) * time.Millisecond}
		}},
		{name: "cut-and-roll", rolls: 2, bulk: one(2, fakees.Fault{Cut: true, Apply: true})},
		{name: "413", bulk: func(_ *rand.Rand, b *fakees.Bulk) fakees.Fault {
			if len(b.Body) > mostBody {
				return fakees.Fault{Status: 413}
			}
			return fakees.Fault{}
		}},
		{name: "nonsense", bulk: func(r *rand.Rand, _ *fakees.Bulk) fakees.Fault {
			bodies := []string{"<html><body>It works!</body></html>", "{}", `{"errors":false,"items":[]}`, `{"errors":false,"items":[{"create":{}}]}`, "\x00\x01"}
			if r.IntN(2) == 0 {
				return fakees.Fault{}
			}
			return fakees.Fault{Body: bodies[r.IntN(len(bodies))], Apply: r.IntN(2) == 0}
		}},
		{name: "items", item: func(r *rand.Rand, _ string, doc []byte) fakees.ItemFault {
			switch d := r.IntN(30); {
			case d < 5:
				return fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception", Reason: "rejected execution of primary operation"}
			case d < 8:
				return fakees.ItemFault{Status: 503, Type: "unavailable_shards_exception", Reason: "[0] primary shard is not active"}
			case d < 9 && !bytes.Contains(doc, []byte(`"error":{`)):
				return fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: "[1:2] failed to parse field"}
			}
			return fakees.ItemFault{}
		}},
		{name: "poison", item: func(_ *rand.Rand, id string, _ []byte) fakees.ItemFault {
			// What is refused in every form goes into the dead-letter file.
			if sumOf([]byte(id))%400 == 0 {
				return fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: "[1:2] refused in every form"}
			}
			return fakees.ItemFault{}
		}},
	}
}
