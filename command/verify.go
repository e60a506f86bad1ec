package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"mesoscope/receipt"
	"mesoscope/search"
)

// Verify is `mesoscope verify`: it holds receipts against what the store has.
type Verify struct {
	Container []string `help:"Lines of this container (name, or id of 12 or more digits), exact or with *; may be repeated." placeholder:"NAME"`
	App       []string `help:"Lines of this app (marathon.app.id or service.name), exact or with *; may be repeated." placeholder:"NAME"`
	Service   []string `help:"Lines of this service (service.name), exact or with *; may be repeated." placeholder:"NAME"`
	Task      []string `help:"Lines of this Mesos task (mesos.task.id), exact or with *; may be repeated." placeholder:"ID"`
	Host      []string `help:"Only on this host (host.name), exact or with *; may be repeated." placeholder:"NAME"`

	Since string `required:"" help:"From when on: 15m, 2h, 7d ago, RFC 3339, or '2026-11-23 14:00' local." placeholder:"TIME"`
	Until string `help:"Until when, written as for --since; now if missing." placeholder:"TIME"`

	Store  string `env:"MESOSCOPE_STORE" help:"Where the lines are: the URL of a standalone or of Elasticsearch, or the file of an embedded store." placeholder:"URL|FILE"`
	Config string `type:"path" help:"The configuration that names the store." placeholder:"FILE"`
	Output string `enum:"text,json" default:"text" help:"text, or json: one object for each log file and stream, then one with the verdict."`
	UTC    bool   `name:"utc" help:"Times in UTC instead of local time."`
}

// Help says what is compared, and what the verdicts mean.
func (*Verify) Help() string {
	return `For each log file that a container wrote, and each stream of it, the agent leaves a receipt in the store: how many lines there were, and what became of those that are not stored once. verify takes the files whose lines lie in the time asked for, as a whole, and counts in the store that every line is there exactly once.

  COMPLETE    it is, or the receipt says why not (dead-lettered, quarantined, dropped by the server)
  OPEN        it is, as far as the file is booked, and that is not as far as --until says
  NO RECEIPT  there are lines, and the agent has not booked their file yet
  UNPROVEN    nothing known is missing, but files may have come and gone while no agent ran
  EXPIRED     what is missing was deleted by the store's retention
  GAP         bytes were lost before they could be read
  INCOMPLETE  lines are missing or doubled; their numbers (event.sequence) are named

Exit codes: 0 all is COMPLETE, 1 it is not, 2 wrong usage, 3 the store could not be asked. A file that is still written is booked after a minute, then less and less often, at last every 10 minutes; without --until it counts as COMPLETE as far as it is booked.`
}

// Run asks the store, compares and prints.
func (v *Verify) Run(streams IO, stores Stores) error {
	ask, err := v.question(time.Now())
	if err != nil {
		return Exit{Usage, err}
	}
	store, err := stores.open(streams.Context, v.Store, v.Config)
	if err != nil {
		return err
	}
	defer store.Close()
	findings, err := ask.findings(streams.Context, store)
	if err != nil {
		return storeError(err)
	}
	total := summarize(findings)
	if v.Output == "json" {
		err = printVerdictJSON(streams.Out, findings, total)
	} else {
		err = printVerdict(streams.Out, findings, total, v.UTC)
	}
	if err != nil {
		return Exit{Bad, fmt.Errorf("%w: %w", errWrite, err)}
	}
	if total.Verdict == verdictComplete {
		return nil
	}
	if slices.ContainsFunc(findings, func(f finding) bool { return f.stale && f.Verdict != verdictComplete }) {
		fmt.Fprintln(streams.Err, "These credentials may not refresh the store (index privilege maintenance): lines of the last seconds may be stored and not be seen yet; ask again.")
	}
	return Exit{Code: Bad}
}

// A verifyQuestion is what the flags ask for.
type verifyQuestion struct {
	subject      search.Query
	since, until time.Time // until is set always
	bounded      bool      // until was asked for
}

