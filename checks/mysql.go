package checks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

var mysqlKind = Kind{
	Summary: "MySQL, MariaDB, Galera: login, SELECT 1, connections, replication, cluster",
	Target:  "HOST[:3306][/DATABASE]",
	Example: `check mysql db1.example.net/shop --username monitor --password-file /etc/mesoscope/mysql --role replica --critical lag=600`,
	Options: slices.Concat([]Option{
		{Name: "role", Placeholder: "ROLE", Help: "What it must be: master (writable) or replica.", parse: oneOf("master", "replica")},
		{Name: "heartbeat", Placeholder: "TABLE", Help: "Where pt-heartbeat --utc writes: the lag is the age of what it wrote last, not what the replica believes.", parse: parse(parseTable)},
	}, sqlOptions),
	Metrics: []Limits{
		{Name: "connections", Help: "percent of max_connections", Warning: "80", Critical: "95"},
		{Name: "clients", Help: "open connections"},
		{Name: "running", Help: "threads that do something"},
		{Name: "queries", Help: "statements since the start (counter)"},
		{Name: "slow", Help: "slow queries since the start (counter)"},
		{Name: "uptime", Help: "seconds"},
		{Name: "lag", Help: "of a replica: seconds behind; of several channels the slowest", Warning: "30", Critical: "300"},
		{Name: "nodes", Help: "of Galera: nodes in the cluster"},
		certificateLimits,
	},
	Signals: slices.Concat(sqlSignals, []Signal{
		{"blocked", Critical, "the server lets this host in no more, after too many broken connections"},
		{"role", Critical, "--role: it is none: a master that is a replica, a replica that replicates nothing"},
		{"read_only", Critical, "--role master: it is read-only (WARNING without --role, if it is no replica)"},
		{"replication", Critical, "of a replica: a thread stands still, or how far it is behind is not known"},
		{"heartbeat", Critical, "--heartbeat: the table cannot be read, or nothing is in it"},
		{"cluster", Critical, "of Galera: this node is not in the primary part of the cluster"},
		{"not_ready", Critical, "of Galera: this node takes no statements"},
	}),
	Facts:   sqlFacts,
	address: hostPortDatabase(3306),
	check:   checkMySQL,
}

