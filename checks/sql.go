package checks

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What mysql and postgres have in common.

// maxSQL is how much both may answer: all that is asked for is a few rows.
const maxSQL = 512 << 10

// sqlOptions are those of both.
var sqlOptions = slices.Concat([]Option{
	{Name: "tls", Help: "Speak TLS."},
}, tlsOptions, credentials)

// sqlSignals are what both can find.
var sqlSignals = slices.Concat(networkSignals, []Signal{
	certificateSignal,
	{"credentials", Critical, "name or password are refused"},
	{"database", Critical, "there is no such database, or it is not open to this user"},
	{"full", Critical, "too many connections: nobody else gets in"},
	{"error", Critical, "the server answers with another error"},
})

var sqlFacts = []string{"RESPONSE_TIME", "IP", "CONNECTED", "CERTIFICATE_EXPIRATION"}

var databaseName = regexp.MustCompile(`^[A-Za-z0-9_$.-]{1,64}$`)

// hostPortDatabase reads host[:port][/database].
func hostPortDatabase(standard int) func(string) (string, error) {
	read := hostPort(standard)
	return func(s string) (string, error) {
		if strings.Contains(s, "://") || strings.Contains(s, "@") {
			return read(s) // which says what is wrong with that
		}
		address, database, has := strings.Cut(s, "/")
		address, err := read(address)
		if err != nil || !has {
			return address, err
		}
		if !databaseName.MatchString(database) {
			return "", fmt.Errorf("%q is no name of a database", database)
		}
		return address + "/" + database, nil
	}
}

// database splits what hostPortDatabase made.
func (t Target) database() (address, host, database string) {
	address, database, _ = strings.Cut(t.Address, "/")
	host, _, _ = net.SplitHostPort(address)
	return address, host, database
}

// A row is one row of an answer by the names of its columns. NULL is not in it.
type row map[string]string

// first is the value of the first of these columns that there is: servers of
// different ages have different names for one thing.
func (w row) first(names ...string) string {
	for _, n := range names {
		if v, ok := w[n]; ok {
			return v
		}
	}
	return ""
}

// number is a column as a number.
func (w row) number(names ...string) (float64, bool) {
	f, err := finite(w.first(names...))
	return f, err == nil
}

// locked is the text for a server that wants a password while none is given.
func (r *Result) locked(t Target, how string) {
	if value[string](t, "password-file") == "" {
		r.say("alive, password needed, signals not read")
		return
	}
	r.find(Critical, "credentials", "name or password refused: %s", clip(how))
}

// versionNumber is "10.11.6-MariaDB" as 10.0116: good for comparing.
func versionNumber(s string) float64 {
	part := func(i int) float64 {
		parts := strings.SplitN(s, ".", 4)
		if i >= len(parts) {
			return 0
		}
		end := strings.IndexFunc(parts[i], func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(parts[i])
		}
		n, _ := strconv.Atoi(parts[i][:end])
		return float64(min(n, 99))
	}
	return part(0) + part(1)/100 + part(2)/10000
}
