package shipper

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"mesoscope/record"
)

// A verdict is what happens to an item because of its answer.
type verdict int

const (
	isFinal    verdict = iota // stored, there already, in quarantine, or dropped by the server: settled
	goesAgain                 // the same again, later
	isReduced                 // once more in a form that no mapping can refuse
	isCut                     // once more with half of its message
	isDead                    // into the dead-letter file
	laneBlocks                // the destination takes nothing: pause it, then the same again
	isMoved                   // stored elsewhere than expected: is it there twice?
	isStrange                 // there already, although it was never sent
)

const (
	sameFault     = 3                // so many equal 5xx in a row, while others succeed, are the document's fault
	refusedFor    = 15 * time.Minute // an item refused so long, while others succeed, is given up
	othersSucceed = 5 * time.Minute  // others succeed if one was stored within this time
)

// judge decides about one item. r is the item as it was sent, with its history;
// judge brings the history up to date. stored is when another item of the same
// index was stored last. For laneBlocks, why is the pause's label.
func judge(o oddItem, r *retry, stored, now time.Time) (v verdict, why string) {
	switch {
	case o.quarantined || o.noop:
		return isFinal, ""
	case o.moved:
		return isMoved, ""
	case o.duplicate && r.since == "" && r.attempts == 0 && o.where != "":
		return isStrange, ""
	case o.duplicate:
		return isFinal, ""
	}
	others := !stored.IsZero() && now.Sub(stored) < othersSucceed
	if r.attempts == 0 || !others {
		// As long as nothing else is stored either, the fault is not the item's.
		r.refused = now
	}
	if r.same > 0 && r.status == o.status && others {
		r.same++
	} else {
		r.same = 1
	}
	r.status = o.status
	r.attempts++

	switch {
	case isBlock(o.status, o.typ):
		return laneBlocks, blockReason(o.reason)
	case o.status >= 500 && scriptFault(o.typ):
		return refused(r)
	case o.status == http.StatusTooManyRequests, o.status >= 500 && notReady(o.typ):
		// The shard is away or has too much: no other form of the document helps.
	case o.status >= 500:
		if r.same >= sameFault {
			return refused(r)
		}
	case o.status == http.StatusUnauthorized, o.status == http.StatusForbidden:
		return laneBlocks, "denied"
	case o.status == http.StatusNotFound:
		return laneBlocks, "missing"
	case o.status == http.StatusBadRequest && o.typ == "index_closed_exception":
		return laneBlocks, "blocked"
	case o.status == http.StatusBadRequest && pipelineMissing(o):
		return laneBlocks, "missing"
	case o.status == http.StatusRequestEntityTooLarge && r.form.cuts < mostCuts:
		return isCut, ""
	case o.status >= 400:
		return refused(r)
	default: // 2xx and 3xx that nobody knows: cannot be called stored
	}
	if others && now.Sub(r.refused) >= refusedFor {
		return isDead, ""
	}
	return goesAgain, ""
}

func refused(r *retry) (verdict, string) {
	if r.form.reduced {
		return isDead, ""
	}
	return isReduced, ""
}

// isBlock tells a block of an index from that of a cluster that is not ready
// yet (503, no master), which is over in a moment.
func isBlock(status int, typ string) bool {
	return typ == "cluster_block_exception" && (status == http.StatusTooManyRequests || status == http.StatusForbidden)
}

// blockReason tells a full disk, which ends by itself when somebody makes
// room, from a block that somebody set.
func blockReason(reason string) string {
	if strings.Contains(reason, "flood-stage") || strings.Contains(reason, "disk usage") || strings.Contains(reason, "read-only / allow delete") {
		return "disk"
	}
	return "blocked"
}

// scriptFault says that the server's own pipeline or script failed on the
// document: the next attempt fails in the same way.
func scriptFault(typ string) bool {
	switch typ {
	case "script_exception", "general_script_exception", "pipeline_processing_exception", "ingest_processor_exception", "fail_processor_exception":
		return true
	}
	return false
}

