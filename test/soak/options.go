package main

import (
	"flag"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/internal/jsonfile"
)

// options are the command line.
type options struct {
	seed          uint64
	duration      time.Duration
	cycles        int
	unguarded     bool
	rate          float64
	only, not     string
	containers    string
	dir           string
	keep          bool
	race          bool
	elasticsearch string
	began         time.Time
	mutants       bool
	bin           string
	pace          time.Duration // the longest pause between two faults
	patience      time.Duration // how long anything may take before it counts as stuck
}

func parseOptions(args []string, out io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Uint64Var(&o.seed, "seed", 0, "of the faults and of what is written; 0: the time")
	fs.DurationVar(&o.duration, "duration", 2*time.Minute, "how long faults are made")
	fs.DurationVar(&o.pace, "pace", 600*time.Millisecond, "the longest pause between two faults")
	fs.IntVar(&o.cycles, "cycles", 0, "so many kill -9 and nothing else but rotations and lost answers, instead of -duration")
	fs.BoolVar(&o.unguarded, "unguarded", false, "the second series: files vanish faster than an agent can come back, so that lines are lost, which the agent has to declare")
	fs.Float64Var(&o.rate, "rate", 0, "lines a second of a container, on average; 0: 100, less for long runs")
	fs.StringVar(&o.only, "only", "", "only these faults, comma separated")
	fs.StringVar(&o.not, "not", "", "all but these faults")
	fs.StringVar(&o.containers, "containers", "", "begin with these containers only, comma separated: 1 is the first of options.go")
	fs.StringVar(&o.dir, "dir", "", "where the folder of the run is made; empty: the system's folder for temporary files")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder of the run even if nothing is wrong")
	fs.BoolVar(&o.race, "race", false, "build the agent with the race detector; needs a C compiler")
	fs.StringVar(&o.elasticsearch, "elasticsearch", "", "URL of a real Elasticsearch to use instead of the fake")
	fs.BoolVar(&o.mutants, "mutants", false, "break the agent on purpose, in each of the ways of mutants.go, and see that it is found out")
	fs.StringVar(&o.bin, "bin", "", "the agent's binary; empty: build it")
	fs.DurationVar(&o.patience, "patience", 90*time.Second, "how long anything may take before it counts as stuck")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.began = time.Now()
	if o.seed == 0 {
		o.seed = uint64(o.began.UnixNano())
	}
	if o.rate == 0 {
		// The fake keeps all documents in memory, about 1 KB each.
		o.rate = max(10, min(100, 100*600/max(1, o.duration.Seconds())))
		if o.cycles > 0 {
			o.rate = 25 // an agent that lives for half a second has to keep up with it
		}
	}
	return o, nil
}

// logOptions say how the log of a container is kept.
type logOptions struct {
	jsonfile.Options
	steady  bool // the container stays to the end
	endless bool
	long    int // of 10,000 lines
	box     *boxOptions
}

// logs are the containers that a run begins with.
func (o options) logs() []logOptions {
	all := o.all()
	if o.containers == "" {
		return all
	}
	var list []logOptions
	for i, l := range all {
		if slices.Contains(strings.Split(o.containers, ","), strconv.Itoa(i+1)) {
			list = append(list, l)
		}
	}
	return list
}

func (o options) all() []logOptions {
	if o.unguarded {
		return []logOptions{
			{Options: jsonfile.Options{MaxSize: 20_000, MaxFile: 1}},
			{Options: jsonfile.Options{MaxSize: 40_000, MaxFile: 1}},
			{Options: jsonfile.Options{MaxSize: 20_000, MaxFile: 2}},
			{Options: jsonfile.Options{MaxSize: 20_000, MaxFile: 3, Compress: true}},
			{Options: jsonfile.Options{MaxSize: 30_000, MaxFile: 1, InPlace: true}},
		}
	}
	list := []logOptions{
		{Options: jsonfile.Options{}, steady: true, long: 3},
		{Options: jsonfile.Options{MaxSize: 30_000, MaxFile: 1}, long: 3}, // unlinked
		{Options: jsonfile.Options{MaxSize: 60_000, MaxFile: 1}, steady: true},
		{Options: jsonfile.Options{MaxSize: 30_000, MaxFile: 3}}, // renamed
		{Options: jsonfile.Options{MaxSize: 40_000, MaxFile: 3, Compress: true}, long: 1},
		{Options: jsonfile.Options{MaxSize: 20_000, MaxFile: 2, Compress: true}, steady: true},
	}
	if o.cycles == 0 {
		list = append(list,
			logOptions{Options: jsonfile.Options{MaxSize: 50_000, MaxFile: 1, InPlace: true}, steady: true}, // Docker up to 19.03
			logOptions{Options: jsonfile.Options{MaxSize: 200_000, MaxFile: 2}, steady: true, endless: true},
			logOptions{Options: jsonfile.Options{}},
		)
	}
	return append(list, // tasks without Docker
		logOptions{Options: jsonfile.Options{MaxSize: 30_000, MaxFile: 1}, box: &boxOptions{}, long: 2}, // logrotate's default
		logOptions{Options: jsonfile.Options{MaxSize: 40_000, MaxFile: 4}, box: &boxOptions{stream: 1}},
		logOptions{Options: jsonfile.Options{MaxSize: 30_000, MaxFile: 3, Compress: true}, box: &boxOptions{pod: true}},
		logOptions{Options: jsonfile.Options{}, box: &boxOptions{stream: 1, pod: true}, steady: true}, // no rotation
	)
}
