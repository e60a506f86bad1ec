package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

var cassandraKind = Kind{
	Summary: "Cassandra: answers CQL, its nodes agree on the schema, reads reach a quorum, work does not pile up",
	Target:  "HOST[:9042]",
	Example: `check cassandra cas1.example.net --username monitor --password-file /etc/mesoscope/cassandra --nodes 6 --quorum-read shop.health`,
	Options: slices.Concat([]Option{
		{Name: "nodes", Placeholder: "N", Help: "How many nodes the cluster must have.", parse: parseCount},
		{Name: "quorum-read", Placeholder: "KEYSPACE.TABLE", Help: "Read one row of it at LOCAL_QUORUM.", parse: parse(parseCQLTable)},
		{Name: "jolokia", Placeholder: "PORT", Help: "Where Jolokia answers on the same host: it knows which nodes are down, what waits and what was dropped.", parse: parse(parsePort)},
		{Name: "tls", Help: "Speak TLS."},
	}, tlsOptions, credentials),
	Metrics: []Limits{
		{Name: "nodes", Help: "nodes that belong to the cluster, up or down"},
		{Name: "down", Help: "--jolokia: nodes that this one takes for down", Warning: "0", Critical: "1"},
		{Name: "compactions", Help: "compactions that wait (Cassandra 4, or --jolokia)", Warning: "100", Critical: "1000"},
		{Name: "mutations", Help: "writes that wait (Cassandra 4)", Warning: "1000"},
		{Name: "dropped", Help: "--jolokia: writes given up since the start (counter)"},
		certificateLimits,
	},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"credentials", Critical, "name or password are refused, or may not read"},
		{"error", Critical, "the node answers with an error"},
		{"starting", Warning, "the node is still joining the cluster"},
		{"overloaded", Critical, "the node has too much to do"},
		{"schema", Warning, "the nodes do not agree on the schema, which is normal for some seconds after a change"},
		{"missing_nodes", Critical, "fewer nodes than --nodes"},
		{"quorum", Critical, "--quorum-read: too few replicas answer"},
		{"jolokia", Unknown, "--jolokia does not answer, or not as Jolokia"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(9042),
	check:   checkCassandra,
}

func checkCassandra(ctx context.Context, t Target) (r Result) {
	n, err := r.openCQL(ctx, t)
	if err != nil {
		r.failedCQL(t, err, "waiting for the options that it knows")
		return r
	}
	defer n.Close()
	err = n.start(value[string](t, "username"), value[string](t, "password-file"))
	if errors.Is(err, errLocked) {
		r.say("alive, password needed, signals not read")
	} else if err == nil {
		err = r.askCassandra(t, n)
	}
	if err != nil && !errors.Is(err, errLocked) {
		r.failedCQL(t, err, "waiting for an answer")
	}
	if port := value[string](t, "jolokia"); port != "" {
		host, _, _ := net.SplitHostPort(t.Address)
		r.askJolokia(ctx, t, "http://"+net.JoinHostPort(host, port))
	}
	return r
}

func (r *Result) askCassandra(t Target, n *cqlNode) error {
	local, err := n.query("SELECT release_version, schema_version, cluster_name FROM system.local", cqlLocalOne)
	if err != nil {
		return err
	}
	if len(local) != 1 {
		return wrongProtocol("system.local has %d rows", len(local))
	}
	peers, err := n.query("SELECT peer, schema_version FROM system.peers", cqlLocalOne)
	if err != nil {
		return err
	}
	version := local[0]["release_version"]
	r.measure("nodes", float64(len(peers)+1), "")
	r.say("Cassandra %s, cluster %s of %d nodes", version, local[0]["cluster_name"], len(peers)+1)
	var other []string
	for _, p := range peers {
		if s := p["schema_version"]; s != "" && s != local[0]["schema_version"] {
			other = append(other, net.IP(p["peer"]).String())
		}
	}
	if len(other) > 0 {
		r.find(Warning, "schema", "%d nodes have another schema than this one: %s", len(other), firstOf(other))
	}
	if want := value[int](t, "nodes"); len(peers)+1 < want {
		r.find(Critical, "missing_nodes", "%d nodes, wanted %d", len(peers)+1, want)
	}
	if versionNumber(version) >= 4 {
		if err := r.judgePools(n); err != nil {
			return err
		}
	}
	if table := value[string](t, "quorum-read"); table != "" {
		_, err := n.query("SELECT * FROM "+table+" LIMIT 1", cqlLocalQuorum)
		var refused cqlRefusal
		if errors.As(err, &refused) && (refused.code == cqlUnavailable || refused.code == cqlReadTimeout || refused.code == cqlReadFailure) {
			r.find(Critical, "quorum", "%s cannot be read at LOCAL_QUORUM: %v", table, refused)
			return nil
		}
		return err
	}
	return nil
}

