package shipper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// whole handles a request that failed as a whole, or has no known outcome.
func (a *assembler) whole(b *bulk, now time.Time) {
	ans := &b.answer
	what := fmt.Sprintf("HTTP %d %s: %s", ans.status, ans.typ, ans.reason)
	example := func() string { return what }
	label := "refused"
	switch {
	case ans.err != nil:
		a.tally.add(answerNone, b.items, now, ans.err.Error)
		label = a.noAnswer(b, now)
	case isBlock(ans.status, ans.typ):
		label = "blocked"
		a.tally.add(answerBlocked, b.items, now, example)
		a.hold(b, now, blockReason(ans.reason), ans.typ, ans.reason)
	case ans.status == http.StatusTooManyRequests, ans.status >= 500:
		label = "overload"
		a.tally.add(answerBusy, b.items, now, example)
		a.pace.busy(now, b.sent)
		a.later(b, now, "Elasticsearch refuses whole bulks; they are sent again", what)
	case ans.status == http.StatusRequestEntityTooLarge:
		label = "too_large"
		a.tooLarge(b, now)
	case ans.status == http.StatusBadRequest && ans.typ != "":
		a.badRequest(b, now)
	case ans.status == http.StatusUnauthorized, ans.status == http.StatusForbidden:
		label = "denied"
		a.tally.add(answerDenied, b.items, now, example)
		a.readCredentials()
		a.hold(b, now, "denied", what, "")
	case ans.status == http.StatusNotFound:
		a.tally.add(answerDenied, b.items, now, example)
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
// that had arrived are found, see resend.go. It returns the metric's label.
func (a *assembler) noAnswer(b *bulk, now time.Time) (label string) {
	err := b.answer.err
	if strings.Contains(err.Error(), "not Elasticsearch") { // the client library's own check
		a.hold(b, now, "refused", err.Error(), "")
		return "refused"
	}
	if b.items > 1 && errors.Is(err, errAnswerTooLarge) {
		a.halve(b)
		return "unreadable"
	}
	label, message := silence(&b.answer, a.timeout)
	if label != "unreadable" && a.hosts.someAnswer() {
		message = "" // the others take over; what became of the host is said by hosts
	}
	a.later(b, now, message, err.Error())
	return label
}

// silence says in words of a person why there was no answer.
func silence(ans *answer, timeout time.Duration) (label, message string) {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var dial *net.OpError
	switch {
	case ans.status == http.StatusOK:
		return "unreadable", "an answer of Elasticsearch cannot be read; what it stored is looked up, the rest is sent again"
	case errors.As(ans.err, &verify):
		return "tls", "Elasticsearch shows a certificate that is not trusted: set output.elasticsearch.ca_file, and use a name in hosts that the certificate has. Lines wait"
	case errors.As(ans.err, &record), errors.As(ans.err, &alert):
		return "tls", "no TLS connection to Elasticsearch: check http or https in output.elasticsearch.hosts, cert_file and key_file. Lines wait"
	case errors.As(ans.err, &dial) && dial.Op == "dial":
		return "unreachable", "Elasticsearch cannot be reached; trying again. Lines wait"
	case errors.Is(ans.err, context.DeadlineExceeded):
		return "timeout", "Elasticsearch does not answer within " + timeout.String() + "; what it stored is looked up, the rest is sent again"
	}
	return "cut", "the connection to Elasticsearch was cut; what it stored is looked up, the rest is sent again"
}

// later puts a bulk back and waits: for all, since it is the cluster that does
// not answer.
func (a *assembler) later(b *bulk, now time.Time, message, example string) {
	// A bulk that alone fails again and again while others succeed is too much
	// for something on the way (a proxy's limit, the time-out), or one document
	// in it is.
	if a.lastGood.After(b.firstSent) {
		if b.items > 1 && b.attempts%3 == 0 {
			a.halve(b)
			return
		}
		if b.items == 1 && now.Sub(b.firstSent) >= refusedFor {
			o := oddItem{status: b.answer.status, typ: "unanswered", reason: "for " + refusedFor.String() + ", while others were stored: " + example}
			if b.since == "" {
				a.giveUpBulk(b, o, now)
				return
			}
			b.last = &o // only what is not there is given up
			a.requeue(b)
			return
		}
	}
	a.pace.failures++
	wait := max(wholeBackoff.After(a.pace.failures), b.answer.retryAfter)
	a.pace.down(now, wait)
	if message != "" {
		if a.down.IsZero() {
			a.down = now
		}
		a.problems.note(slog.LevelWarn, 1, message, example, "hosts", a.hostNames(), "next_attempt_in", wait.Round(time.Millisecond))
	}
	a.metrics.retried.WithLabelValues(map[bool]string{true: "unanswered", false: "overload"}[b.answer.err != nil]).Add(float64(b.items))
	a.requeue(b)
}

// giveUpBulk makes a dead letter of the only item of a bulk.
func (a *assembler) giveUpBulk(b *bulk, o oddItem, now time.Time) {
	l, r := b.lane, a.single(b)
	a.freeBulk(b)
	a.giveUp(l, r, o, now)
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

// requeue puts a bulk back to the front of those that wait.
func (a *assembler) requeue(b *bulk) {
	b.probe = false
	l := b.lane
	if b.since == "" {
		l.queue = append([]*bulk{b}, l.queue...)
		return
	}
	b.asks, b.looked, b.tries, b.due, b.expect = mayBeThere, false, 0, time.Time{}, nil
	l.doubts = append([]*bulk{b}, l.doubts...)
}

// hold pauses the bulk's lane and keeps the bulk for after the pause.
func (a *assembler) hold(b *bulk, now time.Time, reason, typ, text string) {
	a.pauseLane(b.lane, reason, typ, text, now)
	a.requeue(b)
}

func (a *assembler) halve(b *bulk) {
	half := a.newBulk(b.lane)
	b.split(half)
	a.requeue(half)
	a.requeue(b)
}

func (a *assembler) tooLarge(b *bulk, now time.Time) {
	if b.items > 1 {
		a.tally.add(answerCut, b.items, now, func() string { return fmt.Sprintf("a bulk of %d bytes", b.bytes) })
		if half := max(b.bytes/2, 64<<10); half < a.bulkMax {
			a.bulkMax = half
			a.problems.note(slog.LevelWarn, 1, "Elasticsearch finds bulks too large; they are made smaller (http.max_content_length, or a proxy's limit; see output.elasticsearch.bulk_max_bytes)", fmt.Sprintf("%d bytes", b.bytes), "bulk_max_bytes", half)
		}
		a.halve(b)
		return
	}
	l, r := b.lane, a.single(b)
	o := oddItem{status: b.answer.status, typ: "too_large", reason: fmt.Sprintf("a document of %d bytes is too large for the server", b.bytes)}
	a.freeBulk(b)
	if r.form.cuts == mostCuts {
		r.form.cuts = 0
		a.giveUp(l, r, o, now)
		return
	}
	a.cut(l, r, o, now)
}

// mostCuts is how often a message is halved: then not even the empty one fits.
const mostCuts = 24

// cut sends an item once more with half of its message.
func (a *assembler) cut(l *lane, r retry, o oddItem, now time.Time) {
	r.form.cuts++
	a.tally.item(answerCut, o, now)
	a.refusedNote(l, o, "a line is too large for Elasticsearch; its message is cut", slog.LevelWarn)
	r.due = now
	l.pushRetry(r)
}

// badRequest: one document spoils the request of all (an _id that is too
// long). The bulk is halved until that one is alone.
func (a *assembler) badRequest(b *bulk, now time.Time) {
	l, ans := b.lane, &b.answer
	if b.items > 1 {
		a.halve(b)
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
	a.tally.item(answerReduced, o, now)
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
