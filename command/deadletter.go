package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mesoscope/config"
	"mesoscope/shipper"
)

// DeadLetter is `mesoscope deadletter`.
type DeadLetter struct {
	List   DeadLetterList   `cmd:"" help:"Show what could not be stored, and why." example:"mesoscope deadletter list\nmesoscope deadletter list --since 1d -n 20\nmesoscope deadletter list --output json | jq -r .document.message"`
	Replay DeadLetterReplay `cmd:"" help:"Send it to Elasticsearch again, after the mapping was mended." example:"mesoscope deadletter replay --config mesoscope.yml --dry-run\nmesoscope deadletter replay --config mesoscope.yml\nmesoscope deadletter replay --to http://127.0.0.1:9200 --index 'logs-mesos.container-*'"`
}

// Help says what dead letters are.
func (*DeadLetter) Help() string {
	return "A document that Elasticsearch refuses for good, even in a reduced form, is written to a file below data_dir, with the reason: " +
		"agent/deadletter or standalone/deadletter. There it stays until it is replayed."
}

// deadLetterFolder says which letters are meant.
type deadLetterFolder struct {
	Config string `short:"c" type:"path" env:"MESOSCOPE_CONFIG" placeholder:"FILE" help:"The configuration whose data_dir holds the letters; the defaults if missing."`
	Dir    string `type:"path" placeholder:"FOLDER" help:"The folder with the files, instead of those below data_dir."`
	Index  string `placeholder:"NAME" help:"Only letters for this data stream, exact or with *."`
	Since  string `placeholder:"TIME" help:"Only letters since then: 15m, 2h, 7d ago, RFC 3339, or '2026-11-23 14:00' local."`
}

// open finds the folders and the filter. cfg is for who needs more of it.
func (f deadLetterFolder) open(now time.Time) (dirs []string, wanted func(shipper.DeadLetter) bool, cfg config.Config, err error) {
	if _, err := path.Match(f.Index, ""); err != nil {
		return nil, nil, cfg, Exit{Usage, fmt.Errorf("--index %s: %w", f.Index, err)}
	}
	var since time.Time
	if f.Since != "" {
		if since, err = parseTime(f.Since, now); err != nil {
			return nil, nil, cfg, Exit{Usage, fmt.Errorf("--since: %w", err)}
		}
	}
	// A standalone's kind accepts the configuration of an agent too.
	if cfg, err = config.Load(f.Config, config.Standalone); err != nil {
		return nil, nil, cfg, Exit{Bad, err}
	}
	dirs = []string{f.Dir}
	if f.Dir == "" {
		dirs = []string{filepath.Join(cfg.DataDir, "agent", "deadletter"), filepath.Join(cfg.DataDir, "standalone", "deadletter")}
	}
	there := dirs[:0:0]
	for _, dir := range dirs {
		_, err := os.ReadDir(dir)
		switch {
		case err == nil:
			there = append(there, dir)
		case f.Dir != "" || !errors.Is(err, os.ErrNotExist):
			return nil, nil, cfg, Exit{Unknown, fmt.Errorf("read the dead letters: %w", err)}
		}
	}
	return there, func(l shipper.DeadLetter) bool {
		match := f.Index == ""
		if !match {
			match, _ = path.Match(f.Index, l.Index) // the pattern is good
		}
		return match && !l.Time.Before(since)
	}, cfg, nil
}

// each gives the wanted letters of dirs. What cannot be read is said on errOut
// and counted.
func each(dirs []string, wanted func(shipper.DeadLetter) bool, errOut io.Writer, do func(dir string, l shipper.DeadLetter) error) (unreadable int, err error) {
	for _, dir := range dirs {
		for l, err := range shipper.ReadDeadLetters(dir) {
			if err != nil {
				unreadable++
				fmt.Fprintf(errOut, "mesoscope: %v\n", err)
				continue
			}
			if wanted(l) {
				if err := do(dir, l); err != nil {
					return unreadable, err
				}
			}
		}
	}
	return unreadable, nil
}

