//go:build e2e

package search

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"mesoscope/agent/discover"
	"mesoscope/config"
	"mesoscope/deploy/kibana"
	"mesoscope/receipt"
	"mesoscope/shipper"
	testserver "mesoscope/test/elasticsearch"
	testkibana "mesoscope/test/kibana"
)

// The instances whose documents Kibana's searches are asked for.
var (
	web1  = instance("/shop/web", "1", "shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1")
	web2  = instance("/shop/web", "2", "shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.2")
	cart  = instance("/shop/cart", "7", "shop_cart.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1")
	plain = discover.Container{ID: strings.Repeat("f", 64), Name: "plain"} // of Docker alone
)

func instance(app, version, task string) discover.Container {
	return discover.Container{ID: fmt.Sprintf("%064x", task)[:64], Name: "mesos-" + task[len(task)-1:], Mesos: &discover.Mesos{TaskID: task},
		Marathon: &discover.App{ID: app, Version: version}}
}

// TestKibana asks a real server what each saved search asks, as Discover would:
// it finds what it is for and nothing else, in its order, with its filter off
// and on.
func TestKibana(t *testing.T) {
	es := testserver.Start(t, testserver.Options{})
	cfg := config.DefaultElasticsearch()
	cfg.Hosts = []string{es.URL}
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: cfg.Hosts})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shipper.Setup(t.Context(), client, cfg); err != nil {
		t.Fatal(err)
	}
	c := &cluster{Server: es, t: t, client: client}
	kibanaData(c)
	if _, err := kibana.Install(t.Context(), kibana.Server{URL: es.URL}, false); err == nil || !strings.Contains(err.Error(), "is Elasticsearch") {
		t.Errorf("import into Elasticsearch: %v", err)
	}

	// By the search's id: what it finds with its filter off, and on.
	want := map[string][2]string{
		"mesoscope-app":     {"all lines", "web 5 reduced, gap, web 4 fatal, web 3, web 2 error, web 1"},
		"mesoscope-errors":  {"cart error, web 4 fatal, web 2 error", "web 4 fatal, web 2 error"},
		"mesoscope-deploy":  {"web 1, web 2 error, web 3, web 4 fatal, gap, web 5 reduced, cart error, cart warn", "web 1, web 2 error, web 3, web 4 fatal, gap, web 5 reduced"},
		"mesoscope-task":    {"web 1, web 2 error, web 3, web 4 fatal, gap, web 5 reduced, cart error, cart warn", "web 1, web 2 error, gap"},
		"mesoscope-machine": {"all lines", "cart warn, cart error, web 5 reduced, web 4 fatal, web 3"},
		"mesoscope-refused": {"dropped, quarantined, dead, web 5 reduced", "dropped, dead, web 5 reduced"},
		"mesoscope-gaps":    {"unproven, gap", "gap"},
	}
	const allLines = "plain 2, plain 1, cart warn, cart error, web 5 reduced, gap, web 4 fatal, web 3, web 2 error, web 1"
	_, searches, err := testkibana.Read(kibana.File())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range searches {
		expect, known := want[s.ID]
		if !known {
			t.Errorf("%s is not tested", s.ID)
		}
		delete(want, s.ID)
		for i, on := range []bool{false, true} {
			found, groups := c.discover(s, on)
			if w := strings.Replace(expect[i], "all lines", allLines, 1); found != w {
				t.Errorf("%s, filter %v: found\n%s, want\n%s", s.ID, on, found, w)
			}
			if s.Breakdown != "" && groups == 0 {
				t.Errorf("%s: nothing to colour the chart with by %s", s.ID, s.Breakdown)
			}
		}
	}
	for id := range want {
		t.Errorf("the file has no %s", id)
	}
}

// discover asks as Kibana's page does, and returns the messages in order and
// into how many groups the chart is divided.
func (c *cluster) discover(s testkibana.Search, on bool) (found string, groups int) {
	c.t.Helper()
	q, err := Parse(s.Query)
	if err != nil {
		c.t.Fatalf("%s: %v", s.ID, err)
	}
	clauses := []any{dsl(q.root), clause{"range": clause{s.View.TimeField: clause{"gte": "2026-11-25T00:00:00.000Z", "lte": "2026-11-25T23:59:59.999Z", "format": "strict_date_optional_time"}}}}
	for _, f := range s.Filters {
		if !f.Disabled || on {
			clauses = append(clauses, f.Query)
		}
	}
	var sort []any
	for _, by := range s.Sort {
		sort = append(sort, clause{by[0]: clause{"order": by[1], "unmapped_type": "boolean"}})
	}
	body, err := json.Marshal(clause{"size": 500, "query": clause{"bool": clause{"filter": clauses}}, "sort": sort, "fields": s.Columns,
		"aggs": clause{"groups": clause{"terms": clause{"field": s.Breakdown}}}})
	if err != nil {
		c.t.Fatal(err)
	}
	var a struct {
		Shards struct{ Failed int } `json:"_shards"`
		Hits   struct {
			Hits []struct {
				Source struct{ Message string } `json:"_source"`
				Fields map[string]json.RawMessage
			}
		}
		Aggregations struct {
			Groups struct{ Buckets []json.RawMessage }
		}
	}
	if err := json.Unmarshal([]byte(c.do(http.MethodPost, "/"+s.View.Pattern+"/_search", string(body))), &a); err != nil {
		c.t.Fatal(err)
	}
	if a.Shards.Failed > 0 {
		c.t.Errorf("%s: %d shards failed", s.ID, a.Shards.Failed)
	}
	var messages []string
	shown := map[string]bool{}
	for _, h := range a.Hits.Hits {
		messages = append(messages, h.Source.Message)
		for name := range h.Fields {
			shown[name] = true
		}
	}
	for _, column := range s.Columns {
		if !on && !shown[column] {
			c.t.Errorf("%s: no line has a value in the column %s", s.ID, column)
		}
	}
	return strings.Join(messages, ", "), len(a.Aggregations.Groups.Buckets)
}

