package shipper

import (
	"log/slog"
	"strings"
	"time"

	"mesoscope/record"
)

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
	a.problems.note(slog.LevelError, 1, pauseMessage(reason, message), message, "index", l.index)
	a.gate(l)
}

// pauseMessage says what a person should do.
func pauseMessage(reason, message string) string {
	switch {
	case reason == "missing" && strings.Contains(message, "pipeline with id ["):
		return "output paused: the index names an ingest pipeline that does not exist (index.default_pipeline or final_pipeline). Make it, or take it out of the template. Lines wait in their files"
	case reason == "denied" && strings.Contains(message, "expired"):
		return "output paused: the API key or password has expired. Make a new one and put it into api_key_file or password_file, which is read again by itself. Lines wait in their files"
	case reason == "denied" && strings.Contains(message, "HTTP 401"):
		return "output paused: Elasticsearch does not know these credentials. Check username and password_file, or api_key_file; the file is read again by itself. Lines wait in their files"
	}
	return pauseText[reason]
}

var pauseText = map[string]string{
	"disk":       "output paused, disk: Elasticsearch takes nothing because its disk is full; it goes on by itself when there is room. Lines wait in their files",
	"blocked":    "output paused: the index is blocked (read-only or closed by an administrator). Lines wait in their files",
	"denied":     "output paused: Elasticsearch does not let us write. Grant the index privileges create_doc and auto_configure on logs-mesos*. Lines wait in their files",
	"missing":    "output paused: the data stream does not exist and may not be made. Run `mesoscope setup`, or allow action.auto_create_index. Lines wait in their files",
	"overload":   "output paused for one data stream: Elasticsearch refuses its lines while it takes others, and what waits for another attempt has its share of the memory. Lines wait in their files",
	"unanswered": "output paused for one data stream: Elasticsearch does not say which of the lines that are sent again are stored already (is a shard away?), and what waits for that has its share of the memory. Lines wait in their files",
	"refused":    "output paused: the server refuses everything, or is not Elasticsearch. Check output.elasticsearch.hosts. Lines wait in their files",
}

func (a *assembler) resume(l *lane, now time.Time) {
	if !l.paused() {
		return
	}
	a.log.Info("output goes on", "index", l.index, "was", l.pause.reason, "after", now.Sub(l.pause.since).Round(time.Millisecond))
	a.metrics.paused.WithLabelValues(l.pause.reason).Dec()
	l.pause, l.kept = pause{}, nil
	a.gate(l)
}

// A deadRow is an item that waits to be written to the dead-letter file.
type deadRow struct {
	r      retry
	letter DeadLetter
}

// giveUp makes a dead letter of an item; it is final when it is on the disk.
func (a *assembler) giveUp(l *lane, r retry, o oddItem, now time.Time) {
	a.refusedNote(l, o, "lines cannot be stored and go into the dead-letter file", slog.LevelError)
	a.bequeath(l, r, o, now)
}

// pauseKind is the row of the table of answers for a pause.
func pauseKind(reason string) answerKind {
	if reason == "disk" || reason == "blocked" {
		return answerBlocked
	}
	return answerDenied
}

func (a *assembler) bequeath(l *lane, r retry, o oddItem, now time.Time) {
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
		a.tally.item(answerDead, oddItem{status: g.letter.Status, typ: g.letter.Type, reason: g.letter.Reason}, now)
		a.mark(g.r.p, g.r.i, record.DeadLettered)
		a.unpin(g.r.p)
		a.final(g.r.p, 1)
	}
	a.graves = a.graves[:0]
	a.publish()
}
