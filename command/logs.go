package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/search"
	"mesoscope/web/api"
)

// Logs is `mesoscope logs`: it searches stored lines and follows new ones. Its
// Run needs an IO and Stores bound into kong.
type Logs struct {
	Query []string `arg:"" optional:"" help:"What to look for, in KQL: words of the message, field: value, and, or, not. All lines if missing."`

	Store  string `env:"MESOSCOPE_STORE" help:"Where the lines are: the URL of a standalone or of Elasticsearch, or the file of an embedded store." placeholder:"URL|FILE"`
	Config string `type:"path" help:"The configuration that names the store." placeholder:"FILE"`

	App       []string `help:"Only this app or service (service.name), exact or with *; may be repeated." placeholder:"NAME"`
	Container []string `help:"Only this container (name, or id of 64 digits), exact or with *; may be repeated." placeholder:"NAME"`
	Host      []string `help:"Only this host (host.name), exact or with *; may be repeated." placeholder:"NAME"`
	Stream    string   `enum:"stdout,stderr,all" default:"all" help:"Only stdout or stderr."`
	Level     string   `help:"Only this log level and worse: trace, debug, info, warn, error, fatal." placeholder:"LEVEL"`

	Since string `help:"From when on: 15m, 2h, 7d ago, RFC 3339, or '2026-11-23 14:00' local; 15m if missing." placeholder:"TIME"`
	Until string `help:"Until when, written as for --since." placeholder:"TIME"`

	Follow bool   `short:"f" help:"Print new lines as they arrive, until interrupted."`
	Lines  string `short:"n" default:"100" help:"How many of the newest lines to print; all for every one." placeholder:"N|all"`

	Output  string `enum:"text,json" default:"text" help:"text, or json: the stored documents, one a line."`
	UTC     bool   `name:"utc" help:"Times in UTC instead of local time."`
	NoColor bool   `name:"no-color" help:"No colours; so does NO_COLOR in the environment."`
}

const (
	logsPage    = 1000                   // lines of one question
	followEvery = 300 * time.Millisecond // between questions for new lines
	followRetry = 3 * time.Second        // while the store is away
)

var levels = []string{"trace", "debug", "info", "warn", "error", "fatal"}

// Run prints lines. Its errors are of type Exit.
func (l Logs) Run(streams IO, stores Stores) error {
	r, n, err := l.request(time.Now())
	if err != nil {
		return Exit{Usage, err}
	}
	ctx := streams.Context
	store, err := stores.open(ctx, l.Store, l.Config)
	if err != nil {
		return err
	}
	defer store.Close()
	p := &printer{
		out: streams.Out, json: l.Output == "json", utc: l.UTC,
		color: streams.Terminal && !l.NoColor && os.Getenv("NO_COLOR") == "",
	}
	err = l.print(ctx, streams, store, r, n, p)
	switch {
	case err == nil, ctx.Err() != nil:
		return nil // interrupted: what was asked for has been printed
	case errors.Is(err, errWrite):
		return Exit{Bad, err}
	}
	return storeError(err)
}

// storeError says whether the store refused the question or did not answer.
func storeError(err error) error {
	if e := (*api.Error)(nil); errors.As(err, &e) && e.Status < 500 {
		return Exit{Bad, fmt.Errorf("the store refused the question: %w", err)}
	}
	return Exit{Unknown, fmt.Errorf("store: %w", err)}
}

func (l Logs) print(ctx context.Context, streams IO, store search.Store, r search.Request, n int, p *printer) error {
	var from search.Cursor
	if l.Follow {
		// The end of the store is noted first: a line that arrives while the
		// older ones are read is printed once, and not missed.
		res, err := store.Search(ctx, search.Request{Query: r.Query, Arrival: true})
		if err != nil {
			return err
		}
		from = res.Cursor
	}
	seen := map[string]bool{}
	printed, more, err := l.stored(ctx, store, r, n, p, func(id string) {
		if l.Follow {
			seen[id] = true
		}
	})
	if err != nil {
		return err
	}
	switch {
	case l.Follow:
		return follow(ctx, streams, store, r.Query, from, seen, p)
	case printed == 0:
		fmt.Fprintln(streams.Err, "no lines")
	case more && l.Lines == defaultLines:
		fmt.Fprintf(streams.Err, "the newest %d lines; there are more: -n N, or -n all\n", printed)
	}
	return nil
}

// defaultLines is the default of --lines.
const defaultLines = "100"

