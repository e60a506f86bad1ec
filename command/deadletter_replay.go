package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"mesoscope/config"
	"mesoscope/internal/lockfile"
	"mesoscope/shipper"
)

// DeadLetterReplay is `mesoscope deadletter replay`.
type DeadLetterReplay struct {
	deadLetterFolder
	To     []string `placeholder:"URL" help:"Elasticsearch's URL; replaces the hosts of the configuration, or does without one."`
	DryRun bool     `name:"dry-run" help:"Say what would be sent, and send nothing."`
	Output string   `enum:"text,json" default:"text" help:"text, or json: one object for each document, then one with the sums."`
}

// Help says what happens to the letters, and what the limit is.
func (*DeadLetterReplay) Help() string {
	return `Documents are sent as they were sent first, with the same ids: what is there already is not stored twice. A letter that Elasticsearch has taken is marked as done in a file beside it, which survives a crash; files are removed once all in them is done. One that is refused again stays. The agent may go on running and appending.

The limit: ids are unique within one backing index. Should replay be killed after Elasticsearch has stored documents and before that is noted, and the data stream roll over before the next replay, these documents are stored twice.

Exit codes: 0 all is stored, 1 some were refused again or could not be read, 2 wrong usage, 3 Elasticsearch could not be reached or does not let these credentials write.`
}

// Run sends.
func (c *DeadLetterReplay) Run(streams IO) error {
	dirs, wanted, cfg, err := c.open(time.Now())
	if err != nil {
		return err
	}
	es, err := c.elasticsearch(cfg)
	if err != nil {
		return err
	}
	if c.DryRun {
		return c.dryRun(streams, dirs, wanted)
	}
	client, err := shipper.NewClient(es)
	if err != nil {
		return Exit{Bad, err}
	}
	r := replay{
		out: streams.Out, json: c.Output == "json", sums: map[string]int{},
		send: func(letters []shipper.DeadLetter) ([]shipper.ReplayResult, error) {
			return shipper.Replay(streams.Context, client, letters)
		},
	}
	var unreadable int
	for _, dir := range dirs {
		n, failed := r.folder(dir, wanted, streams.Err)
		unreadable += n
		if err = failed; err != nil {
			break
		}
	}
	if printed := r.print(); printed != nil {
		return Exit{Bad, fmt.Errorf("%w: %w", errWrite, printed)}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Exit{Bad, errors.New("interrupted; what is done is noted, start it again for the rest")}
	case errors.Is(err, shipper.ErrUnreachable), errors.Is(err, shipper.ErrReplayDenied):
		return Exit{Unknown, err}
	case err != nil:
		return Exit{Bad, err}
	case unreadable > 0:
		return Exit{Bad, fmt.Errorf("%s could not be read and stay", many(unreadable, "letter"))}
	case r.left > 0:
		return Exit{Code: Bad}
	}
	return nil
}

// elasticsearch is where to send to.
func (c *DeadLetterReplay) elasticsearch(cfg config.Config) (config.Elasticsearch, error) {
	es := config.DefaultElasticsearch()
	switch {
	case cfg.Output.Elasticsearch != nil:
		es = *cfg.Output.Elasticsearch
	case len(c.To) == 0:
		return es, Exit{Usage, errors.New("to which Elasticsearch? Give --config FILE with an output.elasticsearch, or --to URL")}
	}
	if len(c.To) > 0 {
		es.Hosts = c.To
	}
	return es, nil
}

func (c *DeadLetterReplay) dryRun(streams IO, dirs []string, wanted func(shipper.DeadLetter) bool) error {
	indices := map[string]int{}
	total := 0
	unreadable, err := each(dirs, wanted, streams.Err, func(_ string, l shipper.DeadLetter) error {
		total++
		indices[l.Index]++
		if c.Output == "json" {
			return printLetters(streams.Out, []shipper.DeadLetter{l})
		}
		return nil
	})
	if err != nil {
		return Exit{Bad, fmt.Errorf("%w: %w", errWrite, err)}
	}
	if c.Output == "text" {
		fmt.Fprintf(streams.Out, "would send %s\n", many(total, "document"))
		for _, index := range sortedCounts(indices) {
			fmt.Fprintf(streams.Out, "  %s to %s\n", count(int64(indices[index])), clean(index))
		}
	}
	if unreadable > 0 {
		return Exit{Bad, fmt.Errorf("%s could not be read", many(unreadable, "letter"))}
	}
	return nil
}

