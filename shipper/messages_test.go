package shipper

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/test/fakees"
)

// A broken network: fault answers in the place of the server.
type brokenNet struct {
	next  http.RoundTripper
	fault func(*http.Request) error
}

func (n brokenNet) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := n.fault(req); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as the contract of a RoundTripper wants it
		}
		return nil, err
	}
	return n.next.RoundTrip(req)
}

// What goes wrong for a quarter of an hour is one clear message at once, few
// more while it goes on, and one word when it is over.
func TestMessages(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		name      string
		net       func(*http.Request) error
		bulk      fakees.Fault
		item      fakees.ItemFault
		wrongKey  bool
		said      string
		recovered string
		metric    func(m *metrics) prometheus.Counter
	}{
		{name: "all hosts down", net: func(*http.Request) error { return refused },
			said: "Elasticsearch cannot be reached", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("unreachable") }},
		{name: "slow host", bulk: fakees.Fault{Hang: true},
			said: "Elasticsearch does not answer within 1m30s", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("timeout") }},
		{name: "certificate", net: func(*http.Request) error {
			return &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
		}, said: "a certificate that is not trusted: set output.elasticsearch.ca_file", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("tls") }},
		{name: "no TLS", net: func(*http.Request) error {
			return tls.RecordHeaderError{Msg: "server gave HTTP response to HTTPS client"}
		},
			said: "check http or https", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("tls") }},
		{name: "cut", net: nil, bulk: fakees.Fault{Cut: true},
			said: "the connection to Elasticsearch was cut", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("cut") }},
		{name: "overloaded", bulk: fakees.Fault{Status: 429, Type: "es_rejected_execution_exception"},
			said: "Elasticsearch refuses whole bulks", recovered: "Elasticsearch answers again",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("overload") }},
		{name: "wrong credentials", wrongKey: true,
			said: "output paused: Elasticsearch does not know these credentials", recovered: "output goes on",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("denied") }},
		{name: "expired key", bulk: fakees.Fault{Status: 401, Type: "security_exception", Reason: "unable to authenticate: api key is expired"},
			said: "output paused: the API key or password has expired", recovered: "output goes on",
			metric: func(m *metrics) prometheus.Counter { return m.bulks.WithLabelValues("denied") }},
		{name: "privileges", item: fakees.ItemFault{Status: 403, Type: "security_exception", Reason: "action [indices:data/write/bulk[s]] is unauthorized"},
			said: "Grant the index privileges create_doc and auto_configure", recovered: "output goes on"},
		{name: "disk", item: fakees.FloodStage,
			said: "its disk is full; it goes on by itself", recovered: "output goes on"},
		{name: "not Elasticsearch", bulk: fakees.Fault{Status: 302},
			said: "is not Elasticsearch. Check output.elasticsearch.hosts", recovered: "output goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var bad atomic.Bool
				bad.Store(true)
				fake := &fakees.Server{
					OnBulk: func(*fakees.Bulk) fakees.Fault {
						if bad.Load() {
							return c.bulk
						}
						return fakees.Fault{}
					},
					OnItem: func(string, string, []byte) fakees.ItemFault {
						if bad.Load() {
							return c.item
						}
						return fakees.ItemFault{}
					},
					Authorized: func(string) bool { return !c.wrongKey || !bad.Load() },
				}
				broken := brokenNet{fake.Transport(), func(r *http.Request) error {
					if bad.Load() && c.net != nil {
						return c.net(r)
					}
					return nil
				}}
				r := newRig(t, fake, nil, WithTransport(broken))
				begin := time.Now()
				for i := 0; time.Since(begin) < 15*time.Minute; i++ {
					if r.sink.Takes(testIndex) {
						select {
						case r.in <- batchOf(testStream(testIndex), r.settle, "", string(rune('A'+i%26))+string(rune('A'+i/26%26))+string(rune('A'+i/676))):
						case <-time.After(time.Second):
						}
					}
					time.Sleep(time.Second)
					if i == 30 && !c.bulk.Hang || i == 95 && c.bulk.Hang {
						r.wantSaid(1, c.said)
					}
				}
				text := r.logs.String()
				if n := strings.Count(text, "level=WARN") + strings.Count(text, "level=ERROR"); n > 6 || n < 1 || strings.Count(text, c.said) != n {
					t.Errorf("%d messages in a quarter of an hour, want few and all of one kind\n%s", n, text)
				}
				if strings.Contains(text, c.recovered) {
					t.Errorf("said to be over too early\n%s", text)
				}
				if c.metric != nil {
					reg := prometheus.NewRegistry()
					reg.MustRegister(c.metric(r.sink.metrics))
					if f, err := reg.Gather(); err != nil || f[0].GetMetric()[0].GetCounter().GetValue() == 0 {
						t.Errorf("not counted: %v %v", f, err)
					}
				}
				if p := r.sink.Status().Problems; len(p) == 0 || !strings.Contains(p[0].Message, c.said) {
					t.Errorf("status knows %+v", p)
				}
				bad.Store(false)
				time.Sleep(10 * time.Minute)
				r.wantSaid(1, c.recovered)
				r.drain()
			})
		})
	}
}

// The words for errors as the network really gives them.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		ans  answer
		want string
	}{
		{answer{err: &net.OpError{Op: "dial", Err: errors.New("no route")}}, "unreachable"},
		{answer{err: context.DeadlineExceeded}, "timeout"},
		{answer{err: io.ErrUnexpectedEOF}, "cut"},
		{answer{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, "cut"},
		{answer{err: errCut, status: 200}, "unreadable"},
	} {
		if got, text := silence(&c.ans, time.Second); got != c.want || text == "" {
			t.Errorf("%v: %s %q, want %s", c.ans.err, got, text, c.want)
		}
	}
}

// Of several hosts one is down for a while.
func TestHostsThatAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{}
		r := newRig(t, fake, nil)
		var down atomic.Bool
		h := &hosts{all: 2, problems: r.sink.problems, metrics: r.sink.metrics, down: map[string]time.Time{}}
		h.next = brokenNet{fake.Transport(), func(req *http.Request) error {
			if down.Load() && req.URL.Host == "10.0.0.1:9200" {
				return syscall.ECONNREFUSED
			}
			return nil
		}}
		ask := func() {
			for _, host := range []string{"10.0.0.1:9200", "10.0.0.2:9200"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := h.RoundTrip(req); err == nil {
					_ = res.Body.Close()
				}
			}
		}
		ask()
		down.Store(true)
		for range 30 {
			ask()
			time.Sleep(time.Second)
		}
		r.wantCount("hosts down", r.sink.metrics.hostsDown, 1)
		r.wantSaid(1, "a host of Elasticsearch does not answer; the others take over")
		if !h.someAnswer() {
			t.Error("nobody answers?")
		}
		down.Store(false)
		ask()
		r.wantSaid(1, "a host of Elasticsearch answers again")
		r.wantCount("hosts down", r.sink.metrics.hostsDown, 0)
		r.drain()
	})
}