// notReady says that a 5xx is about the place where the document should go, and
// not about the document: a shard without a primary, a cluster without a master,
// a node that leaves. A shard that is away refuses a part of all lines for as
// long as it is, while the other shards go on, so the third time says nothing.
func notReady(typ string) bool {
	switch typ {
	case "unavailable_shards_exception", "no_shard_available_action_exception", "primary_missing_action_exception",
		"cluster_block_exception", "master_not_discovered_exception", "not_master_exception", "process_cluster_event_timeout_exception",
		"node_closed_exception", "node_disconnected_exception", "node_not_connected_exception", "connect_transport_exception",
		"receive_timeout_transport_exception", "index_shard_closed_exception", "shard_not_in_primary_mode_exception",
		"es_rejected_execution_exception", "circuit_breaking_exception":
		return true
	}
	return false
}

// pipelineMissing says that an index names a pipeline that is not there: every
// other document would get the same 400, and a person has to mend it.
func pipelineMissing(o oddItem) bool {
	return o.typ == "illegal_argument_exception" && strings.Contains(o.reason, "pipeline with id [") && strings.Contains(o.reason, "does not exist")
}

// settleBulk applies a bulk's answer. Afterwards the bulk is free or waits in
// its lane.
func (a *assembler) settleBulk(b *bulk) {
	now := time.Now()
	a.flying--
	a.metrics.inFlight.Dec()
	l := b.lane
	l.flying--
	ans := &b.answer
	if ans.err == nil {
		a.pace.answered(now, ans.rtt)
	}
	a.metrics.bulkSeconds.Observe(ans.rtt.Seconds())
	a.metrics.bulkBytes.Add(float64(b.bytes))
	a.metrics.sentBytes.Add(float64(ans.sent))
	if ans.err == nil && ans.status == http.StatusOK {
		a.items(b, now)
	} else {
		a.doubt(b, now)
		a.whole(b, now)
	}
	a.tidy(l, now)
}

// items goes through an answer that has one row for each item.
func (a *assembler) items(b *bulk, now time.Time) {
	l, ans := b.lane, &b.answer
	a.up(now)
	a.noteAnswer(l, ans, now)
	if ans.stored > 0 {
		l.stored = now
		a.tally.add(answerStored, ans.stored, now, nil)
	}
	a.writesTo(l, ans.backing)
	var moved, strange []retry
	var busy oddItem
	var refusals, overload, blocks int
	from := 0 // position of the first item that is not accounted for
	span, offset := 0, 0
	// done counts the items from `from` to `to` as final.
	done := func(to int) {
		if len(b.retries) > 0 {
			for ; from < to; from++ {
				r := b.retries[from]
				a.noteForm(r)
				a.unpin(r.p)
				a.final(r.p, 1)
			}
			return
		}
		for from < to {
			s := b.spans[span]
			n := min(s.to-s.from-offset, to-from)
			from, offset = from+n, offset+n
			if s.from+offset == s.to {
				span, offset = span+1, 0
			}
			a.final(s.p, n)
		}
	}
	for _, o := range ans.odd {
		r := b.at(o.n)
		v, why := judge(o, &r, l.stored, now)
		if v == isFinal {
			a.markFinal(r, o)
			continue // counted with its neighbours
		}
		done(o.n)
		// The item is not final: pass over it.
		from++
		if len(b.retries) == 0 {
			if offset++; b.spans[span].from+offset == b.spans[span].to {
				span, offset = span+1, 0
			}
			a.pin(r.p)
		}
		r.where, r.wrote = o.where, v == isMoved && o.status == http.StatusCreated
		switch v {
		case isMoved:
			l.stored = now
			moved = append(moved, r)
			continue
		case isStrange:
			strange = append(strange, r)
			continue
		}
		refusals++
		switch v {
		case laneBlocks:
			blocks++
			a.tally.item(pauseKind(why), o, now)
			a.pauseLane(l, why, o.typ, o.reason, now)
			r.due = now
			l.pushRetry(r)
		case isReduced:
			a.refusedNote(l, o, "Elasticsearch refused lines; they are sent once more in a reduced form", slog.LevelWarn)
			a.metrics.refused.WithLabelValues(reasonLabel(o.typ)).Inc()
			a.tally.item(answerReduced, o, now)
			r.form.reduced, r.form.reason = true, cutString(o.typ+": "+o.reason, errorMessage)
			r.due = now
			l.pushRetry(r)
		case isCut:
			a.cut(l, r, o, now)
		case isDead:
			a.giveUp(l, r, o, now)
		case goesAgain:
			overload++
			busy = o
			a.tally.item(answerBusy, o, now)
			a.metrics.retried.WithLabelValues(reasonLabel(o.typ)).Inc()
			a.refusedNote(l, o, "Elasticsearch could not take lines now; only these are sent again", slog.LevelInfo)
			r.due = now.Add(max(itemBackoff.After(r.attempts), ans.retryAfter))
			l.pushRetry(r)
		}
	}
	done(b.items)
	a.question(l, isTwice, moved)
	a.question(l, isSame, strange)
	if overload > 0 {
		a.relieve(l, busy, now)
	}
	if b.probe && blocks == 0 {
		if l.pause.reason == "overload" && overload > 0 {
			a.pauseLane(l, "overload", busy.typ, busy.reason, now)
		} else {
			a.resume(l, now)
		}
	}
	if l.pause.reason == "denied" {
		a.readCredentials()
	}
	switch {
	case overload > 0:
		a.pace.busy(now, b.sent)
	case blocks == 0:
		a.pace.good()
	}
	a.metrics.bulks.WithLabelValues(map[bool]string{true: "ok", false: "partial"}[refusals == 0]).Inc()
	a.metrics.delivered.Add(float64(ans.stored))
	a.freeBulk(b)
}