// A replay sends the letters of folders, group by group.
type replay struct {
	out  io.Writer
	json bool
	send func([]shipper.DeadLetter) ([]shipper.ReplayResult, error)

	sums    map[string]int // by outcome
	left    int            // letters that stay
	removed int            // files
	rows    []string       // of letters that stay, as a table
	hidden  int            // of these not shown
	group   []shipper.DeadLetter
	bytes   int
}

// mostRows is how many refusals the text names; json names all.
const mostRows = 50

// folder replays one folder, while no other replay does.
func (r *replay) folder(dir string, wanted func(shipper.DeadLetter) bool, errOut io.Writer) (unreadable int, err error) {
	lock, err := lockfile.Take(dir)
	if taken := (*lockfile.TakenError)(nil); errors.As(err, &taken) {
		return 0, fmt.Errorf("another replay is under way: %w", err)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	unreadable, err = each([]string{dir}, wanted, errOut, func(_ string, l shipper.DeadLetter) error {
		r.group = append(r.group, l)
		if r.bytes += len(l.Document); r.bytes >= shipper.ReplayBytes || len(r.group) >= shipper.ReplayLetters {
			return r.flush()
		}
		return nil
	})
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return unreadable, err
	}
	n, err := shipper.RemoveReplayed(dir)
	r.removed += n
	return unreadable, err
}

// flush sends the group and notes at once what is stored.
func (r *replay) flush() error {
	group := r.group
	r.group, r.bytes = nil, 0
	if len(group) == 0 {
		return nil
	}
	results, err := r.send(group)
	if err != nil {
		return err
	}
	var done []shipper.DeadLetter
	for i, l := range group {
		result := results[i]
		r.sums[result.Outcome]++
		if result.Done() {
			done = append(done, l)
		} else {
			r.left++
		}
		if err := r.say(l, result); err != nil {
			return err
		}
	}
	return shipper.MarkReplayed(done)
}

// say prints or keeps what became of one letter.
func (r *replay) say(l shipper.DeadLetter, result shipper.ReplayResult) error {
	if r.json {
		e := json.NewEncoder(r.out)
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Index  string `json:"index"`
			ID     string `json:"id"`
			Result string `json:"result"`
			Status int    `json:"status"`
			Type   string `json:"type,omitempty"`
			Reason string `json:"reason,omitempty"`
		}{l.Index, l.ID, result.Outcome, result.Status, result.Type, result.Reason})
	}
	switch {
	case result.Done():
	case len(r.rows) == mostRows:
		r.hidden++
	default:
		r.rows = append(r.rows, fmt.Sprintf("%s\t%s\t%s\t%s", result.Outcome, clean(l.Index), clean(l.ID), shorten(strings.TrimPrefix(result.Type+": "+result.Reason, ": "), 100)))
	}
	return nil
}

// outcomes in the order in which they are said.
var outcomes = []string{shipper.ReplayStored, shipper.ReplayThere, shipper.ReplayQuarantined, shipper.ReplayDropped, shipper.ReplayRefused, shipper.ReplayPostponed}

var outcomeTexts = map[string]string{
	shipper.ReplayStored:      "stored",
	shipper.ReplayThere:       "already there",
	shipper.ReplayQuarantined: "put into the failure store by Elasticsearch",
	shipper.ReplayDropped:     "dropped by a pipeline of the server; they stay here",
	shipper.ReplayRefused:     "refused again; they stay here",
	shipper.ReplayPostponed:   "not taken now, because Elasticsearch is busy or blocked; they stay here",
}

// print says the sums.
func (r *replay) print() error {
	if r.json {
		return json.NewEncoder(r.out).Encode(struct {
			Results      map[string]int `json:"results"`
			Left         int            `json:"left"`
			RemovedFiles int            `json:"removed_files"`
		}{r.sums, r.left, r.removed})
	}
	if len(r.rows) > 0 {
		w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RESULT\tINDEX\tID\tREASON")
		for _, row := range r.rows {
			fmt.Fprintln(w, row)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if r.hidden > 0 {
			fmt.Fprintf(r.out, "and %s more; all of them: --output json\n", count(int64(r.hidden)))
		}
		fmt.Fprintln(r.out)
	}
	if len(r.sums) == 0 {
		_, err := fmt.Fprintln(r.out, "nothing to replay")
		return err
	}
	for _, o := range outcomes {
		if n := r.sums[o]; n > 0 {
			if _, err := fmt.Fprintf(r.out, "%s %s\n", count(int64(n)), outcomeTexts[o]); err != nil {
				return err
			}
		}
	}
	return nil
}
