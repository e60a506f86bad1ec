package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A table is what a measurement prints.
type table struct {
	title string
	rows  [][]string // the first one is the head; the first cell of a row names it
	notes []string
}

// print aligns numbers to the right and names to the left.
func (t *table) print(w io.Writer) error {
	names := 0
	for _, row := range t.rows {
		names = max(names, len([]rune(row[0])))
	}
	if _, err := fmt.Fprintln(w, t.title); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range t.rows {
		name := row[0] + strings.Repeat(" ", names-len([]rune(row[0])))
		fmt.Fprintf(tw, "%s\t%s\t\n", name, strings.Join(row[1:], "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, n := range t.notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// median of values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// percentile is the smallest value that p of 100 values do not exceed.
func percentile(values []float64, p int) float64 {
	slices.Sort(values)
	return values[max(0, (len(values)*p+99)/100-1)]
}

// thousands writes 1234567 as 1,234,567.
func thousands(v float64) string {
	s := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }

func machine() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