// checkMySQL logs in, which is the least that a server counts as a good
// connection: after too many others it would lock this host out.
func checkMySQL(ctx context.Context, t Target) (r Result) {
	address, host, database := t.database()
	s, err := connect(ctx, &r, "tcp", address, maxSQL)
	if err != nil {
		r.failed(t, err, "connecting")
		return r
	}
	defer s.Close()
	began := time.Now()
	if err := s.peekMySQL(); err != nil {
		r.failed(t, err, "waiting for the greeting")
		return r
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", address, database
	config.User, config.Passwd = value[string](t, "username"), value[string](t, "password-file")
	config.Logger = &mysql.NopLogger{} // what went wrong is in the result
	config.CheckConnLiveness = false   // it is asked at once
	if value[bool](t, "tls") {
		config.TLS = r.tlsConfig(t, host)
		config.AllowCleartextPasswords = !value[bool](t, "insecure")
	}
	conn := &watched{session: s}
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	connector, err := mysql.NewConnector(config)
	if err != nil {
		r.find(Unknown, "options", "%v", err)
		return r
	}
	client, err := connector.Connect(ctx)
	r.phase("login", began)
	if err != nil {
		r.failedMySQL(ctx, t, conn, err, "logging in")
		return r
	}
	defer client.Close()
	began = time.Now()
	defer func() { r.phase("wait", began) }()
	q := mysqlSession{ctx, client.(driver.QueryerContext)}
	if err := r.askMySQL(t, q); err != nil {
		r.failedMySQL(ctx, t, conn, err, "waiting for an answer")
	}
	return r
}

// peekMySQL makes sure that the server's first packet is a greeting or an
// error. The driver would wait for all that a wrong length announces.
func (s *session) peekMySQL() error {
	first, err := s.in.Peek(5)
	if err != nil {
		if len(first) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	length := int(first[0]) | int(first[1])<<8 | int(first[2])<<16
	if length > 4096 || first[3] != 0 || first[4] != 10 && first[4] != 0xff {
		return wrongProtocol("the answer is no MySQL protocol: it begins with %q", first)
	}
	return nil
}

// A mysqlSession asks statements that answer with rows of text.
type mysqlSession struct {
	ctx context.Context
	driver.QueryerContext
}

func (q mysqlSession) rows(statement string) ([]row, error) {
	answer, err := q.QueryContext(q.ctx, statement, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	names := answer.Columns()
	var out []row
	for {
		values := make([]driver.Value, len(names))
		if err := answer.Next(values); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		w := row{}
		for i, v := range values {
			switch v := v.(type) {
			case nil:
			case []byte:
				w[names[i]] = string(v)
			default:
				w[names[i]] = fmt.Sprint(v)
			}
		}
		out = append(out, w)
	}
}

// pairs is the answer of SHOW STATUS or SHOW VARIABLES.
func (q mysqlSession) pairs(what string, names ...string) (row, error) {
	rows, err := q.rows("SHOW GLOBAL " + what + " WHERE Variable_name IN ('" + strings.Join(names, "','") + "')")
	out := row{}
	for _, w := range rows {
		out[strings.ToLower(w["Variable_name"])] = w["Value"]
	}
	return out, err
}

func (r *Result) askMySQL(t Target, q mysqlSession) error {
	one, err := q.rows("SELECT 1, VERSION()")
	if err != nil {
		return err
	}
	if len(one) != 1 || one[0]["1"] != "1" {
		return wrongProtocol("SELECT 1 is answered by %s", clip(fmt.Sprint(one)))
	}
	status, err := q.pairs("STATUS", "Threads_connected", "Threads_running", "Questions", "Slow_queries", "Uptime",
		"wsrep_cluster_status", "wsrep_ready", "wsrep_cluster_size", "wsrep_local_state_comment")
	if err != nil {
		return err
	}
	variables, err := q.pairs("VARIABLES", "max_connections", "read_only", "wsrep_on")
	if err != nil {
		return err
	}
	version := one[0]["VERSION()"]
	r.judgeMySQL(version, status, variables)
	channels, err := q.channels(version)
	if known, err := r.judgeReplication(t, channels, err); err != nil {
		return err
	} else if known {
		r.judgeRole(t, len(channels) > 0, variables["read_only"] == "ON")
	}
	if table := value[string](t, "heartbeat"); table != "" {
		return r.judgeHeartbeat(q, table)
	}
	return nil
}

func (r *Result) judgeMySQL(version string, status, variables row) {
	number, _, _ := strings.Cut(version, "-")
	name := "MySQL"
	if strings.Contains(version, "MariaDB") {
		name = "MariaDB"
	}
	r.say("%s %s, up %s", name, number, uptime(status["uptime"]))
	clients, ok := status.number("threads_connected")
	if most, known := variables.number("max_connections"); ok && known && most > 0 {
		r.measure("connections", percent(clients, most), "%").about = fmt.Sprintf("%d of %d connections are taken", int(clients), int(most))
	}
	for _, m := range [][3]string{{"clients", "threads_connected", ""}, {"running", "threads_running", ""}, {"queries", "questions", "c"}, {"slow", "slow_queries", "c"}, {"uptime", "uptime", "s"}} {
		if f, ok := status.number(m[1]); ok {
			r.measure(m[0], f, m[2])
		}
	}
	size, ok := status.number("wsrep_cluster_size")
	if variables["wsrep_on"] == "OFF" || !ok || status["wsrep_cluster_status"] == "" {
		return
	}
	r.measure("nodes", size, "")
	r.Text += fmt.Sprintf(", Galera %s of %d nodes", strings.ToLower(status["wsrep_local_state_comment"]), int(size))
	if status["wsrep_cluster_status"] != "Primary" {
		r.find(Critical, "cluster", "the node is not in the primary part of the cluster but %s", clip(status["wsrep_cluster_status"]))
	}
	if status["wsrep_ready"] == "OFF" {
		r.find(Critical, "not_ready", "the node takes no statements, it is %s", clip(status["wsrep_local_state_comment"]))
	}
}

// channels are what this server replicates. MariaDB and old and new servers of
// MySQL want to be asked differently.
func (q mysqlSession) channels(version string) ([]row, error) {
	switch {
	case strings.Contains(version, "MariaDB"):
		return q.rows("SHOW ALL SLAVES STATUS")
	case versionNumber(version) >= 8.0022:
		return q.rows("SHOW REPLICA STATUS")
	}
	return q.rows("SHOW SLAVE STATUS")
}

// judgeReplication says whether replication is known: not everybody may ask.
func (r *Result) judgeReplication(t Target, channels []row, err error) (known bool, _ error) {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		r.Text += ", replication not read: " + clip(said.Message)
		if value[string](t, "role") != "" {
			r.find(Unknown, "role", "--role cannot be judged: %s", clip(said.Message))
		}
		return false, nil
	}
	slowest := -1.0
	for _, c := range channels {
		from := net.JoinHostPort(c.first("Source_Host", "Master_Host"), c.first("Source_Port", "Master_Port"))
		if name := c.first("Channel_Name", "Connection_name"); name != "" {
			from += " (" + name + ")"
		}
		reading, applying := c.first("Replica_IO_Running", "Slave_IO_Running"), c.first("Replica_SQL_Running", "Slave_SQL_Running")
		lag, ok := c.number("Seconds_Behind_Source", "Seconds_Behind_Master")
		switch {
		case reading != "Yes":
			r.find(Critical, "replication", "replica of %s, does not read from it (%s): %s", from, reading, because(c["Last_IO_Error"]))
		case applying != "Yes":
			r.find(Critical, "replication", "replica of %s, does not apply what it reads (%s): %s", from, applying, because(c["Last_SQL_Error"]))
		case !ok:
			r.find(Critical, "replication", "replica of %s, does not know how far it is behind", from)
		default:
			r.Text += ", replica of " + from
		}
		if ok {
			slowest = max(slowest, lag)
		}
	}
	if slowest >= 0 {
		r.measure("lag", slowest, "s").about = fmt.Sprintf("%s behind the master", ago(time.Duration(slowest)*time.Second))
	}
	return true, err
}

func because(text string) string {
	if text == "" {
		return "no error is noted"
	}
	return clip(text)
}

func (r *Result) judgeRole(t Target, replica, readOnly bool) {
	switch role := value[string](t, "role"); {
	case role == "replica" && !replica:
		r.find(Critical, "role", "it replicates nothing, wanted a replica")
	case role == "master" && replica:
		r.find(Critical, "role", "it is a replica, wanted a master")
	case role == "master" && readOnly:
		r.find(Critical, "read_only", "the master is read-only")
	case role == "" && readOnly && !replica:
		r.find(Warning, "read_only", "it is read-only and no replica")
	}
}

// judgeHeartbeat replaces the lag that the replica believes by the true one.
func (r *Result) judgeHeartbeat(q mysqlSession, table string) error {
	rows, err := q.rows("SELECT TIMESTAMPDIFF(MICROSECOND, MAX(ts), UTC_TIMESTAMP(6)) AS age FROM " + table)
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		r.find(Critical, "heartbeat", "%s", clip(said.Message))
		return nil
	}
	if err != nil {
		return err
	}
	age, ok := 0.0, false
	if len(rows) == 1 {
		age, ok = rows[0].number("age")
	}
	if !ok {
		r.find(Critical, "heartbeat", "there is no time in %s", table)
		return nil
	}
	r.Metrics = slices.DeleteFunc(r.Metrics, func(m Metric) bool { return m.Name == "lag" })
	seconds := max(0, age/1e6)
	r.measure("lag", seconds, "s").about = fmt.Sprintf("the last heartbeat is %s old", ago(time.Duration(seconds*float64(time.Second))))
	return nil
}

// failedMySQL turns an error of the driver into a finding.
func (r *Result) failedMySQL(ctx context.Context, t Target, conn *watched, err error, doing string) {
	var said *mysql.MySQLError
	var wrong protocolError
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		r.find(Critical, "certificate", "the server has no TLS")
		return
	case errors.As(err, &wrong):
		r.failed(t, err, doing)
		return
	case !errors.As(err, &said):
		r.failed(t, conn.cause(ctx, "MySQL protocol", err), doing)
		return
	}
	switch said.Number {
	case 1045, 1698, 1862, 1251: // denied, denied by a plugin, expired, old client
		r.locked(t, said.Message)
	case 1130: // no such host in the table of users
		r.locked(t, said.Message)
	case 1044, 1049: // not allowed, not there
		r.find(Critical, "database", "%s", clip(said.Message))
	case 1040, 1203, 1226: // of the server, of the user
		r.find(Critical, "full", "%s", clip(said.Message))
	case 1129:
		r.find(Critical, "blocked", "%s", clip(said.Message))
	default:
		r.find(Critical, "error", "error %d: %s", said.Number, clip(said.Message))
	}
}

// parseTable reads DATABASE.TABLE and quotes it.
func parseTable(s string) (string, error) {
	database, table, ok := strings.Cut(s, ".")
	if !ok || !databaseName.MatchString(database) || !databaseName.MatchString(table) || strings.Contains(table, ".") {
		return "", fmt.Errorf("%q is not DATABASE.TABLE", s)
	}
	return "`" + database + "`.`" + table + "`", nil
}