// kibanaData puts documents as agents write them, and some that must not be
// found by anything.
func kibanaData(c *cluster) {
	minute := 0
	put := func(index, of, own string) {
		c.t.Helper()
		c.do(http.MethodPost, "/"+index+"/_create/"+fmt.Sprint("doc-", minute), "{"+own+","+of+"}")
	}
	at := func() time.Time {
		minute++
		return time.Date(2026, 11, 25, 9, minute, 0, 123456789, time.UTC)
	}
	shared := func(k discover.Container, host, dataset, stream string) string {
		return string(discover.Fields(k, discover.Host{Name: host, Hostname: host}, dataset, "default", stream))
	}
	line := func(k discover.Container, host, message, level, rest string) {
		own := fmt.Sprintf(`"@timestamp":%q,"message":%q,"log":{"offset":%d`, at().Format(time.RFC3339Nano), message, minute*100)
		if level != "" {
			own += `,"level":"` + level + `"`
		}
		put("logs-mesos.container-default", shared(k, host, "mesos.container", "stdout"), own+"}"+rest)
	}
	book := func(k discover.Container, host, message string, r receipt.Receipt) {
		o := receipt.Origin{Container: k.ID, Path: "/x", Generation: "g", Stream: "stdout"}
		own, err := o.Append(nil, r, at())
		if err != nil {
			c.t.Fatal(err)
		}
		text := strings.Replace(string(own), `"message":"receipt`, `"message":"`+message+`","was":"receipt`, 1)
		put("logs-mesoscope.receipt-default", shared(k, host, receipt.Dataset, "stdout"), text)
	}
	line(web1, "node-1", "web 1", "info", "")
	line(web1, "node-1", "web 2 error", "error", "")
	line(web2, "node-2", "web 3", "info", "")
	line(web2, "node-2", "web 4 fatal", "fatal", "")
	gap, err := receipt.Origin{Container: web1.ID, Path: "/x", Generation: "g"}.AppendGap(nil, receipt.Gap{Reason: "removed", From: 5, Bytes: 100}, "mesos.container", at())
	if err != nil {
		c.t.Fatal(err)
	}
	text := string(gap)
	begin := strings.Index(text, `"message":"`) + len(`"message":"`)
	text = text[:begin] + `gap","was":"` + text[begin:]
	put("logs-mesos.container-default", shared(web1, "node-1", "mesos.container", ""), text)
	line(web2, "node-2", "web 5 reduced", "", `,"error":{"message":"refused by Elasticsearch, stored in a reduced form: odd"}`)
	line(cart, "node-2", "cart error", "error", "")
	line(cart, "node-2", "cart warn", "warn", "")
	line(plain, "node-1", "plain 1", "debug", "")
	line(plain, "node-1", "plain 2", "", "")

	book(web1, "node-1", "clean", receipt.Receipt{Revision: 1, Final: true, Lines: receipt.Lines{Total: 2, Delivered: 2}})
	book(web1, "node-1", "dead", receipt.Receipt{Revision: 2, Lines: receipt.Lines{Total: 3, Delivered: 1, DeadLettered: 2}})
	book(cart, "node-2", "quarantined", receipt.Receipt{Revision: 1, Final: true, Lines: receipt.Lines{Total: 3, Delivered: 2, Quarantined: 1}})
	book(web2, "node-2", "dropped", receipt.Receipt{Revision: 1, Final: true, Lines: receipt.Lines{Total: 9, DroppedByServer: 9}})
	book(cart, "node-2", "unproven", receipt.Receipt{Revision: 1, Final: true, Unproven: "files may have come and gone", Lines: receipt.Lines{Total: 1, Delivered: 1}})

	// Of somebody else, and of last week.
	put("logs-nginx.access-default", shared(web1, "node-2", "nginx.access", "stdout"), `"@timestamp":"2026-11-25T10:00:00Z","message":"not ours","log":{"level":"error"},"error":{"message":"x"}`)
	minute++
	put("logs-mesos.container-default", shared(web1, "node-2", "mesos.container", "stdout"), `"@timestamp":"2026-11-18T10:00:00Z","message":"last week","log":{"level":"error"},"error":{"message":"x"}`)
	for _, index := range []string{"logs-mesos.*", "logs-mesoscope.*", "logs-nginx.*"} {
		c.do(http.MethodPost, "/"+index+"/_refresh", "")
	}
}
