package checks

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var postgresKind = Kind{
	Summary: "PostgreSQL: login, SELECT, connections, replication, transactions that stay open, wraparound",
	Target:  "HOST[:5432][/DATABASE]",
	Example: `check postgres db1.example.net/shop --username monitor --password-file /etc/mesoscope/postgres --role primary --standbys 1`,
	Options: slices.Concat([]Option{
		{Name: "role", Placeholder: "ROLE", Help: "What it must be: primary or standby.", parse: oneOf("primary", "standby")},
		{Name: "standbys", Placeholder: "N", Help: "How many standbys a primary must have.", parse: parseCount},
		{Name: "archive", Help: "The standby reads an archive: it needs no connection to its primary."},
	}, sqlOptions),
	Metrics: []Limits{
		{Name: "connections", Help: "percent of what max_connections leaves to everybody", Warning: "80", Critical: "95"},
		{Name: "clients", Help: "open connections"},
		{Name: "transactions", Help: "since the statistics were reset (counter)"},
		{Name: "deadlocks", Help: "since the statistics were reset (counter)"},
		{Name: "uptime", Help: "seconds"},
		{Name: "idle", Help: "seconds since the oldest transaction began in which nothing happens", Warning: "600", Critical: "3600"},
		{Name: "wraparound", Help: "percent of the transaction numbers that are used before the server must stop", Warning: "50", Critical: "75"},
		{Name: "lag", Help: "of a standby: seconds behind", Warning: "30", Critical: "300"},
		{Name: "standbys", Help: "of a primary: connected standbys"},
		{Name: "behind", Help: "of a primary: bytes that the slowest standby lacks; of a standby: bytes received and not applied"},
		certificateLimits,
	},
	Signals: slices.Concat(sqlSignals, []Signal{
		{"starting", Warning, "it starts, recovers or stops and takes no connections"},
		{"role", Critical, "--role: it is none"},
		{"receiver", Critical, "a standby is without a connection to its primary, and there is no --archive"},
		{"paused", Warning, "a standby does not apply what it receives, because somebody has paused it"},
		{"standbys", Critical, "a primary has fewer standbys than --standbys"},
	}),
	Facts:   sqlFacts,
	address: hostPortDatabase(5432),
	check:   checkPostgres,
}

// checkPostgres logs in and asks what everybody may ask. Without --username it
// tries postgres, and without a database that of this name.
func checkPostgres(ctx context.Context, t Target) (r Result) {
	address, host, database := t.database()
	s, err := connect(ctx, &r, "tcp", address, maxSQL)
	if err != nil {
		r.failed(t, err, "connecting")
		return r
	}
	defer s.Close()
	// The library insists on reading a text; what the environment and files in
	// the home folder say is overwritten.
	config, err := pgconn.ParseConfig("host=localhost port=5432 user=postgres password=- dbname=postgres sslmode=disable connect_timeout=0 target_session_attrs=any sslrootcert='' sslcert='' sslkey='' passfile='' sslnegotiation=postgres")
	if err != nil {
		r.find(Unknown, "options", "the environment has PG variables that are wrong: %v", err)
		return r
	}
	conn := &watched{session: s}
	dialed := false
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if dialed {
			return nil, errors.New("one connection is enough") // it would cancel what we gave up
		}
		dialed = true
		return conn, nil
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil } // never dialed
	config.Host, config.Fallbacks, config.ValidateConnect, config.AfterConnect = "localhost", nil, nil, nil
	config.Database, config.User, config.Password = "postgres", "postgres", value[string](t, "password-file")
	config.RuntimeParams = map[string]string{"application_name": "mesoscope", "client_encoding": "UTF8"}
	config.MaxProtocolMessageBodyLen = 64 << 10
	if database != "" {
		config.Database = database
	}
	if name := value[string](t, "username"); name != "" {
		config.User = name
	}
	if value[bool](t, "tls") {
		config.TLSConfig = r.tlsConfig(t, host)
	}
	began := time.Now()
	client, err := pgconn.ConnectConfig(ctx, config)
	r.phase("login", began)
	if err != nil {
		r.failedPostgres(ctx, t, conn, err, "logging in")
		return r
	}
	defer client.Close(ctx)
	began = time.Now()
	defer func() { r.phase("wait", began) }()
	if err := r.askPostgres(ctx, t, client); err != nil {
		r.failedPostgres(ctx, t, conn, err, "waiting for an answer")
	}
	return r
}

// The questions. Old servers call a log "xlog" and a place in it "location".
const (
	askServer = `SELECT pg_is_in_recovery() AS standby, extract(epoch from now() - pg_postmaster_start_time()) AS uptime,
	current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
	(SELECT sum(numbackends) FROM pg_stat_database) AS clients,
	(SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database) AS transactions,
	(SELECT sum(deadlocks) FROM pg_stat_database) AS deadlocks,
	(SELECT max(age(datfrozenxid)) FROM pg_database) AS age,
	(SELECT extract(epoch from max(now() - xact_start)) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%') AS idle`
	askStandby = `SELECT (SELECT count(*) FROM pg_stat_wal_receiver) AS receivers,
	extract(epoch from now() - pg_last_xact_replay_timestamp()) AS replayed,
	pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS behind, pg_is_wal_replay_paused() AS paused`
	askPrimary = `SELECT count(*) AS standbys, max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)) AS behind
	FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming'`
)

