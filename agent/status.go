package agent

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"mesoscope/agent/discover"
	"mesoscope/agent/status"
	"mesoscope/agent/tail"
	"mesoscope/internal/version"
)

// The guarantees of a source.
const (
	exactlyOnce = "exactly-once"
	atLeastOnce = discover.GuaranteeViaAPI
	notHeld     = "exactly-once while the agent runs (files not held)"
)

// Sources lists every stream of every container, also those that cannot be
// read, ordered by container and stream.
func (a *Agent) Sources() []status.Source {
	followed := map[string]tail.Source{}
	for _, s := range a.tail.Sources() {
		followed[s.ID] = s
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []status.Source{}
	for _, c := range a.containers {
		for _, id := range sourcesOf(c.Container) {
			s, ok := followed[id]
			if !ok && c.gone {
				continue
			}
			list = append(list, a.sourcesOf(c, s, ok)...)
		}
	}
	for _, e := range a.discover.Excluded() {
		list = append(list, status.Source{ID: runtime(e.Of) + "/" + e.ID, Container: e.Name, State: "excluded", LastError: ""})
	}
	slices.SortFunc(list, func(x, y status.Source) int {
		return cmp.Or(cmp.Compare(x.Container, y.Container), cmp.Compare(x.ID, y.ID))
	})
	return list
}

func (a *Agent) sourcesOf(c *container, s tail.Source, followed bool) (list []status.Source) {
	base := status.Source{
		ID: runtime(c.Container) + "/" + c.ID, Container: cmp.Or(c.Name, c.ID), Service: discover.ServiceName(c.known), Driver: c.Driver, Path: c.LogPath,
		MetadataFrom: cmp.Or(c.From["name"], "directory name"),
	}
	if !followed {
		base.State, base.LastError = "not readable", cmp.Or(c.Problem, "not followed yet")
		return []status.Source{base}
	}
	base.Path, base.Size, base.Offset = s.Path, s.Size, s.Offset
	base.LagBytes, base.LagSeconds, base.State = s.LagBytes, s.LagSeconds, s.State
	base.LastError, base.Blocked = cmp.Or(s.Problem, c.Problem), s.Blocked
	switch {
	case c.ViaAPI && c.Lossy == "":
		base.Guarantee = atLeastOnce
	case s.Gaps > 0:
		base.Guarantee = "lines were lost, see the agent's log"
	case s.Unproven:
		base.Guarantee = "unproven: files may have come and gone while no agent ran"
	case c.Lossy != "":
		base.Guarantee = "source lossy: " + c.Lossy
	case !s.Held && s.Offset > 0:
		base.Guarantee = notHeld
	default:
		base.Guarantee = exactlyOnce
	}
	names := []string{"stdout", "stderr"}
	if strings.HasSuffix(s.ID, stderrSource) {
		names[0] = tail.ExecutorStream
	}
	for k, name := range names {
		// A stream that was never written to is no news, but a container that
		// has printed nothing at all is listed once.
		if s.Lines[k] == 0 && s.Settled[k] == 0 && (k == 1 || s.Lines[1] > 0) {
			continue
		}
		if k == 1 && s.Lines[1] == 0 {
			continue
		}
		r := base
		r.ID, r.Stream, r.Settled = base.ID+"/"+name, name, s.Settled[k]
		list = append(list, r)
	}
	return list
}

// Status is how the agent is, but for its output.
func (a *Agent) Status() status.Status {
	hold := a.holdStatus()
	problems := holdProblems(hold)
	if loss := a.discover.SourceLoss(); loss != "" {
		problems = append(problems, loss)
	}
	return status.Status{
		Version: version.Version, Node: a.host.Name, UptimeSeconds: time.Since(a.started).Seconds(),
		Hold: hold, Problems: problems,
	}
}

// Counts reads the totals out of the metrics, so that `mesoscope status` and
// Prometheus never disagree.
func Counts(reg prometheus.Gatherer) status.Counts {
	c := status.Counts{Dropped: map[string]int64{}, Refused: map[string]int64{}}
	families, err := reg.Gather()
	if err != nil {
		return c
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n := int64(m.GetCounter().GetValue())
			switch f.GetName() {
			case "mesoscope_lines_read_total":
				c.LinesRead += n
			case "mesoscope_lines_delivered_total":
				c.LinesDelivered += n
			case "mesoscope_lines_duplicate_total":
				c.LinesDuplicate += n
			case "mesoscope_lines_dropped_total":
				c.Dropped[reason(m)] += n
			case "mesoscope_lines_refused_total":
				c.Refused[reason(m)] += n
			}
		}
	}
	return c
}

func reason(m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == "reason" {
			return l.GetValue()
		}
	}
	return ""
}