// markFinal marks an item that ends otherwise than stored.
func (a *assembler) markFinal(r retry, o oddItem) {
	switch {
	case o.quarantined:
		a.mark(r.p, r.i, record.Quarantined)
	case o.noop:
		a.mark(r.p, r.i, record.DroppedByServer)
	case o.duplicate:
		a.mark(r.p, r.i, record.Duplicate)
	}
}

// noteForm counts an item that was taken in another form than it was read.
func (a *assembler) noteForm(r retry) {
	if r.form.reduced {
		a.metrics.reduced.Inc()
	}
	if r.form.cuts > 0 {
		a.metrics.truncated.Inc()
	}
}

// noteAnswer says what an answer tells besides success and failure.
func (a *assembler) noteAnswer(l *lane, ans *answer, now time.Time) {
	quarantined, noop, duplicate := 0, 0, 0
	where := ""
	for _, o := range ans.odd {
		switch {
		case o.quarantined:
			quarantined, where = quarantined+1, o.reason
		case o.noop:
			noop++
		case o.duplicate:
			duplicate++
		}
	}
	a.tally.add(answerQuarantined, quarantined, now, func() string { return "GET " + l.index + "::failures/_search, e.g. in " + where })
	a.tally.add(answerNoop, noop, now, nil)
	a.tally.add(answerDuplicate, duplicate, now, nil)
	a.tally.add(answerRerouted, ans.elsewhere, now, func() string { return l.index + " to " + ans.rerouted })
	if quarantined > 0 {
		a.metrics.quarantined.Add(float64(quarantined))
		a.problems.noteAnswer(slog.LevelWarn, quarantined, "Elasticsearch put lines into the failure store of the data stream instead of the data stream", where, "index", l.index, "look", "GET "+l.index+"::failures/_search")
	}
	if noop > 0 {
		a.metrics.dropped.WithLabelValues("server_pipeline").Add(float64(noop))
		a.problems.noteAnswer(slog.LevelWarn, noop, "the server's own ingest pipeline dropped lines", "", "index", l.index)
	}
	if ans.otherID != "" {
		a.metrics.changed.WithLabelValues("other_id").Inc()
		a.tally.add(answerOtherID, 1, now, func() string { return ans.otherID + " in " + l.index })
	}
	if ans.rerouted != "" {
		a.metrics.changed.WithLabelValues("rerouted").Inc()
	}
	if ans.otherID != "" && !l.noted["id"] {
		l.noted["id"] = true
		a.problems.noteAnswer(slog.LevelError, 1, "Elasticsearch gives lines other _ids than ours: exactly-once is off for this data stream; look for a pipeline that sets _id", ans.otherID, "index", l.index)
	}
	if ans.rerouted != "" && !l.noted["to "+ans.rerouted] {
		if len(l.noted) < 100 {
			l.noted["to "+ans.rerouted] = true
			l.targets = append(l.targets, ans.rerouted)
		}
		a.problems.noteAnswer(slog.LevelWarn, 1, "the server reroutes lines to another data stream", ans.rerouted, "index", l.index)
	}
}

func (a *assembler) refusedNote(l *lane, o oddItem, message string, level slog.Level) {
	a.problems.noteAnswer(level, 1, message, o.text(), "index", l.index)
}