// shortID is the beginning of a container's id, as docker ps prints it.
var shortID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func (v *Verify) question(now time.Time) (verifyQuestion, error) {
	q := verifyQuestion{until: now, bounded: v.Until != ""}
	anyOf := func(values []string, fields ...string) search.Query {
		var all []search.Query
		for _, value := range values {
			for _, field := range fields {
				all = append(all, search.Wildcard(field, value))
			}
			if fields[0] == "container.name" && shortID.MatchString(value) {
				all = append(all, search.Wildcard("container.id", value+"*"))
			}
		}
		if len(values) == 0 {
			return search.Query{}
		}
		return search.Or(all...)
	}
	if len(v.Container)+len(v.App)+len(v.Service)+len(v.Task)+len(v.Host) == 0 {
		return q, errors.New("whose lines? Give one of --container, --app, --service, --task and --host, for example --app /prod/web")
	}
	q.subject = search.And(anyOf(v.Container, "container.name"), anyOf(v.App, "service.name", "marathon.app.id"),
		anyOf(v.Service, "service.name"), anyOf(v.Task, "mesos.task.id"), anyOf(v.Host, "host.name"))
	var err error
	if v.Until != "" {
		if q.until, err = parseTime(v.Until, now); err != nil {
			return q, fmt.Errorf("--until: %w", err)
		}
	}
	if q.since, err = parseTime(v.Since, now); err != nil {
		return q, fmt.Errorf("--since: %w", err)
	}
	if !q.since.Before(q.until) {
		return q, fmt.Errorf("--since %s is not before --until %s", v.Since, v.Until)
	}
	return q, nil
}

// A booked is a receipt with its file.
type booked struct {
	file    finding
	receipt receipt.Receipt
	times   []anchor // by all revisions
}