// DeadLetterList is `mesoscope deadletter list`.
type DeadLetterList struct {
	deadLetterFolder
	Lines  string `short:"n" default:"100" placeholder:"N|all" help:"How many of the newest letters to show."`
	Output string `enum:"text,json" default:"text" help:"text, or json: the letters as they are stored, one a line."`
	UTC    bool   `name:"utc" help:"Times in UTC instead of local time."`
}

// Run prints.
func (c *DeadLetterList) Run(streams IO) error {
	n := -1
	if c.Lines != "all" {
		var err error
		if n, err = strconv.Atoi(c.Lines); err != nil || n < 0 {
			return Exit{Usage, fmt.Errorf("--lines %s: want a number or all", c.Lines)}
		}
	}
	dirs, wanted, _, err := c.open(time.Now())
	if err != nil {
		return err
	}
	var newest []shipper.DeadLetter // at most 2n
	reasons := map[string]int{}
	total := 0
	unreadable, err := each(dirs, wanted, streams.Err, func(_ string, l shipper.DeadLetter) error {
		total++
		reasons[reasonClass(l.Type, l.Reason)]++
		if newest = append(newest, l); n >= 0 && len(newest) > 2*n {
			newest = slices.Delete(newest, 0, len(newest)-n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n >= 0 && len(newest) > n {
		newest = newest[len(newest)-n:]
	}
	if c.Output == "json" {
		err = printLetters(streams.Out, newest)
	} else {
		err = c.text(streams.Out, newest, total, reasons)
	}
	switch {
	case err != nil:
		return Exit{Bad, fmt.Errorf("%w: %w", errWrite, err)}
	case unreadable > 0:
		return Exit{Bad, fmt.Errorf("%s could not be read", many(unreadable, "letter"))}
	}
	return nil
}

func printLetters(out io.Writer, letters []shipper.DeadLetter) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, l := range letters {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

const (
	reasonWidth  = 80
	messageWidth = 60
	classWidth   = 160
)

func (c *DeadLetterList) text(out io.Writer, letters []shipper.DeadLetter, total int, reasons map[string]int) error {
	if total == 0 {
		_, err := fmt.Fprintln(out, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tINDEX\tTYPE\tREASON\tMESSAGE")
	for _, l := range letters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", letterTime(l.Time, c.UTC), clean(l.Index), clean(l.Type), shorten(reasonPlace.ReplaceAllString(l.Reason, ""), reasonWidth), shorten(letterMessage(l), messageWidth))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s", many(total, "dead letter"))
	if total > len(letters) {
		fmt.Fprintf(out, ", the newest %d shown; all of them: -n all", len(letters))
	}
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range sortedCounts(reasons) {
		fmt.Fprintf(w, "  %s\t  %s\n", count(int64(reasons[r])), clean(r))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "Once the reason is mended, `mesoscope deadletter replay` sends them again.")
	return err
}

func sortedCounts(counts map[string]int) []string {
	var keys []string
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	return keys
}

func letterTime(t time.Time, utc bool) string {
	if utc {
		t = t.UTC()
	} else {
		t = t.Local()
	}
	return t.Format("2006-01-02T15:04:05Z07:00")
}

// letterMessage is the message of the document, or the document.
func letterMessage(l shipper.DeadLetter) string {
	var doc struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(l.Document, &doc) == nil && doc.Message != "" {
		return doc.Message
	}
	return string(l.Document)
}

// shorten makes text fit into a column.
func shorten(s string, width int) string {
	if len(s) > 4*width { // enough to look at
		s = s[:4*width]
	}
	s = strings.Join(strings.Fields(s), " ")
	s = clean(s)
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// What a reason says of one document alone.
var (
	reasonPlace    = regexp.MustCompile(`^\[\d+:\d+\] `)
	reasonDocument = regexp.MustCompile(`( in document with id|\. Preview of field's value|: ).*$`)
)

// reasonClass is what reasons of the same kind have in common.
func reasonClass(typ, reason string) string {
	reason = reasonPlace.ReplaceAllString(strings.Join(strings.Fields(reason), " "), "")
	reason = reasonDocument.ReplaceAllString(reason, "")
	if typ == "" {
		return shorten(reason, classWidth)
	}
	return shorten(typ+": "+reason, classWidth)
}
