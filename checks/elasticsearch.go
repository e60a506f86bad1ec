package checks

import (
	"context"
	"slices"
)

var elasticsearchKind = Kind{
	Summary: "Elasticsearch: cluster health, shards, pending tasks, disks, heaps",
	Target:  "URL",
	Example: `check elasticsearch http://es1.example.net:9200 --nodes 3 --critical disk=95`,
	Options: slices.Concat([]Option{
		{Name: "nodes", Placeholder: "N", Help: "How many nodes there must be.", parse: parseCount},
	}, baseOptions),
	Metrics: []Limits{
		{Name: "nodes", Help: "nodes in the cluster"},
		{Name: "shards", Help: "active shards, percent"},
		{Name: "unassigned", Help: "shards without a node"},
		{Name: "pending", Help: "cluster tasks that wait", Warning: "100", Critical: "1000"},
		{Name: "disk", Help: "percent used of the fullest node", Warning: "80", Critical: "90"},
		{Name: "heap", Help: "percent used of the fullest heap", Warning: "90", Critical: "97"},
		{Name: "rejected", Help: "writes refused since the start, all nodes (counter)"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"yellow", Warning, "a replica has no node"},
		{"red", Critical, "a primary shard has no node"},
		{"missing_nodes", Critical, "fewer nodes than --nodes"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: baseURL("9200"),
	check:   checkElasticsearch,
}

// clusterHealth is what /_cluster/health answers.
type clusterHealth struct {
	Name       string  `json:"cluster_name"`
	Status     string  `json:"status"`
	Nodes      int     `json:"number_of_nodes"`
	Pending    int     `json:"number_of_pending_tasks"`
	Unassigned int     `json:"unassigned_shards"`
	Active     float64 `json:"active_shards_percent_as_number"`
}

// checkElasticsearch asks for the health and then the nodes' statistics, which
// not everybody may see. Conditions are about the health.
func checkElasticsearch(ctx context.Context, t Target) (r Result) {
	var health clusterHealth
	if !r.askJSON(ctx, t, "/_cluster/health", &health) {
		return r
	}
	if health.Status == "" || health.Name == "" {
		r.find(Critical, "protocol", "/_cluster/health: the answer is not that of Elasticsearch")
		return r
	}
	r.measure("nodes", float64(health.Nodes), "")
	r.measure("shards", health.Active, "%")
	r.measure("unassigned", float64(health.Unassigned), "")
	r.measure("pending", float64(health.Pending), "")
	r.say("%s is %s, %d nodes", health.Name, health.Status, health.Nodes)
	switch health.Status {
	case "green":
	case "yellow":
		r.find(Warning, "yellow", "%s is yellow: %d shards without a node", health.Name, health.Unassigned)
	default:
		r.find(Critical, "red", "%s is %s: %d shards without a node", health.Name, health.Status, health.Unassigned)
	}
	if want := value[int](t, "nodes"); health.Nodes < want {
		r.find(Critical, "missing_nodes", "%d nodes, wanted %d", health.Nodes, want)
	}
	r.judgeNodes(ctx, t)
	return r
}

// judgeNodes looks for the fullest disk and heap.
func (r *Result) judgeNodes(ctx context.Context, t Target) {
	var stats struct {
		Nodes map[string]struct {
			FS struct {
				Sum struct {
					Total     float64 `json:"total_in_bytes"`
					Available float64 `json:"available_in_bytes"`
				} `json:"total"`
			} `json:"fs"`
			JVM struct {
				Mem struct {
					Used *float64 `json:"heap_used_percent"`
				} `json:"mem"`
			} `json:"jvm"`
			Pools map[string]struct {
				Rejected float64 `json:"rejected"`
			} `json:"thread_pool"`
		} `json:"nodes"`
	}
	side := Result{}
	path := "/_nodes/stats/fs,jvm,thread_pool?filter_path=nodes.*.fs.total,nodes.*.jvm.mem.heap_used_percent,nodes.*.thread_pool.write.rejected,nodes.*.thread_pool.bulk.rejected"
	ok := side.askJSON(ctx, t, path, &stats)
	r.Findings = append(r.Findings, slices.DeleteFunc(side.Findings, func(f Finding) bool { return f.Signal == "status" || f.Signal == "credentials" })...)
	r.mergePhases(side.Phases)
	if !ok {
		return
	}
	disk, heap, rejected := -1.0, -1.0, 0.0
	for _, n := range stats.Nodes {
		if n.FS.Sum.Total > 0 {
			disk = max(disk, percent(n.FS.Sum.Total-n.FS.Sum.Available, n.FS.Sum.Total))
		}
		if n.JVM.Mem.Used != nil {
			heap = max(heap, *n.JVM.Mem.Used)
		}
		for _, pool := range n.Pools {
			rejected += pool.Rejected
		}
	}
	if disk >= 0 {
		r.measure("disk", disk, "%")
	}
	if heap >= 0 {
		r.measure("heap", heap, "%")
	}
	r.measure("rejected", rejected, "c")
}