// stored prints the newest n lines (all if negative), oldest first, and says
// whether there are older ones.
func (l Logs) stored(ctx context.Context, store search.Store, r search.Request, n int, p *printer, each func(id string)) (printed int, more bool, err error) {
	if n < 0 {
		r.Limit = logsPage
		for {
			res, err := store.Search(ctx, r)
			if err != nil {
				return printed, false, err
			}
			if err := p.print(res.Lines); err != nil {
				return printed, false, err
			}
			printed += len(res.Lines)
			for _, line := range res.Lines {
				each(line.ID)
			}
			if !res.More || len(res.Lines) == 0 {
				return printed, false, nil
			}
			r.After = res.Cursor
		}
	}
	var pages [][]search.Line // newest page first
	for r.Newest = true; printed < n; {
		r.Limit = min(n-printed, logsPage)
		res, err := store.Search(ctx, r)
		if err != nil {
			return 0, false, err
		}
		pages = append(pages, res.Lines)
		printed += len(res.Lines)
		more = res.More
		if !res.More || len(res.Lines) == 0 {
			break
		}
		r.After = res.Cursor
	}
	for _, page := range slices.Backward(pages) {
		if err := p.print(page); err != nil {
			return printed, more, err
		}
		for _, line := range page {
			each(line.ID)
		}
	}
	return printed, more, nil
}

// follow prints lines in the order in which they reach the store. While the
// store is away it says so once and asks again. seen are lines that were
// printed already.
func follow(ctx context.Context, streams IO, store search.Store, q search.Query, from search.Cursor, seen map[string]bool, p *printer) error {
	away := false
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		res, err := store.Search(ctx, search.Request{Query: q, Arrival: true, After: from, Limit: logsPage})
		if err != nil {
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Status < 500 {
				return err // asking again would not help
			}
			if !away && ctx.Err() == nil {
				fmt.Fprintf(streams.Err, "the store does not answer (%v); trying again until it does\n", err)
			}
			away = true
			wait.Reset(followRetry)
			continue
		}
		if away {
			fmt.Fprintln(streams.Err, "the store answers again")
			away = false
		}
		lines := res.Lines
		if len(seen) > 0 {
			lines = slices.DeleteFunc(lines, func(l search.Line) bool { return seen[l.ID] })
		}
		if err := p.print(lines); err != nil {
			return err
		}
		if res.Cursor != "" {
			from = res.Cursor
		}
		if res.More {
			wait.Reset(0)
			continue
		}
		seen = nil // the order of arrival has passed all that was read before
		wait.Reset(followEvery)
	}
}

// request is what the flags ask for; n is -1 for all lines.
func (l Logs) request(now time.Time) (r search.Request, n int, err error) {
	var filters []api.Filter
	add := func(field string, values ...string) {
		for _, v := range values {
			filters = append(filters, api.Filter{Field: field, Value: v, Pattern: strings.Contains(v, "*")})
		}
	}
	add("service.name", l.App...)
	add("host.name", l.Host...)
	for _, c := range l.Container {
		if isID(c) {
			add("container.id", c)
		} else {
			add("container.name", c)
		}
	}
	if l.Stream != "" && l.Stream != "all" {
		add("stream", l.Stream)
	}
	if l.Level != "" {
		i := slices.Index(levels, strings.ToLower(l.Level))
		if i < 0 {
			return r, 0, fmt.Errorf("--level %s: want one of %s", l.Level, strings.Join(levels, ", "))
		}
		add("log.level", levels[i:]...)
	}
	if r.Query, err = api.Compose(strings.Join(l.Query, " "), filters); err != nil {
		if at := (*search.ParseError)(nil); errors.As(err, &at) {
			err = fmt.Errorf("%w\n  %s", err, strings.ReplaceAll(at.Caret(), "\n", "\n  "))
		}
		return r, 0, err
	}
	n = -1
	if l.Lines != "all" {
		if n, err = strconv.Atoi(l.Lines); err != nil || n < 0 {
			return r, 0, fmt.Errorf("--lines %s: want a number or all", l.Lines)
		}
	}
	if l.Follow && l.Until != "" {
		return r, 0, errors.New("--until has no meaning with --follow; leave one out")
	}
	since := l.Since
	if since == "" {
		since = "15m"
		if l.Until != "" {
			// Before --until, not before now.
			until, err := parseTime(l.Until, now)
			if err != nil {
				return r, 0, fmt.Errorf("--until: %w", err)
			}
			now = until
		}
	}
	if r.Since, err = parseTime(since, now); err != nil {
		return r, 0, fmt.Errorf("--since: %w", err)
	}
	if l.Until != "" {
		if l.Since == "" {
			r.Until = now
		} else if r.Until, err = parseTime(l.Until, now); err != nil {
			return r, 0, fmt.Errorf("--until: %w", err)
		}
		if !r.Since.Before(r.Until) {
			return r, 0, fmt.Errorf("--since %s is not before --until %s", l.Since, l.Until)
		}
	}
	return r, n, nil
}

func isID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
