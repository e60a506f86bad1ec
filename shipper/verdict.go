package shipper

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// A verdict is what happens to an item because of its answer.
type verdict int

const (
	isFinal    verdict = iota // stored, in quarantine, or dropped by the server: settled
	goesAgain                 // the same again, later
	isReduced                 // once more in a form that no mapping can refuse
	isDead                    // into the dead-letter file
	laneBlocks                // the destination takes nothing: pause it, then the same again
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
	if o.quarantined || o.noop {
		return isFinal, ""
	}
	others := !stored.IsZero() && now.Sub(stored) < othersSucceed
	if r.attempts == 0 || !others {
		// As long as nothing else is stored either, the fault is not the item's.
		r.since = now
	}
	if r.same > 0 && r.status == o.status && others {
		r.same++
	} else {
		r.same = 1
	}
	r.status = o.status
	r.attempts++

	if o.typ == "cluster_block_exception" {
		return laneBlocks, blockReason(o.reason)
	}
	switch {
	case o.status == http.StatusTooManyRequests, o.status >= 502 && o.status <= 504:
	case o.status >= 500:
		if scriptFault(o.typ) || r.same >= sameFault {
			return refused(r)
		}
	case o.status == http.StatusUnauthorized, o.status == http.StatusForbidden:
		return laneBlocks, "denied"
	case o.status == http.StatusNotFound:
		return laneBlocks, "missing"
	case o.status == http.StatusBadRequest && configFault(o):
		return laneBlocks, "refused"
	case o.status >= 400:
		return refused(r)
	default: // 2xx and 3xx that nobody knows: cannot be called stored
	}
	if others && now.Sub(r.since) >= refusedFor {
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

// configFault says that a 400 is not about the document: every other one would
// get it as well, and a person has to mend it.
func configFault(o oddItem) bool {
	return o.typ == "index_closed_exception" ||
		o.typ == "illegal_argument_exception" && strings.Contains(o.reason, "pipeline with id [") && strings.Contains(o.reason, "does not exist")
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
	if ans.err == nil && ans.status == http.StatusOK {
		a.items(b, now)
		return
	}
	a.whole(b, now)
}

// items goes through an answer that has one row for each item.
func (a *assembler) items(b *bulk, now time.Time) {
	l, ans := b.lane, &b.answer
	a.up(now)
	a.noteAnswer(l, ans)
	if ans.stored > 0 {
		l.stored = now
		l.backing = ans.backing
	}
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
		refusals++
		switch v {
		case laneBlocks:
			blocks++
			a.pauseLane(l, why, o.typ, o.reason, now)
			r.due = now
			l.pushRetry(r)
		case isReduced:
			a.refusedNote(l, o, "Elasticsearch refused lines; they are sent once more in a reduced form", slog.LevelWarn)
			a.metrics.refused.WithLabelValues(reasonLabel(o.typ)).Inc()
			r.form.reduced, r.form.reason = true, cutString(o.typ+": "+o.reason, errorMessage)
			r.due = now
			l.pushRetry(r)
		case isDead:
			a.giveUp(l, r, o, now)
		case goesAgain:
			overload++
			a.metrics.retried.WithLabelValues(reasonLabel(o.typ)).Inc()
			a.refusedNote(l, o, "Elasticsearch could not take lines now; only these are sent again", slog.LevelInfo)
			r.due = now.Add(max(itemBackoff.After(r.attempts), ans.retryAfter))
			l.pushRetry(r)
		}
	}
	done(b.items)
	if b.probe && blocks == 0 {
		a.resume(l, now)
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
	a.metrics.duplicate.Add(float64(ans.duplicate))
	a.freeBulk(b)
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
func (a *assembler) noteAnswer(l *lane, ans *answer) {
	quarantined, noop := 0, 0
	where := ""
	for _, o := range ans.odd {
		if o.quarantined {
			quarantined, where = quarantined+1, o.reason
		}
		if o.noop {
			noop++
		}
	}
	if quarantined > 0 {
		a.metrics.quarantined.Add(float64(quarantined))
		a.problems.note(slog.LevelWarn, quarantined, "Elasticsearch put lines into the failure store of the data stream instead of the data stream", where, "index", l.index, "look", "GET "+l.index+"::failures/_search")
	}
	if noop > 0 {
		a.metrics.dropped.WithLabelValues("server_pipeline").Add(float64(noop))
		a.problems.note(slog.LevelWarn, noop, "the server's own ingest pipeline dropped lines", "", "index", l.index)
	}
	if ans.otherID != "" && !l.noted["id"] {
		l.noted["id"] = true
		a.problems.note(slog.LevelError, 1, "Elasticsearch gives lines other _ids than ours: exactly-once is off for this data stream; look for a pipeline that sets _id", ans.otherID, "index", l.index)
	}
	if ans.rerouted != "" && !l.noted["to "+ans.rerouted] {
		if len(l.noted) < 100 {
			l.noted["to "+ans.rerouted] = true
		}
		a.problems.note(slog.LevelWarn, 1, "the server reroutes lines to another data stream", ans.rerouted, "index", l.index)
	}
}

func (a *assembler) refusedNote(l *lane, o oddItem, message string, level slog.Level) {
	a.problems.note(level, 1, message, fmt.Sprintf("status %d %s: %s", o.status, o.typ, o.reason), "index", l.index)
}

// whole handles a request that failed as a whole, or has no known outcome.
func (a *assembler) whole(b *bulk, now time.Time) {
	ans := &b.answer
	what := fmt.Sprintf("HTTP %d %s: %s", ans.status, ans.typ, ans.reason)
	label := "refused"
	switch {
	case ans.err != nil:
		label = "unanswered"
		a.noAnswer(b, now)
	case ans.typ == "cluster_block_exception":
		a.hold(b, now, blockReason(ans.reason), ans.typ, ans.reason)
	case ans.status == http.StatusTooManyRequests, ans.status >= 500:
		label = "overload"
		a.pace.busy(now, b.sent)
		a.later(b, now, "Elasticsearch refuses whole bulks; they are sent again", what)
	case ans.status == http.StatusRequestEntityTooLarge:
		label = "too_large"
		a.tooLarge(b, now)
	case ans.status == http.StatusBadRequest && ans.typ != "":
		a.badRequest(b, now)
	case ans.status == http.StatusUnauthorized, ans.status == http.StatusForbidden:
		label = "denied"
		a.readCredentials()
		a.hold(b, now, "denied", what, "")
	case ans.status == http.StatusNotFound:
		a.hold(b, now, "missing", what, "")
	default:
		a.hold(b, now, "refused", what, "")
	}
	a.metrics.bulks.WithLabelValues(label).Inc()
}

// readCredentials reads the files again before the next question: somebody may
// have put a right key there.
func (a *assembler) readCredentials() {
	if err := a.reopen(); err != nil {
		a.problems.note(slog.LevelError, 1, "credentials cannot be read again; the old ones stay", err.Error())
	}
}

// noAnswer: what the request did is unknown. The same ids go again, and those
// that had arrived come back as 409.
func (a *assembler) noAnswer(b *bulk, now time.Time) {
	ans := &b.answer
	if strings.Contains(ans.err.Error(), "not Elasticsearch") { // the client library's own check
		a.hold(b, now, "refused", ans.err.Error(), "")
		return
	}
	if b.items > 1 && errors.Is(ans.err, errAnswerTooLarge) {
		a.halve(b, now)
		return
	}
	a.later(b, now, "no answer from Elasticsearch; the same lines are sent again", ans.err.Error())
}

// later puts a bulk back and waits: for all, since it is the cluster that does
// not answer.
func (a *assembler) later(b *bulk, now time.Time, message, example string) {
	// A bulk that alone fails again and again while others succeed is too much
	// for something on the way (a proxy's limit, the time-out), or one document
	// in it is.
	if a.lastGood.After(b.firstSent) {
		if b.items > 1 && b.attempts%3 == 0 {
			a.halve(b, now)
			return
		}
		if b.items == 1 && now.Sub(b.firstSent) >= refusedFor {
			l, r := b.lane, a.single(b)
			o := oddItem{status: b.answer.status, typ: "unanswered", reason: "for " + refusedFor.String() + ", while others were stored: " + example}
			a.freeBulk(b)
			a.giveUp(l, r, o, now)
			return
		}
	}
	a.pace.failures++
	wait := max(wholeBackoff.After(a.pace.failures), b.answer.retryAfter)
	a.pace.down(now, wait)
	if a.down.IsZero() {
		a.down = now
	}
	a.problems.note(slog.LevelWarn, 1, message, example, "hosts", a.hostNames(), "next_attempt_in", wait.Round(time.Millisecond))
	a.metrics.retried.WithLabelValues(map[bool]string{true: "unanswered", false: "overload"}[b.answer.err != nil]).Add(float64(b.items))
	a.requeue(b, now)
}

// up notes that the cluster answers.
func (a *assembler) up(now time.Time) {
	a.lastGood = now
	a.pace.failures = 0
	if !a.down.IsZero() {
		a.log.Info("Elasticsearch answers again", "after", now.Sub(a.down).Round(time.Millisecond))
		a.down = time.Time{}
	}
}

func (a *assembler) requeue(b *bulk, due time.Time) {
	b.due, b.probe = due, false
	b.lane.queue = append([]*bulk{b}, b.lane.queue...)
}

// hold pauses the bulk's lane and keeps the bulk for after the pause.
func (a *assembler) hold(b *bulk, now time.Time, reason, typ, text string) {
	a.pauseLane(b.lane, reason, typ, text, now)
	a.requeue(b, now)
}

func (a *assembler) halve(b *bulk, now time.Time) {
	half := a.newBulk(b.lane)
	b.split(half)
	a.requeue(half, now)
	a.requeue(b, now)
}

func (a *assembler) tooLarge(b *bulk, now time.Time) {
	if b.items > 1 {
		if half := max(b.bytes/2, 64<<10); half < a.bulkMax {
			a.bulkMax = half
			a.problems.note(slog.LevelWarn, 1, "Elasticsearch finds bulks too large; they are made smaller (http.max_content_length, or a proxy's limit; see output.elasticsearch.bulk_max_bytes)", fmt.Sprintf("%d bytes", b.bytes), "bulk_max_bytes", half)
		}
		a.halve(b, now)
		return
	}
	l, r := b.lane, a.single(b)
	o := oddItem{status: b.answer.status, typ: "too_large", reason: fmt.Sprintf("a document of %d bytes is too large for the server", b.bytes)}
	a.freeBulk(b)
	if r.form.cuts++; r.form.cuts > 24 { // not even the empty message fits
		r.form.cuts = 0
		a.giveUp(l, r, o, now)
		return
	}
	a.refusedNote(l, o, "a line is too large for Elasticsearch; its message is cut", slog.LevelWarn)
	r.due = now
	l.pushRetry(r)
}

// badRequest: one document spoils the request of all (an _id that is too
// long). The bulk is halved until that one is alone.
func (a *assembler) badRequest(b *bulk, now time.Time) {
	l, ans := b.lane, &b.answer
	if b.items > 1 {
		a.halve(b, now)
		return
	}
	o := oddItem{status: ans.status, typ: ans.typ, reason: ans.reason}
	if l.stored.IsZero() {
		// Nothing was ever stored here: more likely all are refused than this one.
		a.hold(b, now, "refused", ans.typ, ans.reason)
		return
	}
	r := a.single(b)
	a.freeBulk(b)
	if v, _ := judge(o, &r, l.stored, now); v == isDead {
		a.giveUp(l, r, o, now)
		return
	}
	a.metrics.refused.WithLabelValues(reasonLabel(o.typ)).Inc()
	a.refusedNote(l, o, "Elasticsearch refused lines; they are sent once more in a reduced form", slog.LevelWarn)
	r.form.reduced, r.form.reason = true, cutString(o.typ+": "+o.reason, errorMessage)
	r.due = now
	l.pushRetry(r)
}

// single is the only item of a bulk, as one that goes again.
func (a *assembler) single(b *bulk) retry {
	r := b.at(0)
	if len(b.retries) == 0 {
		a.pin(r.p)
	}
	return r
}

// pauseLane stops a destination, or, if it is stopped, asks later.
func (a *assembler) pauseLane(l *lane, reason, typ, text string, now time.Time) {
	message := strings.TrimSuffix(typ+": "+text, ": ")
	if l.pause.reason != reason {
		since := l.pause.since
		if l.paused() {
			a.metrics.paused.WithLabelValues(l.pause.reason).Dec()
		} else {
			since = now
		}
		a.metrics.paused.WithLabelValues(reason).Inc()
		l.pause = pause{reason: reason, since: since}
	}
	l.pause.message = message
	if !l.pause.until.After(now) { // once for each question, not for each item
		l.pause.asked++
		l.pause.until = now.Add(max(pauseBackoff.After(l.pause.asked), time.Millisecond))
	}
	a.problems.note(slog.LevelError, 1, pauseText[reason], message, "index", l.index)
}

var pauseText = map[string]string{
	"disk":    "output paused, disk: Elasticsearch takes nothing because its disk is full; it goes on by itself when there is room. Lines wait in their files",
	"blocked": "output paused: the index is blocked (read-only or closed by an administrator). Lines wait in their files",
	"denied":  "output paused: Elasticsearch does not let us write. Check username and password_file or api_key_file, and the privileges create_doc and auto_configure. Lines wait in their files",
	"missing": "output paused: the data stream does not exist and may not be made. Run `mesoscope setup`, or allow action.auto_create_index. Lines wait in their files",
	"refused": "output paused: the server refuses everything, or is not Elasticsearch. Check output.elasticsearch.hosts. Lines wait in their files",
}

func (a *assembler) resume(l *lane, now time.Time) {
	if !l.paused() {
		return
	}
	a.log.Info("output goes on", "index", l.index, "was", l.pause.reason, "after", now.Sub(l.pause.since).Round(time.Millisecond))
	a.metrics.paused.WithLabelValues(l.pause.reason).Dec()
	l.pause = pause{}
}

// A deadRow is an item that waits to be written to the dead-letter file.
type deadRow struct {
	r      retry
	letter DeadLetter
}

// giveUp makes a dead letter of an item; it is final when it is on the disk.
func (a *assembler) giveUp(l *lane, r retry, o oddItem, now time.Time) {
	a.refusedNote(l, o, "lines cannot be stored and go into the dead-letter file", slog.LevelError)
	if len(a.graves) == 0 {
		a.graveDue = now
	}
	a.graves = append(a.graves, deadRow{r, DeadLetter{
		Time: now.UTC(), Index: l.index, ID: string(r.p.batch.ID(r.i)),
		Status: o.status, Type: o.typ, Reason: cutString(o.reason, 10_000), Document: deadDocument(r.p.batch, r.i),
	}})
}

// bury writes dead letters, all that there are with one fsync. If that fails
// they stay in memory, unsettled, and it is tried again.
func (a *assembler) bury(now time.Time) {
	if len(a.graves) == 0 || a.graveDue.After(now) {
		return
	}
	err := errNoDeadLetters
	if a.dead != nil {
		letters := make([]DeadLetter, len(a.graves))
		for i, g := range a.graves {
			letters[i] = g.letter
		}
		err = a.dead.Append(letters)
	}
	if err != nil {
		a.graveDue = now.Add(10 * time.Second)
		a.problems.note(slog.LevelError, len(a.graves), "dead letters cannot be written; their lines are kept and it is tried again, in the end this stops the output", err.Error())
		return
	}
	for _, g := range a.graves {
		a.metrics.deadLettered.WithLabelValues(reasonLabel(g.letter.Type)).Inc()
		a.unpin(g.r.p)
		a.final(g.r.p, 1)
	}
	a.graves = a.graves[:0]
}