// postgresQuestion is a question as a server of that version understands it.
func postgresQuestion(sql string, version float64) string {
	if version < 10 {
		sql = strings.NewReplacer("pg_wal_lsn_diff", "pg_xlog_location_diff", "pg_last_wal_receive_lsn", "pg_last_xlog_receive_location", "pg_last_wal_replay_lsn", "pg_last_xlog_replay_location",
			"pg_is_wal_replay_paused", "pg_is_xlog_replay_paused", "pg_current_wal_lsn", "pg_current_xlog_location", "replay_lsn", "replay_location").Replace(sql)
	}
	if version < 9.06 {
		sql = strings.Replace(sql, "(SELECT count(*) FROM pg_stat_wal_receiver)", "NULL", 1)
	}
	return sql
}

func (r *Result) askPostgres(ctx context.Context, t Target, client *pgconn.PgConn) error {
	version := client.ParameterStatus("server_version")
	ask := func(sql string) (row, error) {
		results, err := client.Exec(ctx, postgresQuestion(sql, versionNumber(version))).ReadAll()
		if err != nil {
			return nil, err
		}
		if len(results) != 1 || len(results[0].Rows) != 1 {
			return nil, wrongProtocol("a question for one row is answered by %d results", len(results))
		}
		out := row{}
		for i, f := range results[0].FieldDescriptions {
			if v := results[0].Rows[0][i]; v != nil {
				out[f.Name] = string(v)
			}
		}
		return out, nil
	}
	server, err := ask(askServer)
	if err != nil {
		return err
	}
	number, _, _ := strings.Cut(version, " ")
	r.judgePostgres(number, server)
	role, standby := value[string](t, "role"), server["standby"] == "t"
	if standby {
		if role == "primary" {
			r.find(Critical, "role", "it is a standby, wanted a primary")
		}
		answer, err := ask(askStandby)
		if err == nil {
			r.judgeStandby(t, answer)
		}
		return err
	}
	if role == "standby" {
		r.find(Critical, "role", "it is a primary, wanted a standby")
	}
	answer, err := ask(askPrimary)
	if err == nil {
		r.judgePrimary(t, answer)
	}
	return err
}

func (r *Result) judgePostgres(version string, server row) {
	word := "primary"
	if server["standby"] == "t" {
		word = "standby"
	}
	up, _ := server.number("uptime")
	r.say("PostgreSQL %s, %s, up %s", version, word, ago(time.Duration(up)*time.Second))
	clients, ok := server.number("clients")
	if most, known := server.number("most"); ok && known && most > 0 {
		r.measure("connections", percent(clients, most), "%").about = fmt.Sprintf("%d of %d connections are taken", int(clients), int(most))
	}
	for _, m := range [][2]string{{"clients", ""}, {"transactions", "c"}, {"deadlocks", "c"}, {"uptime", "s"}} {
		if f, ok := server.number(m[0]); ok {
			r.measure(m[0], math.Round(f), m[1])
		}
	}
	if idle, ok := server.number("idle"); ok {
		idle = math.Round(max(0, idle))
		r.measure("idle", idle, "s").about = fmt.Sprintf("a transaction is open for %s and does nothing", ago(time.Duration(idle)*time.Second))
	}
	if age, ok := server.number("age"); ok {
		r.measure("wraparound", percent(age, 1<<31), "%").about = "transaction numbers run out: vacuum is needed"
	}
}

// judgeStandby: one that has applied all that it received is not behind, if it
// is still connected; else its last transaction tells how old it is.
func (r *Result) judgeStandby(t Target, answer row) {
	receivers, known := answer.number("receivers")
	connected := !known || receivers > 0
	if !connected && !value[bool](t, "archive") {
		r.find(Critical, "receiver", "standby without a connection to its primary")
	}
	if answer["paused"] == "t" {
		r.find(Warning, "paused", "somebody has paused the standby: it applies nothing")
	}
	behind, ok := answer.number("behind")
	if ok {
		r.measure("behind", max(0, behind), "B")
	}
	lag, has := answer.number("replayed")
	if connected && ok && behind <= 0 {
		lag, has = 0, true
	}
	if has {
		lag = math.Round(max(0, lag)*1000) / 1000
		r.measure("lag", lag, "s").about = fmt.Sprintf("%s behind the primary", ago(time.Duration(lag*float64(time.Second))))
	}
}

func (r *Result) judgePrimary(t Target, answer row) {
	have, _ := answer.number("standbys")
	r.measure("standbys", have, "")
	if behind, ok := answer.number("behind"); ok {
		r.measure("behind", max(0, behind), "B")
	}
	if have > 0 {
		r.Text += fmt.Sprintf(", %d standbys", int(have))
	}
	if want := value[int](t, "standbys"); have < float64(want) {
		r.find(Critical, "standbys", "%d standbys, wanted %d", int(have), want)
	}
}

// failedPostgres turns an error of the library into a finding.
func (r *Result) failedPostgres(ctx context.Context, t Target, conn *watched, err error, doing string) {
	var said *pgconn.PgError
	var wrong protocolError
	switch {
	case errors.As(err, &wrong):
		r.failed(t, err, doing)
		return
	case strings.Contains(err.Error(), "server refused TLS connection"):
		r.find(Critical, "certificate", "the server has no TLS")
		return
	case !errors.As(err, &said):
		r.failed(t, conn.cause(ctx, "PostgreSQL protocol", err), doing)
		return
	}
	switch said.Code {
	case "28P01", "28000":
		r.locked(t, said.Message)
	case "3D000", "42501":
		r.find(Critical, "database", "%s", clip(said.Message))
	case "53300":
		r.find(Critical, "full", "%s", clip(said.Message))
	case "57P03":
		r.find(Warning, "starting", "%s", clip(said.Message))
	default:
		r.find(Critical, "error", "error %s: %s", said.Code, clip(said.Message))
	}
}
