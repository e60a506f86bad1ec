package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

var marathonKind = Kind{
	Summary: "Marathon: has a leader, is known to Mesos, deploys come to an end, apps find offers",
	Target:  "URL",
	Example: `check marathon http://m1.example.net:8080 --warning deploy_age=600`,
	Options: baseOptions,
	Metrics: []Limits{
		{Name: "deployments", Help: "deployments under way"},
		{Name: "deploy_age", Help: "seconds since the oldest of them began", Warning: "1800", Critical: "7200"},
		{Name: "waiting", Help: "apps in the queue"},
		{Name: "overdue", Help: "apps that may start and get no offer", Warning: "0"},
		{Name: "backoff", Help: "longest delay of an app that fails again and again, in seconds", Warning: "300"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"leader", Critical, "it knows no leader"},
		{"framework", Critical, "it is not registered as a framework in Mesos"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: baseURL("8080"),
	check:   checkMarathon,
}

// A deployment is one item of /v2/deployments; its version is when it began.
type deployment struct {
	ID      string    `json:"id"`
	Version time.Time `json:"version"`
	Apps    []string  `json:"affectedApps"`
	Pods    []string  `json:"affectedPods"`
}

// marathonQueue is the answer of /v2/queue.
type marathonQueue struct {
	Queue []struct {
		Count int `json:"count"`
		Delay struct {
			Left    float64 `json:"timeLeftSeconds"`
			Overdue bool    `json:"overdue"`
		} `json:"delay"`
		App struct {
			ID string `json:"id"`
		} `json:"app"`
		Pod struct {
			ID string `json:"id"`
		} `json:"pod"`
	} `json:"queue"`
}

// checkMarathon asks what costs Marathon little; the list of apps does not.
func checkMarathon(ctx context.Context, t Target) (r Result) {
	var info struct {
		Name, Version, Leader string
		FrameworkID           *string `json:"frameworkId"`
	}
	if !r.askJSON(ctx, t, "/v2/info", &info) {
		return r
	}
	if info.Version == "" {
		r.find(Critical, "protocol", "/v2/info: the answer is not that of Marathon")
		return r
	}
	r.say("Marathon %s, leader %s", info.Version, info.Leader)
	if info.Leader == "" {
		r.find(Critical, "leader", "no leader")
		return r
	}
	if info.FrameworkID == nil || *info.FrameworkID == "" {
		r.find(Critical, "framework", "not registered as a framework in Mesos")
	}
	var deployments []deployment
	var queue marathonQueue
	if !r.askJSON(ctx, t, "/v2/deployments", &deployments) || !r.askJSON(ctx, t, "/v2/queue", &queue) {
		return r
	}
	r.judgeDeployments(deployments, time.Now())
	r.judgeQueue(queue)
	return r
}

func (r *Result) judgeDeployments(all []deployment, now time.Time) {
	r.measure("deployments", float64(len(all)), "")
	if len(all) == 0 {
		return
	}
	oldest := slices.MinFunc(all, func(a, b deployment) int { return a.Version.Compare(b.Version) })
	names := firstOf(append(oldest.Apps, oldest.Pods...))
	age := now.Sub(oldest.Version)
	r.measure("deploy_age", float64(int(age.Seconds())), "s").about = fmt.Sprintf("the deploy of %s goes on for %s", names, ago(age))
	r.Text += fmt.Sprintf(", %d deploys, the oldest of %s for %s", len(all), names, ago(age))
}

func (r *Result) judgeQueue(q marathonQueue) {
	var overdue []string
	longest := 0.0
	for _, item := range q.Queue {
		if item.Count > 0 && item.Delay.Overdue {
			overdue = append(overdue, item.App.ID+item.Pod.ID)
		}
		longest = max(longest, item.Delay.Left)
	}
	r.measure("waiting", float64(len(q.Queue)), "")
	r.measure("overdue", float64(len(overdue)), "").about = fmt.Sprintf("%d apps may start and get no offer: %s", len(overdue), firstOf(overdue))
	r.measure("backoff", longest, "s")
}

// firstOf names the first few.
func firstOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}
