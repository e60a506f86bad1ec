// Command writer prints the known lines of the end-to-end tests from within a
// container, at a given pace, and notes how many they were.
//
// The way of the data: flags -> lines.Text -> stdout and stderr in turn; at the
// end, or at SIGTERM, one lines.Run -> the record file, which the test reads.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mesoscope/test/e2e/lines"
)

func main() {
	name := flag.String("name", "", "stands in each line")
	kinds := flag.String("kinds", strings.Join(lines.Kinds, ","), "kinds of lines, in turn")
	count := flag.Int("n", 100, "lines on each stream")
	streams := flag.String("streams", "stdout,stderr", "which streams")
	pace := flag.Duration("pace", 0, "time between two lines")
	unended := flag.Bool("unended", false, "no newline behind the last line")
	stay := flag.Bool("stay", false, "do not end before SIGTERM")
	record := flag.String("record", "", "file for what was printed")
	flag.Parse()
	if err := write(*name, strings.Split(*kinds, ","), *count, *streams, *pace, *unended, *stay, *record); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
}

func write(name string, kinds []string, count int, streams string, pace time.Duration, unended, stay bool, record string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	run, err := runs(record)
	if err != nil {
		return err
	}
	r := lines.Run{Run: run + 1, Unended: unended}
	var out []*os.File
	for _, s := range strings.Split(streams, ",") {
		out = append(out, map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}[s])
	}
	tick := time.NewTicker(max(pace, 1))
	defer tick.Stop()
	asked := false
	for n := 1; n <= count && !asked; n++ {
		for _, f := range out {
			stream, printed := "stdout", &r.Stdout
			if f == os.Stderr {
				stream, printed = "stderr", &r.Stderr
			}
			text := lines.Text(lines.KindOf(kinds, n), name, stream, r.Run, n)
			if !unended || n < count {
				text = append(text, '\n')
			}
			if _, err := f.Write(text); err != nil {
				return err
			}
			*printed++
		}
		if pace > 0 && n < count {
			select {
			case <-tick.C:
			case <-term:
				asked = true
			}
		}
	}
	r.Unended = unended && !asked
	if record != "" {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if _, err := f.Write(append(text, '\n')); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if stay && !asked {
		<-term
	}
	return nil
}

// runs counts the runs in the record.
func runs(record string) (int, error) {
	text, err := os.ReadFile(record)
	if record == "" || os.IsNotExist(err) {
		return 0, nil
	}
	return strings.Count(string(text), "\n"), err
}
