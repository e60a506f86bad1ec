package shipper

import (
	"strings"
	"testing"
	"time"

	"mesoscope/test/fakees"
)

// Each row of the table of answers is counted for `status`, with a case of it.
func TestAnswersAreCounted(t *testing.T) {
	parse := fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: "[1:2] failed to parse field [app.n]"}
	for _, c := range []struct {
		name    string
		item    fakees.ItemFault
		bulk    fakees.Fault
		times   int
		want    answerKind
		lines   int64
		example string
	}{
		{name: "stored", want: answerStored, lines: 3},
		{name: "quarantined", item: fakees.ItemFault{FailureStore: true}, times: 1, want: answerQuarantined, lines: 1, example: "::failures/_search"},
		{name: "rerouted", item: fakees.ItemFault{Reroute: "logs-other-default"}, times: 1, want: answerRerouted, lines: 1, example: "logs-other-default"},
		{name: "other id", item: fakees.ItemFault{OtherID: "zzz"}, times: 1, want: answerOtherID, lines: 1, example: "zzz in " + testIndex},
		{name: "noop", item: fakees.ItemFault{Noop: true}, times: 1, want: answerNoop, lines: 1},
		{name: "429", item: fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception", Reason: "queue"}, times: 2, want: answerBusy, lines: 2, example: "status 429 es_rejected_execution_exception: queue"},
		{name: "503", item: fakees.ItemFault{Status: 503, Type: "unavailable_shards_exception"}, times: 4, want: answerBusy, lines: 4, example: "status 503 unavailable_shards"},
		{name: "400", item: parse, times: 1, want: answerReduced, lines: 1, example: "app.n"},
		{name: "400 twice", item: parse, times: 2, want: answerDead, lines: 1, example: "app.n"},
		{name: "403", item: fakees.ItemFault{Status: 403, Type: "security_exception", Reason: "unauthorized"}, times: 1, want: answerDenied, lines: 1, example: "unauthorized"},
		{name: "404", item: fakees.ItemFault{Status: 404, Type: "index_not_found_exception"}, times: 1, want: answerDenied, lines: 1, example: "index_not_found"},
		{name: "disk", item: fakees.FloodStage, times: 1, want: answerBlocked, lines: 1, example: "flood-stage"},
		{name: "413", item: fakees.ItemFault{Status: 413, Type: "exception"}, times: 1, want: answerCut, lines: 1, example: "status 413"},
		{name: "409", bulk: fakees.Fault{Apply: true, Cut: true}, times: 1, want: answerDuplicate, lines: 3},
		{name: "no answer", bulk: fakees.Fault{Cut: true}, times: 1, want: answerNone, lines: 3, example: "EOF"},
		{name: "whole 503", bulk: fakees.Fault{Status: 503, Type: "exception", Reason: "no"}, times: 1, want: answerBusy, lines: 3, example: "HTTP 503"},
		{name: "whole 401", bulk: fakees.Fault{Status: 401, Type: "security_exception"}, times: 1, want: answerDenied, lines: 3, example: "HTTP 401"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				times := c.times
				fake := &fakees.Server{OnBulk: func(*fakees.Bulk) fakees.Fault {
					if times--; times < 0 {
						return fakees.Fault{}
					}
					return c.bulk
				}}
				if c.item != (fakees.ItemFault{}) {
					fake = &fakees.Server{OnItem: failOnce("b", c.times, c.item)}
				}
				r := newRig(t, fake, nil)
				r.send("a", "b", "c")
				r.drain()
				for _, got := range r.sink.Status().Answers {
					if got.Answer == answerTexts[c.want][0] && got.Outcome == answerTexts[c.want][1] {
						if got.Lines != c.lines || got.Last.IsZero() || time.Since(got.Last) > time.Minute || !strings.Contains(got.Example, c.example) || got.Example == "" && c.example != "" {
							t.Errorf("counted as %+v, want %d lines, %q", got, c.lines, c.example)
						}
						return
					}
				}
				t.Errorf("not counted: %+v", r.sink.Status().Answers)
			})
		})
	}
}