// judgePools reads what waits. Not everybody may.
func (r *Result) judgePools(n *cqlNode) error {
	pools, err := n.query("SELECT name, pending_tasks FROM system_views.thread_pools", cqlLocalOne)
	var refused cqlRefusal
	if errors.As(err, &refused) {
		return nil
	}
	for _, p := range pools {
		switch waiting := cqlNumber(p["pending_tasks"]); {
		case waiting != waiting: // not a number
		case p["name"] == "CompactionExecutor":
			r.measure("compactions", waiting, "")
		case p["name"] == "MutationStage":
			r.measure("mutations", waiting, "")
		}
	}
	return err
}

// askJolokia asks for what CQL does not tell. Its errors are findings of their
// own: they say nothing about Cassandra.
func (r *Result) askJolokia(ctx context.Context, t Target, base string) {
	side := Result{}
	at := Target{Kind: t.Kind, Address: base, Timeout: t.Timeout} // without the login, which is for Cassandra
	ask := func(bean string, into any) bool {
		answer := struct {
			Value  any
			Status int
		}{Value: into}
		ok := side.askJSON(ctx, at, "/jolokia/read/"+bean, &answer)
		return ok && answer.Status == 200
	}
	states := map[string]string{}
	ok := ask("org.apache.cassandra.net:type=FailureDetector/SimpleStates", &states)
	r.mergePhases(side.Phases)
	if !ok || len(states) == 0 {
		text := "it knows no states of nodes"
		if len(side.Findings) > 0 {
			text = side.Findings[0].Text
		} else if side.Text != "" {
			text = side.Text
		}
		r.find(Unknown, "jolokia", "Jolokia at %s: %s", base, text)
		return
	}
	var down []string
	for node, state := range states {
		if state != "UP" {
			down = append(down, strings.TrimPrefix(node, "/"))
		}
	}
	slices.Sort(down)
	r.measure("down", float64(len(down)), "").about = fmt.Sprintf("%d nodes are down: %s", len(down), firstOf(down))
	n := 0.0
	if !slices.ContainsFunc(r.Metrics, func(m Metric) bool { return m.Name == "compactions" }) && ask("org.apache.cassandra.metrics:type=Compaction,name=PendingTasks/Value", &n) {
		r.measure("compactions", n, "")
	}
	if ask("org.apache.cassandra.metrics:type=DroppedMessage,scope=MUTATION,name=Dropped/Count", &n) {
		r.measure("dropped", n, "c")
	}
}

// failedCQL turns an error into a finding.
func (r *Result) failedCQL(t Target, err error, doing string) {
	var said cqlRefusal
	switch {
	case errors.Is(err, errFound):
	case !errors.As(err, &said):
		r.failed(t, err, doing)
	case said.code == cqlBadCredentials || said.code == cqlUnauthorized:
		r.find(Critical, "credentials", "name or password refused: %v", said)
	case said.code == cqlOverloaded:
		r.find(Critical, "overloaded", "%v", said)
	case said.code == cqlBootstrapping:
		r.find(Warning, "starting", "%v", said)
	default:
		r.find(Critical, "error", "error %#04x: %v", said.code, said)
	}
}

func parseCQLTable(s string) (string, error) {
	keyspace, table, ok := strings.Cut(s, ".")
	if !ok || !databaseName.MatchString(keyspace) || !databaseName.MatchString(table) || strings.ContainsAny(s, "$-") || strings.Contains(table, ".") {
		return "", fmt.Errorf("%q is not KEYSPACE.TABLE", s)
	}
	return keyspace + "." + table, nil
}

func parsePort(s string) (string, error) {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q is no port", s)
	}
	return s, nil
}