// findings asks the store. The order matters: an agent stores lines before the
// receipt that books them, so lines are counted after receipts were read.
func (q verifyQuestion) findings(ctx context.Context, store search.Store) ([]finding, error) {
	auditor, ok := store.(search.Auditor)
	if !ok {
		return nil, errors.New("it cannot say which lines it holds")
	}
	there, err := auditor.Generations(ctx, search.Request{Query: q.subject, Since: q.since, Until: q.until})
	if err != nil {
		return nil, err
	}
	receipts := map[search.Key]booked{}
	if err := q.receipts(ctx, store, receipts); err != nil {
		return nil, err
	}
	if err := lateReceipts(ctx, store, there, receipts); err != nil {
		return nil, err
	}
	var files []finding
	for key := range receipts {
		files = append(files, receipts[key].file)
	}
	for _, g := range there {
		if _, ok := receipts[g.Key]; !ok {
			files = append(files, finding{Key: g.Key, Name: g.Name, Path: g.Path, First: g.First, Last: g.Last})
		}
	}
	keys := make([]search.Key, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	tallies, err := auditor.Tally(ctx, keys)
	if err != nil {
		return nil, err
	}
	var limit time.Time
	if q.bounded {
		limit = q.until
	}
	var out []finding
	for i, f := range files {
		b, ok := receipts[f.Key]
		if !ok {
			out = append(out, unreceipted(f, tallies[i]))
			continue
		}
		found := compare(f, b.receipt, tallies[i], b.times, q.since, limit)
		if expired := tallies[i].Expired; len(found.Missing)+len(found.Expired) > 0 && !expired.IsZero() {
			more, err := left(ctx, store, f.Key, expired)
			if err != nil {
				return nil, err
			}
			found = compare(f, b.receipt, tallies[i], slices.Concat(more, b.times), q.since, limit)
		}
		out = append(out, found)
	}
	gaps, err := q.gaps(ctx, store, receipts)
	if err != nil {
		return nil, err
	}
	out = append(out, gaps...)
	sortFindings(out)
	return out, nil
}

// receipts reads the newest receipt of each file whose lines overlap the time
// asked for. One without lines has no such times: then its own counts.
func (q verifyQuestion) receipts(ctx context.Context, store search.Store, into map[search.Key]booked) error {
	begin, end := q.since.UnixNano(), q.until.UnixNano()-1
	overlap := search.Or(
		search.And(search.Between("mesoscope.receipt.first", 0, end), search.Between("mesoscope.receipt.last", begin, maxTime)),
		search.And(search.Not(search.Exists("mesoscope.receipt.first")), search.Between("@timestamp", begin, end)),
	)
	return eachReceipt(ctx, store, search.And(q.subject, overlap), into)
}

// maxTime is the last nanosecond that stores can hold, 2262-04-11.
const maxTime = 1<<63 - 1

// lateReceipts reads the receipts of files that have lines in the time asked
// for, but are booked only up to a time before it.
func lateReceipts(ctx context.Context, store search.Store, there []search.Generation, into map[search.Key]booked) error {
	const atOnce = 50
	var unknown []search.Query
	for i, g := range there {
		if _, ok := into[g.Key]; !ok {
			unknown = append(unknown, search.And(search.Term("container.id", g.Container), search.Term("log.file.generation", g.Generation), search.Term("stream", g.Stream)))
		}
		if len(unknown) == atOnce || i == len(there)-1 && len(unknown) > 0 {
			if err := eachReceipt(ctx, store, search.Or(unknown...), into); err != nil {
				return err
			}
			unknown = nil
		}
	}
	return nil
}

// eachReceipt keeps the highest revision of what q finds, and what the others
// say about times.
func eachReceipt(ctx context.Context, store search.Store, q search.Query, into map[search.Key]booked) error {
	return eachDocument(ctx, store, search.Request{Query: search.And(search.Term("event.dataset", receipt.Dataset), q)}, func(d bookDocument) {
		if d.Mesoscope.Receipt == nil {
			return
		}
		b := booked{d.finding(), *d.Mesoscope.Receipt, anchors(*d.Mesoscope.Receipt)}
		old, ok := into[b.file.Key]
		times := append(old.times, b.times...)
		if ok && old.receipt.Revision >= b.receipt.Revision {
			b = old
		}
		b.times = times
		into[b.file.Key] = b
	})
}

// A bookDocument is a stored receipt or gap document.
type bookDocument struct {
	Time   time.Time `json:"@timestamp"`
	Stream string    `json:"stream"`
	Log    struct {
		File struct {
			Path       string `json:"path"`
			Generation string `json:"generation"`
		} `json:"file"`
	} `json:"log"`
	Container struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"container"`
	Mesoscope struct {
		Receipt *receipt.Receipt `json:"receipt"`
		Gap     *receipt.Gap     `json:"gap"`
	} `json:"mesoscope"`
}

func (d bookDocument) finding() finding {
	return finding{
		Key:  search.Key{Container: d.Container.ID, Generation: d.Log.File.Generation, Stream: d.Stream},
		Name: d.Container.Name, Path: d.Log.File.Path,
	}
}

// eachDocument reads all documents of r, page by page.
func eachDocument(ctx context.Context, store search.Store, r search.Request, each func(bookDocument)) error {
	r.Limit = 1000
	for {
		res, err := store.Search(ctx, r)
		if err != nil {
			return err
		}
		for _, line := range res.Lines {
			var d bookDocument
			if err := json.Unmarshal(line.Doc, &d); err != nil {
				return fmt.Errorf("document %s: %w", line.ID, err)
			}
			each(d)
		}
		if !res.More {
			return nil
		}
		r.After = res.Cursor
	}
}

// gaps are the gaps of the receipts, and the gap documents of the time asked for
// that are in none.
func (q verifyQuestion) gaps(ctx context.Context, store search.Store, receipts map[search.Key]booked) ([]finding, error) {
	var out []finding
	type place struct {
		container, generation, reason string
		from                          int64
	}
	seen, doubts := map[place]bool{}, map[place]bool{} // doubts: without from
	add := func(f finding, g receipt.Gap) {
		f.Stream = "" // nobody knows whose the bytes were
		p := place{f.Container, f.Generation, g.Reason, g.From}
		if !seen[p] && !doubts[place{f.Container, f.Generation, g.Reason, 0}] {
			seen[p] = true
			out = append(out, gapFinding(f, g))
		}
	}
	// That nobody knows what came before a file is noted as a gap too, and said
	// by the verdict UNPROVEN already.
	for _, b := range receipts {
		if b.receipt.Unproven != "" {
			doubts[place{b.file.Container, b.file.Generation, b.receipt.Unproven, 0}] = true
		}
	}
	for _, b := range receipts {
		f := b.file
		f.First, f.Last = b.receipt.First, b.receipt.Last
		for _, g := range b.receipt.Gaps {
			add(f, g)
		}
		if b.receipt.Bytes.Gap > 0 && len(b.receipt.Gaps) == 0 {
			out = append(out, gapFinding(f, receipt.Gap{Bytes: b.receipt.Bytes.Gap, Reason: "the receipt does not say where"}))
		}
	}
	query := search.And(q.subject, search.Not(search.Exists("event.sequence")), search.Term("event.kind", gapKind))
	err := eachDocument(ctx, store, search.Request{Query: query, Since: q.since, Until: q.until}, func(d bookDocument) {
		if d.Mesoscope.Gap != nil {
			f := d.finding()
			f.First, f.Last = d.Time, d.Time
			add(f, *d.Mesoscope.Gap)
		}
	})
	return out, err
}

// who names a container for people.
func (f finding) who() string {
	if f.Name != "" {
		return f.Name
	}
	return fmt.Sprintf("%.12s", f.Container)
}
