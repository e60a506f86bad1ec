package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Only one page of Docker's API is read, by the same code as every other page,
// so this kind needs nothing of Docker's own client.

var dockerKind = Kind{
	Summary: "Docker: a container runs, is healthy, was not killed for its memory",
	Target:  "CONTAINER",
	Example: `check docker web-1 --warning restarts=3`,
	Options: []Option{
		{Name: "socket", Placeholder: "PATH", Default: "/var/run/docker.sock", Help: "Docker's socket.", parse: parse(parseSocket)},
	},
	Metrics: []Limits{
		{Name: "restarts", Help: "how often its restart policy has started it again (counter)"},
		{Name: "uptime", Help: "seconds since it was started"},
		{Name: "failing", Help: "health checks that failed in a row"},
	},
	Signals: []Signal{
		{"connect", Critical, "no Docker at the socket"},
		{"timeout", Critical, "Docker does not answer within the timeout"},
		{"cut", Critical, "Docker closed the connection before the answer was whole"},
		{"protocol", Critical, "the answer is not that of Docker, or too large"},
		{"status", Critical, "Docker answers with an error"},
		{"missing", Critical, "there is no such container"},
		{"stopped", Critical, "created, exited or dead; with exit code and error"},
		{"oom", Critical, "it was ended because it had no memory left"},
		{"restarting", Critical, "its restart policy is about to start it again"},
		{"paused", Critical, "it is paused"},
		{"unhealthy", Critical, "its own health check fails"},
		{"starting", Warning, "its own health check has no result yet"},
	},
	Facts:   []string{"STATUS", "RESPONSE_TIME", "BODY", "CONNECTED"},
	address: parseContainer,
	check:   checkDocker,
}

// dockerState is the part of a container's description that is judged.
type dockerState struct {
	Name         string
	RestartCount int
	State        struct {
		Status, Error                          string
		Running, Paused, Restarting, OOMKilled bool
		ExitCode                               int
		StartedAt, FinishedAt                  time.Time
		Health                                 *struct {
			Status        string
			FailingStreak int
			Log           []struct{ Output string }
		}
	}
}

func checkDocker(ctx context.Context, t Target) (r Result) {
	u := &url.URL{Scheme: "http", Host: "docker", Path: "/containers/" + t.Address + "/json"}
	q := request{method: http.MethodGet, url: u, header: http.Header{}, socket: value[string](t, "socket"), most: 1 << 20}
	p, err := fetch(ctx, &r, t, q)
	if err != nil {
		if !r.facts.connected && !errors.Is(err, context.DeadlineExceeded) {
			r.find(Critical, "connect", "no Docker at %s: %s", q.socket, plain(err))
		} else {
			r.failed(t, err, "waiting for Docker")
		}
		return r
	}
	r.Evidence.Address, r.Evidence.Status, r.facts.status = q.socket, p.status, p.status
	r.facts.body, r.facts.bodyCut = p.body, p.cut // no evidence: the environment has secrets
	switch {
	case p.status == http.StatusNotFound:
		r.find(Critical, "missing", "there is no container %s", t.Address)
		return r
	case p.status != http.StatusOK:
		r.find(Critical, "status", "Docker answers %s: %s", p.statusText, clip(string(p.body)))
		return r
	}
	var c dockerState
	if err := json.Unmarshal(p.body, &c); err != nil || c.State.Status == "" && !c.State.Running && c.State.StartedAt.IsZero() {
		r.find(Critical, "protocol", "the answer is not that of Docker")
		return r
	}
	r.judgeContainer(c)
	return r
}

func (r *Result) judgeContainer(c dockerState) {
	s := c.State
	name := strings.TrimPrefix(c.Name, "/")
	r.measure("restarts", float64(c.RestartCount), "c")
	switch {
	case s.Restarting:
		r.find(Critical, "restarting", "%s restarts again and again, %d times so far, exit code %d", name, c.RestartCount, s.ExitCode)
	case s.Paused:
		r.find(Critical, "paused", "%s is paused", name)
	case !s.Running:
		text := fmt.Sprintf("%s is %s", name, s.Status)
		if s.Status == "exited" || s.Status == "dead" {
			text += fmt.Sprintf(" with code %d, %s ago", s.ExitCode, ago(time.Since(s.FinishedAt)))
		}
		if s.Error != "" {
			text += ": " + clip(s.Error)
		}
		r.find(Critical, "stopped", "%s", text)
	}
	if s.OOMKilled {
		r.find(Critical, "oom", "%s was ended because it had no memory left", name)
	}
	if !s.Running || s.Restarting {
		return
	}
	up := time.Since(s.StartedAt)
	r.measure("uptime", float64(int(up.Seconds())), "s")
	r.say("%s runs, up %s", name, ago(up))
	if s.Health == nil {
		return
	}
	r.measure("failing", float64(s.Health.FailingStreak), "")
	switch s.Health.Status {
	case "healthy":
		r.say("%s runs and is healthy, up %s", name, ago(up))
	case "starting":
		r.find(Warning, "starting", "%s has no result of its own health check yet", name)
	case "unhealthy":
		last := ""
		if n := len(s.Health.Log); n > 0 {
			last = ": " + clip(strings.TrimSpace(s.Health.Log[n-1].Output))
		}
		r.find(Critical, "unhealthy", "%s is unhealthy, %d times in a row%s", name, s.Health.FailingStreak, last)
	}
}

var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`)

func parseContainer(s string) (string, error) {
	if !containerName.MatchString(s) {
		return "", fmt.Errorf("%q is no name or id of a container", s)
	}
	return s, nil
}

func parseSocket(s string) (string, error) {
	s = strings.TrimPrefix(s, "unix://")
	if !strings.HasPrefix(s, "/") {
		return "", fmt.Errorf("%q is no absolute path", s)
	}
	return s, nil
}
