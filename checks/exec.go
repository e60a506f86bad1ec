package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const maxOutput = 64 << 10

var execKind = Kind{
	Summary:   "any Nagios plugin: its exit code is the verdict, its perfdata are the metrics",
	Target:    "PROGRAM [ARGUMENT...]",
	Example:   `check exec --timeout 10s --warning load5=2 -- /usr/lib/nagios/plugins/check_load -w 8,6,4 -c 16,12,8`,
	Arguments: true,
	Options: []Option{
		{Name: "env", Placeholder: "NAME=VALUE", Many: true, Help: "Variable for the program, which otherwise gets PATH and LC_ALL=C alone.", parse: parse(parseVariable)},
	},
	Signals: []Signal{
		{"warning", Warning, "exit code 1"},
		{"critical", Critical, "exit code 2"},
		{"unknown", Unknown, "exit code 3"},
		{"exit", Unknown, "another exit code, ended by a signal, or not to be started"},
		{"timeout", Critical, "not finished within the timeout; it is killed with its children"},
	},
	address: parseProgram,
	check:   checkExec,
}

// checkExec runs a plugin without a shell, in a process group of its own.
func checkExec(ctx context.Context, t Target) (r Result) {
	out := &capped{most: maxOutput}
	cmd := exec.CommandContext(ctx, t.Address, t.Args...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, values[string](t, "env")...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	groupOfItsOwn(cmd)
	if err := runAs(cmd, t.User); err != nil {
		r.find(Unknown, "exit", "cannot start %s: %v", t.Address, err)
		return r
	}
	cmd.Cancel = func() error { return killGroup(cmd) }
	// A grandchild that has left the group may hold the pipe for ever.
	cmd.WaitDelay = 200 * time.Millisecond
	began := time.Now()
	err := cmd.Run()
	r.phase("run", began)
	if cmd.Process != nil {
		_ = killGroup(cmd) // what it left running
	}
	r.readPlugin(out)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.find(Critical, "timeout", "not finished within %s, killed", t.Timeout)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
	case errors.As(err, &exit):
		r.verdict(exit.Sys())
	default:
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		r.find(Unknown, "exit", "cannot start %s: %v", t.Address, err)
	}
	return r
}

// verdict turns the way in which a plugin ended into a finding.
func (r *Result) verdict(how any) {
	status, ok := how.(syscall.WaitStatus)
	said := r.Text
	if said == "" {
		said = "no output"
	}
	switch {
	case ok && status.Signaled():
		r.find(Unknown, "exit", "ended by signal %d (%v): %s", status.Signal(), status.Signal(), said)
	case ok && status.ExitStatus() == 1:
		r.find(Warning, "warning", "%s", said)
	case ok && status.ExitStatus() == 2:
		r.find(Critical, "critical", "%s", said)
	case ok && status.ExitStatus() == 3:
		r.find(Unknown, "unknown", "%s", said)
	case ok:
		r.find(Unknown, "exit", "exit code %d is none of 0 to 3: %s", status.ExitStatus(), said)
	default:
		r.find(Unknown, "exit", "%v: %s", how, said)
	}
}

// readPlugin reads "text | perfdata", further lines of text, and behind a
// second bar further perfdata.
func (r *Result) readPlugin(out *capped) {
	first, more, _ := strings.Cut(strings.ToValidUTF8(out.text.String(), "�"), "\n")
	text, perfdata, _ := strings.Cut(first, "|")
	long, behind, _ := strings.Cut(more, "|")
	r.Text = oneLine(text)
	r.Long = strings.TrimSpace(long)
	if out.cut {
		r.Long = strings.TrimSpace(r.Long + "\n(output cut at " + size(maxOutput) + ")")
	}
	if r.Text == "" {
		r.Text = "no output"
	}
	metrics, _ := ParsePerfdata(perfdata + " " + behind)
	for _, m := range metrics {
		if m.Name != "time" { // ours stands there already
			r.Metrics = append(r.Metrics, m)
		}
	}
	r.Evidence.Answer = excerpt(out.text.Bytes())
}

// capped keeps the beginning of what is written and throws the rest away, so
// that a plugin that prints for ever neither blocks nor fills our memory.
type capped struct {
	text bytes.Buffer
	most int
	cut  bool
}

func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.most-c.text.Len())
	c.text.Write(p[:keep])
	c.cut = c.cut || keep < len(p)
	return len(p), nil
}

func parseProgram(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("wanted -- PROGRAM [ARGUMENT...]")
	case !strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("%q is no absolute path of a program", s)
	}
	return s, nil
}

func parseVariable(s string) (string, error) {
	if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
		return "", fmt.Errorf("%q is not NAME=VALUE", s)
	}
	return s, nil
}
