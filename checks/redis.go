package checks

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxInfo = 256 << 10

var redisKind = Kind{
	Summary: "Redis: PING, and what INFO says of replication, persistence, memory and clients",
	Target:  "HOST[:6379]",
	Example: `check redis redis-7.example.net --password-file /etc/mesoscope/redis --critical memory=95`,
	Options: slices.Concat([]Option{{Name: "tls", Help: "Speak TLS."}}, tlsOptions, credentials),
	Metrics: []Limits{
		{Name: "memory", Help: "percent of maxmemory, if there is one", Warning: "90", Critical: "98"},
		{Name: "used_memory", Help: "bytes"},
		{Name: "connections", Help: "percent of maxclients", Warning: "80", Critical: "95"},
		{Name: "clients", Help: "connected clients"},
		{Name: "blocked", Help: "clients that wait in a blocking command"},
		{Name: "rejected", Help: "connections refused since the start (counter)"},
		{Name: "lag", Help: "of a replica: seconds since the master was heard", Warning: "30", Critical: "300"},
		{Name: "replicas", Help: "of a master: connected replicas"},
		{Name: "behind", Help: "of a master: bytes that the slowest replica lacks"},
		certificateLimits,
	},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"credentials", Critical, "name or password are refused"},
		{"loading", Warning, "it still reads its data from the disk"},
		{"error", Critical, "PING or INFO is answered by an error"},
		{"master_link", Critical, "a replica has lost its master (WARNING while the first copy runs)"},
		{"save", Warning, "the last snapshot (RDB) failed"},
		{"append", Critical, "the last write to the append-only file failed"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(6379),
	check:   checkRedis,
}

// checkRedis asks PING and INFO.
func checkRedis(ctx context.Context, t Target) (r Result) {
	s, ok := open(ctx, &r, t, maxInfo)
	if !ok {
		return r
	}
	defer s.Close()
	if password := value[string](t, "password-file"); password != "" {
		words := []string{"AUTH", password}
		if name := value[string](t, "username"); name != "" {
			words = []string{"AUTH", name, password}
		}
		_, err := s.redis(&r, words...)
		var refused respError
		if errors.As(err, &refused) {
			if !strings.Contains(err.Error(), "without any password") && !strings.Contains(err.Error(), "no password is set") {
				r.find(Critical, "credentials", "name or password refused: %v", err)
				return r
			}
		} else if err != nil {
			r.failed(t, err, "logging in")
			return r
		}
	}
	pong, err := s.redis(&r, "PING")
	if err != nil || pong != "PONG" {
		r.judgePong(t, pong, err)
		return r
	}
	info, err := s.redis(&r, "INFO")
	var refused respError
	switch {
	case errors.As(err, &refused) && strings.HasPrefix(err.Error(), "NOPERM"):
		r.say("PONG; this user may not call INFO, signals not read")
		return r
	case errors.As(err, &refused):
		r.find(Critical, "error", "INFO is answered by %s", clip(err.Error()))
		return r
	case err != nil:
		r.failed(t, err, "waiting for the answer to INFO")
		return r
	}
	r.answer([]byte(info))
	r.judgeRedis(parseInfo(info))
	return r
}

// redis sends one command and reads its answer.
func (s *session) redis(r *Result, words ...string) (string, error) {
	began := time.Now()
	defer func() { r.phase("wait", began) }()
	if _, err := io.WriteString(s, respCommand(words...)); err != nil {
		return "", err
	}
	return readRESP(s.in, maxInfo)
}

// judgePong says why PING was not answered by PONG.
func (r *Result) judgePong(t Target, pong string, err error) {
	var said respError
	if !errors.As(err, &said) {
		if err == nil {
			err = wrongProtocol("PING is answered by %s", clip(pong))
		}
		r.failed(t, err, "waiting for PONG")
		return
	}
	switch code, _, _ := strings.Cut(string(said), " "); code {
	case "NOAUTH":
		r.say("alive, password needed, signals not read")
	case "LOADING":
		r.find(Warning, "loading", "it loads its data: %s", clip(string(said)))
	case "MASTERDOWN":
		r.find(Critical, "master_link", "%s", clip(string(said)))
	default:
		r.find(Critical, "error", "PING is answered by %s", clip(string(said)))
	}
}

// parseInfo reads "name:value" lines.
func parseInfo(s string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(s) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			out[name] = text
		}
	}
	return out
}

func (r *Result) judgeRedis(info map[string]string) {
	number := func(name string) (float64, bool) { f, err := finite(info[name]); return f, err == nil }
	if used, ok := number("used_memory"); ok {
		if most, ok := number("maxmemory"); ok && most > 0 {
			r.measure("memory", percent(used, most), "%")
		}
		r.measure("used_memory", used, "B")
	}
	if clients, ok := number("connected_clients"); ok {
		if most, ok := number("maxclients"); ok && most > 0 {
			r.measure("connections", percent(clients, most), "%")
		}
		r.measure("clients", clients, "")
	}
	if n, ok := number("blocked_clients"); ok {
		r.measure("blocked", n, "")
	}
	if n, ok := number("rejected_connections"); ok {
		r.measure("rejected", n, "c")
	}
	role := info["role"]
	r.say("PONG, Redis %s, %s, up %s", info["redis_version"], role, uptime(info["uptime_in_seconds"]))
	if info["loading"] == "1" {
		r.find(Warning, "loading", "it loads its data (%s %%)", info["loading_loaded_perc"])
	}
	if info["rdb_last_bgsave_status"] == "err" {
		r.find(Warning, "save", "the last snapshot (RDB) failed")
	}
	if info["aof_last_write_status"] == "err" {
		r.find(Critical, "append", "the last write to the append-only file failed")
	}
	if role == "slave" {
		master := net.JoinHostPort(info["master_host"], info["master_port"])
		if n, ok := number("master_last_io_seconds_ago"); ok && n >= 0 {
			r.measure("lag", n, "s")
		}
		switch {
		case info["master_link_status"] == "up":
		case info["master_sync_in_progress"] == "1":
			r.find(Warning, "master_link", "replica of %s, the first copy runs", master)
		default:
			r.find(Critical, "master_link", "replica of %s, without a connection to it for %s", master, uptime(info["master_link_down_since_seconds"]))
		}
		return
	}
	if n, ok := number("connected_slaves"); ok {
		r.measure("replicas", n, "")
		if behind, ok := slowest(info); ok {
			r.measure("behind", behind, "B")
		}
	}
}

// slowest is how many bytes the replica that is furthest behind lacks.
func slowest(info map[string]string) (most float64, any bool) {
	ours, err := finite(info["master_repl_offset"])
	if err != nil {
		return 0, false
	}
	for i := 0; i < 100 && info["slave"+strconv.Itoa(i)] != ""; i++ {
		for field := range strings.SplitSeq(info["slave"+strconv.Itoa(i)], ",") {
			if text, ok := strings.CutPrefix(field, "offset="); ok {
				if at, err := finite(text); err == nil {
					most, any = max(most, ours-at), true
				}
			}
		}
	}
	return most, any
}

// percent is a part of a whole with one digit behind the point.
func percent(part, whole float64) float64 { return float64(int64(part/whole*1000+0.5)) / 10 }

// uptime writes seconds for people.
func uptime(seconds string) string {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 || n > 1<<33 {
		return "an unknown time"
	}
	return ago(time.Duration(n) * time.Second)
}
