package search

import (
	"reflect"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) Query {
	t.Helper()
	q, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return q
}

func TestParse(t *testing.T) {
	f := func(text string, want node) {
		t.Helper()
		q := mustParse(t, text)
		if !reflect.DeepEqual(q.root, want) {
			t.Errorf("%s: %#v, want %#v", text, q.root, want)
		}
		if q.String() != text {
			t.Errorf("%s: String is %s", text, q)
		}
	}
	f("", nil)
	f("*", nil)
	f("*:*", nil)
	f("timeout", words{"timeout"})
	f("  connection   refused ", words{"connection refused"})
	f(`"connection refused"`, phrase{"connection refused"})
	f("message: connection refused", words{"connection refused"})
	f(`message:"a \"b\" \\ \d \t\u00e9"`, phrase{"a \"b\" \\ \\d \t\u00e9"})
	f("time*", wild{"message", []string{"time", ""}})
	f("*", nil)
	f("message: *", exists{"message"})
	f("message: a**b c", or{words{"c"}, wild{"message", []string{"a", "b"}}})
	f("log.level: error", term{"log.level", "error"})
	f("log.level : (error or warn)", or{term{"log.level", "error"}, term{"log.level", "warn"}})
	f("service.name: /prod/*", wild{"service.name", []string{"/prod/", ""}})
	f(`service.name: "/prod/*"`, term{"service.name", "/prod/*"})
	f(`service.name: /prod/\*`, term{"service.name", "/prod/*"})
	f("service.name: two words", term{"service.name", "two words"})
	f("service.name: (a and not b)", and{term{"service.name", "a"}, not{term{"service.name", "b"}}})
	f("container.id: *", exists{"container.id"})
	f("log.offset: 5", number{"log.offset", "=", 5})
	f("log.offset>=5", number{"log.offset", ">=", 5})
	f("event.sequence < -1", number{"event.sequence", "<", -1})
	f("host.ip: 10.1.2.3/8", network{"host.ip", "10.0.0.0/8"})
	f("host.ip: (10.0.0.1 or \"::1\")", or{term{"host.ip", "10.0.0.1"}, term{"host.ip", "::1"}})
	f("stream > a", order{"stream", ">", "a"})
	f("@timestamp: \"1970-01-01T00:00:01\"", and{number{"@timestamp", ">=", 1e9}, number{"@timestamp", "<=", 2e9 - 1}})
	f("@timestamp > \"1970-01-01\"", number{"@timestamp", ">", 86400e9 - 1})
	f("@timestamp >= \"1970-01-01 01:00\"", number{"@timestamp", ">=", 3600e9})
	f("@timestamp < 1970-01-01T00\\:00\\:00.5Z", number{"@timestamp", "<", 5e8})
	f("@timestamp: \"1970-01-01T01:00:00.000000001+01:00\"", number{"@timestamp", "=", 1})
	// not before and before or, in any case
	f("a or b and not c", or{words{"a"}, and{words{"b"}, not{words{"c"}}}})
	f("a OR b AND NOT c", or{words{"a"}, and{words{"b"}, not{words{"c"}}}})
	f("(a or b) and c", and{or{words{"a"}, words{"b"}}, words{"c"}})
	f("not not a", not{not{words{"a"}}})
	f("not(a)", not{words{"a"}})
	f("not log.level: debug and b", and{not{term{"log.level", "debug"}}, words{"b"}})
	// operators are words of their own
	f("cannot open android nor order", words{"cannot open android nor order"})
	f(`\and \OR \not`, words{"and OR not"})
	f(`a\:b \(c\) \\ \"`, words{`a:b (c) \ "`})
	f(`"and"`, phrase{"and"})
	f("notice and orders", and{words{"notice"}, words{"orders"}})
	f(`message: foo\ttab`, words{"foo tab"})
	f(`"service.name": x`, term{"service.name", "x"})
	f("container.labels.a: x*", wild{"container.labels.a", []string{"x", ""}})
	f("_id: abc", term{"_id", "abc"})
	f("größe 😀 超时", words{"größe 😀 超时"})
}

