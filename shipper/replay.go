package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"mesoscope/internal/backoff"
	"mesoscope/record"
)

// What became of a dead letter that was sent again.
const (
	ReplayStored      = "stored"
	ReplayThere       = "already there" // with the same _id: an earlier replay, or the agent itself
	ReplayQuarantined = "quarantined"   // Elasticsearch keeps it in the failure store of the data stream
	ReplayDropped     = "dropped"       // by a pipeline of the server: it is stored nowhere else
	ReplayRefused     = "refused"       // as before
	ReplayPostponed   = "postponed"     // the server cannot take it now
)

// A ReplayResult is what became of one letter.
type ReplayResult struct {
	Outcome string
	Status  int
	Type    string
	Reason  string
}

// Done says that Elasticsearch has the document, and the letter can go.
func (r ReplayResult) Done() bool {
	return r.Outcome == ReplayStored || r.Outcome == ReplayThere || r.Outcome == ReplayQuarantined
}

// ReplayBytes and ReplayLetters bound what one call of Replay should get.
const (
	ReplayBytes   = 4 << 20
	ReplayLetters = 500
)

// ErrReplayDenied is in the error of Replay when these credentials may not
// write.
var ErrReplayDenied = errors.New("not allowed")

var replayBackoff = backoff.Exponential{First: 500 * time.Millisecond, Max: 10 * time.Second}

// replayAttempts is how often a busy server is asked.
const replayAttempts = 5

// Replay sends letters to Elasticsearch again, with the same ids, and says for
// each what became of it. An error means that nobody knows: to send them once
// more is harmless as long as the data stream has not rolled over since, because
// ids are unique within a backing index.
func Replay(ctx context.Context, client *elasticsearch.Client, letters []DeadLetter) ([]ReplayResult, error) {
	results := make([]ReplayResult, len(letters))
	left := make([]int, len(letters)) // positions in letters
	for i := range left {
		left[i] = i
	}
	for attempt := 1; ; attempt++ {
		if attempt > 1 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(replayBackoff.After(attempt - 1)):
			}
		}
		byIndex := map[string][]int{}
		for _, i := range left {
			byIndex[letters[i].Index] = append(byIndex[letters[i].Index], i)
		}
		for index, which := range byIndex {
			if err := replayOnce(ctx, client, index, letters, which, results); err != nil {
				return nil, err
			}
		}
		again := left[:0:0]
		for _, i := range left {
			if results[i].Outcome == ReplayPostponed {
				again = append(again, i)
			}
		}
		if left = again; len(left) == 0 || attempt == replayAttempts {
			return results, nil
		}
	}
}

// replayOnce sends the letters at positions which, all for one data stream. A
// request that is too large is halved.
func replayOnce(ctx context.Context, client *elasticsearch.Client, index string, letters []DeadLetter, which []int, results []ReplayResult) error {
	var body bytes.Buffer
	for _, i := range which {
		if err := appendReplay(&body, letters[i]); err != nil {
			return fmt.Errorf("dead letter %s: %w", letters[i].ID, err)
		}
	}
	yes := true
	response, err := esapi.BulkRequest{
		Index: index, Body: &body, RequireDataStream: &yes, FilterPath: filterPath, Header: http.Header{"Content-Type": {"application/x-ndjson"}},
	}.Do(ctx, client)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("%w: read the answer: %w", ErrUnreachable, err)
	}
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		n, err := scanAnswer(answer, func(i int, a *itemAnswer) error {
			if i >= len(which) {
				return errors.New("more answers than documents")
			}
			results[which[i]] = replayResult(a)
			return nil
		})
		if err == nil && n != len(which) {
			err = fmt.Errorf("%d answers for %d documents", n, len(which))
		}
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return nil
	case status == http.StatusRequestEntityTooLarge && len(which) > 1:
		half := len(which) / 2
		return errors.Join(replayOnce(ctx, client, index, letters, which[:half], results), replayOnce(ctx, client, index, letters, which[half:], results))
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		_, reason := wholeError(answer)
		return fmt.Errorf("%w: HTTP %d: %s", ErrReplayDenied, status, cutString(reason, 500))
	default:
		typ, reason := wholeError(answer)
		r := ReplayResult{Outcome: ReplayRefused, Status: status, Type: typ, Reason: reason}
		if status == http.StatusTooManyRequests || status >= 500 {
			r.Outcome = ReplayPostponed
		}
		for _, i := range which {
			results[i] = r
		}
		return nil
	}
}

func replayResult(a *itemAnswer) ReplayResult {
	r := ReplayResult{Status: a.Status, Type: a.ErrorType, Reason: a.ErrorReason}
	switch {
	case a.Status == http.StatusConflict:
		r.Outcome = ReplayThere
	case a.Status/100 == 2 && string(a.FailureStore) == "used":
		r.Outcome = ReplayQuarantined
	case a.Status/100 == 2 && string(a.Result) == "noop":
		r.Outcome = ReplayDropped
	case a.Status/100 == 2:
		r.Outcome = ReplayStored
	case a.Status == http.StatusTooManyRequests || a.Status >= 500 && !scriptFault(a.ErrorType):
		r.Outcome = ReplayPostponed
	default:
		r.Outcome = ReplayRefused
	}
	return r
}

// appendReplay writes a letter as part of a bulk body. A document that was not
// JSON becomes the message of one.
func appendReplay(body *bytes.Buffer, l DeadLetter) error {
	type target struct {
		ID string `json:"_id,omitempty"`
	}
	action, err := json.Marshal(map[string]target{"create": {l.ID}})
	if err != nil {
		return err
	}
	doc := l.Document
	var text string
	if json.Unmarshal(doc, &text) == nil {
		doc = append(record.AppendQuoted([]byte(`{"@timestamp":"`+l.Time.UTC().Format(time.RFC3339Nano)+`","message":`), text),
			`,"error":{"message":"the document was no JSON; its time is when it was given up"}}`...)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, doc); err != nil { // one line, whatever somebody did to the file
		return err
	}
	body.Write(action)
	body.WriteByte('\n')
	body.Write(line.Bytes())
	body.WriteByte('\n')
	return nil
}