func TestParseErrors(t *testing.T) {
	f := func(text, want string, caret int) {
		t.Helper()
		_, err := Parse(text)
		e, ok := err.(*ParseError)
		if !ok {
			t.Errorf("Parse(%s): %v, want a ParseError", text, err)
			return
		}
		if e.Error() != want {
			t.Errorf("Parse(%s):\n got %s\nwant %s", text, e, want)
		}
		if got := strings.Index(strings.Split(e.Caret(), "\n")[1], "^"); got != caret {
			t.Errorf("Parse(%s): caret at %d, want %d", text, got, caret)
		}
	}
	f("a and", "query: at the end: expected a word, a phrase or a field", 5)
	f("or b", "query: at character 1: expected a word, a phrase or a field, found or", 0)
	f("a and or b", "query: at character 7: expected a word, a phrase or a field, found or", 6)
	f("(a or b", "query: at character 1: this parenthesis is never closed", 0)
	f("a)", "query: at character 2: expected and or or, found )", 1)
	f("()", "query: at character 2: expected a word, a phrase or a field, found )", 1)
	f(`a "b"`, "query: at character 3: expected and or or, found another value", 2)
	f(`a not b`, "query: at character 3: expected and or or, found not", 2)
	f(`é "b`, "query: at character 3: this quotation mark is never closed", 2)
	f("log.level:", "query: at the end: expected a value of log.level", 10)
	f("log.level: or", "query: at character 12: expected a value of log.level, found or", 11)
	f("log.level: (a or)", "query: at character 17: expected a value of log.level, found )", 16)
	f("log.level: a log.level: b", `query: at character 23: expected and or or, found :`, 22)
	f("timeout log.level: b", `query: at character 1: "timeout log.level" is no field's name: and or or is missing before the field`, 0)
	f("log.*: b", "query: at character 1: * cannot stand in a field's name", 0)
	f("*: b", "query: at character 1: * cannot stand for a field's name", 0)
	f("log.offset >= ", "query: at the end: expected a value behind >=", 14)
	f("log.offset >= many", `query: at character 15: log.offset is a whole number, and "many" is none`, 14)
	f("log.offset: 1*", "query: at character 13: log.offset is no text: * cannot stand for a part of it", 12)
	f("message > a", "query: at character 11: message is made of words and cannot be compared with >", 10)
	f("stream < a*", "query: at character 10: * cannot be compared with <", 9)
	f("container.labels.x > 1", "query: at character 22: container.labels.x holds labels, which cannot be compared with >", 21)
	f("container.labels.x: *1", "query: at character 21: container.labels.x holds labels: * can stand only at the end of a value", 20)
	f("host.ip: 10.*", "query: at character 10: host.ip is an address: write a network such as 10.0.0.0/8 instead of *", 9)
	f("host.ip: ten", `query: at character 10: host.ip is an IP address, and "ten" is none`, 9)
	f("_id: a*", "query: at character 6: * cannot stand for a part of an _id", 5)
	f("@timestamp > yesterday", `query: at character 14: @timestamp is a time, and "yesterday" is none: write "2026-11-23", "2026-11-23T14:00:05.123Z" (in quotes) or now-15m`, 13)
	f("@timestamp > 1512", `query: at character 14: @timestamp: the year of "1512" is not between 1970 and 2261`, 13)
	f("@timestamp > 2026-11-23T14:00", `query: at character 14: @timestamp is a time, and "2026-11-23T14" is none: write "2026-11-23", "2026-11-23T14:00:05.123Z" (in quotes) or now-15m`, 13)
	f(`path: C:\dir`, "query: at character 8: expected and or or, found :", 7)
	f(`path: C\dir`, `query: at character 8: a backslash must stand before one of \():<>"*{}, or before and, or, not; write \\ for the character`, 7)
	f("a: {b: c}", `query: at character 4: nested fields, { and }, are not supported; write \{ for the character`, 3)
	f(strings.Repeat("(", 200)+"a", "query: at character 102: more than 100 parentheses and nots within each other", 101)
	f(strings.Repeat("not ", 200)+"a", "query: at character 405: more than 100 parentheses and nots within each other", 404)
	f(strings.Repeat("a ", 10000), "query: at character 16385: the query is longer than 16384 bytes", 16384)
	f("\xff", "query: at character 1: the query is not UTF-8", 0)
}

// The building blocks need no escaping, and their text gives the same query.
func TestBuild(t *testing.T) {
	f := func(q Query, want string) {
		t.Helper()
		if got := q.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		again := mustParse(t, q.String())
		if !reflect.DeepEqual(again.root, q.root) {
			t.Errorf("%s: parsed again it is %#v, want %#v", want, again.root, q.root)
		}
	}
	f(Query{}, "")
	f(And(), "")
	f(And(Query{}, Term("stream", "stdout")), `stream: "stdout"`)
	f(And(Term("service.name", `/a "b" \c*`), Not(Term("log.level", "debug"))), `service.name: "/a \"b\" \\c*" and (not log.level: "debug")`)
	f(Or(Term("log.level", "warn"), Term("log.level", "error")), `log.level: "warn" or log.level: "error"`)
	f(Wildcard("service.name", "/prod/*"), `service.name: /prod/*`)
	f(Wildcard("service.name", "a b:*and (c)*"), `service.name: a b\:*\and \(c\)*`)
	f(Wildcard("service.name", "web"), `service.name: "web"`)
	f(Wildcard("service.name", "*"), `service.name: *`)
	f(Between("event.sequence", 5, 9), `event.sequence >= 5 and event.sequence <= 9`)
	f(Between("event.sequence", 5, 5), `event.sequence: 5`)
	f(Between("@timestamp", 0, 1), `@timestamp >= "1970-01-01T00:00:00.000000000Z" and @timestamp <= "1970-01-01T00:00:00.000000001Z"`)
	f(Exists("container.id"), `container.id: *`)
	f(Term("message", "a b"), `message: "a b"`)
	f(Term("_id", "x"), `_id: "x"`)
	if got := Term("log.offset", "x").String(); got != "not *" {
		t.Errorf("a number that is none: %s, want what matches nothing", got)
	}
	if got := Or().String(); got != "not *" {
		t.Errorf("Or of nothing is %s", got)
	}
	if got := Not(Query{}).String(); got != "not *" {
		t.Errorf("Not of everything is %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a or b and not (c)", `log.level: "e" and x: (a or b*)`, `\and \* \u0041 "\n"`, "log.offset >= 5", "@timestamp: \"2026-11\"", "host.ip: ::/3", "* and not *", "not not *", `a\u0020 b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			e := err.(*ParseError)
			if e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("%q: offset %d", text, e.Offset)
			}
			_, _ = e.Error(), e.Caret()
			return
		}
		if strings.Contains(text, "now") {
			return // another now
		}
		rendered := render(q.root)
		again, err := Parse(rendered)
		if err != nil {
			if strings.Contains(err.Error(), "more than 100") || strings.Contains(err.Error(), "longer than") {
				return // rendering adds parentheses and quotes
			}
			t.Fatalf("%q is rendered as %q: %v", text, rendered, err)
		}
		if twice := render(again.root); twice != rendered {
			t.Fatalf("%q is rendered as %q, and then as %q", text, rendered, twice)
		}
		dsl(q.root)
		sqlCompiler{}.compile(q.root)
	})
}
