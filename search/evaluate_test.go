package search

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/embedded"
	"mesoscope/record"
)

// evaluate is the third implementation: it asks one decoded document, in the
// plainest way, what the stores ask their indices.
func evaluate(n node, d document) bool {
	some := func(field string, test func(string) bool) bool {
		return slices.ContainsFunc(d.fields[field], func(v string) bool {
			return len([]rune(v)) <= maxKeyword && test(v)
		})
	}
	switch n := n.(type) {
	case nil, all:
		return true
	case and:
		return !slices.ContainsFunc(n, func(n node) bool { return !evaluate(n, d) })
	case or:
		return slices.ContainsFunc(n, func(n node) bool { return evaluate(n, d) })
	case not:
		return !evaluate(n.node, d)
	case words:
		return slices.ContainsFunc(embedded.Words(n.text), func(w string) bool { return slices.Contains(d.words, w) })
	case phrase:
		want := embedded.Words(n.text)
		for i := range d.words {
			if len(want) > 0 && i+len(want) <= len(d.words) && slices.Equal(want, d.words[i:i+len(want)]) {
				return true
			}
		}
		return false
	case wild:
		if n.field == "message" {
			phrases, patterns := wordPatterns(n.parts)
			for _, p := range phrases {
				if !evaluate(phrase{p}, d) {
					return false
				}
			}
			for _, p := range patterns {
				if !slices.ContainsFunc(d.words, pattern(p)) {
					return false
				}
			}
			return len(d.fields["message"]) > 0
		}
		return some(n.field, pattern(n.parts))
	case term:
		if n.field == "_id" {
			return d.id == n.value
		}
		return some(n.field, func(v string) bool { return v == n.value })
	case network:
		return some(n.field, func(v string) bool { return netip.MustParsePrefix(n.prefix).Contains(netip.MustParseAddr(v)) })
	case exists:
		for field := range d.fields {
			if field == n.field || strings.HasPrefix(field, n.field+".") && kindOf(n.field) != kindLabels {
				if kindOf(field) == kindText || some(field, func(string) bool { return true }) {
					return true
				}
			}
		}
		return false
	case number:
		return some(n.field, func(v string) bool {
			var a int64
			if kindOf(n.field) == kindTime {
				t, err := time.Parse(time.RFC3339Nano, v)
				if err != nil {
					return false
				}
				a = t.UnixNano()
			} else if _, err := fmt.Sscan(v, &a); err != nil {
				return false
			}
			return map[string]bool{"=": a == n.value, "<": a < n.value, "<=": a <= n.value, ">": a > n.value, ">=": a >= n.value}[n.op]
		})
	case order:
		return some(n.field, func(v string) bool {
			c := strings.Compare(v, n.value)
			if n.field == "host.ip" {
				a, b := netip.MustParseAddr(v).As16(), netip.MustParseAddr(n.value).As16()
				c = slices.Compare(a[:], b[:])
			}
			return map[string]bool{"<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[n.op]
		})
	}
	panic(fmt.Sprintf("%T", n))
}

func pattern(parts []string) func(string) bool {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(quoted, ".*") + `$`).MatchString
}

type document struct {
	id     string
	raw    string
	fields map[string][]string
	words  []string
}

func decode(id, raw string) document {
	d := document{id: id, raw: raw, fields: map[string][]string{}}
	var add func(name string, v any)
	add = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, v := range v {
				add(strings.TrimPrefix(name+"."+k, "."), v)
			}
		case []any:
			for _, v := range v {
				add(name, v)
			}
		case nil:
		default:
			d.fields[name] = append(d.fields[name], fmt.Sprint(v))
			if before, _, ok := strings.Cut(name, ".labels."); ok {
				d.fields[before+".labels"] = append(d.fields[before+".labels"], fmt.Sprint(v))
			}
		}
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		panic(err)
	}
	add("", object)
	for _, m := range d.fields["message"] {
		d.words = append(d.words, embedded.Words(m)...)
	}
	return d
}

// vocabulary is what messages and questions are made of.
var vocabulary = strings.Fields(`error ERROR Error timeout time timer out connection refused GET POST /api/v1/users /api/v1/orders/4711 user_id user-id
	a.b.c www.example.com 10.0.0.1 10.0.0.1:8080 192.168.1.254 3.14 1,000 1;2 12:30:45 0x1f #42 50% it's O’Neil "quoted" 'single' key=value {"json":true}
	_ __init__ - -- / // . ... foo_bar foo-bar foo.bar fooBar FOO*BAR what? [brackets] a\b C:\temp café CAFÉ naïve Grüße STRASSE straße ẞ İstanbul
	Привет мир Ελλάδα שלום مرحبا 超时 连接超时 データベース エラー の カタカナ 한국어 สวัสดี 😀 👍🏽 👨‍👩‍👧 🇩🇪 ❤️ © ™ e` + "\u0301t\u00e9 x\u200dy" + ` ½ ² Ⅷ １２３ and or not null true 42 4711 -5 1e9`)

func sentence(r *rand.Rand) string {
	words := make([]string, r.IntN(9))
	for i := range words {
		words[i] = vocabulary[r.IntN(len(vocabulary))]
	}
	if r.IntN(200) == 0 {
		words = append(words, strings.Repeat("x", 250+r.IntN(20)), "tail")
	}
	return strings.Join(words, []string{" ", "  ", ", ", ": ", "\t"}[r.IntN(5)])
}

var levels = []string{"trace", "debug", "info", "warn", "error", "fatal"}

// corpus makes n documents of a dozen streams, in batches.
func corpus(seed uint64, n int) []*record.Batch {
	r := rand.New(rand.NewPCG(seed, 1))
	var streams []*record.Stream
	for i := range 12 {
		fields := fmt.Sprintf(`"stream":%q,"container":{"id":"c%02d","name":"web-%d","labels":{"com.docker.compose.service":"web-%d","team":"Team %d","odd key":"x*y"}},"host":{"name":"node-%d","ip":["10.0.%d.1","fe80::%d"]},"service":{"name":"/prod/web-%d"}`,
			[]string{"stdout", "stderr"}[i%2], i, i/2, i/3, i%2, i%4, i%4, i, i/4)
		if i == 5 {
			fields += `,"marathon":{"app":{"id":"/a*b?[c]\\"}},"tags":["one","two",3,true,null],"long":"` + strings.Repeat("l", 1025) + `","just":"` + strings.Repeat("l", 1024) + `"`
		}
		streams = append(streams, &record.Stream{Name: fmt.Sprint("stream-", i), Index: "logs-mesos.container-default", Dataset: "mesos.container", Fields: []byte(fields)})
	}
	var batches []*record.Batch
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for i := 0; i < n; {
		b := new(record.Batch)
		b.Reset(streams[r.IntN(len(streams))], nil)
		for range min(n-i, 1+r.IntN(50)) {
			at := start.Add(time.Duration(i/3) * 333333333).Add(time.Duration(r.IntN(3)) * time.Nanosecond).Format(time.RFC3339Nano)
			own := fmt.Sprintf(`"@timestamp":%q,"message":%s,"log":{"offset":%d,"file":{"generation":"g%d"}`, at, record.AppendQuoted(nil, sentence(r)), i*100, i%3)
			if r.IntN(3) > 0 {
				own += fmt.Sprintf(`,"level":%q`, levels[r.IntN(len(levels))])
			}
			if r.IntN(20) == 0 {
				own += `,"flags":["partial","truncated"]`
			}
			if r.IntN(10) == 0 {
				own += fmt.Sprintf(`,"lines":%d`, r.IntN(5))
			}
			own += fmt.Sprintf(`},"event":{"sequence":%d,"created":%q,"dataset":"mesos.container"}`, i, at)
			b.Body = record.AppendAction(b.Body, fmt.Appendf(nil, "id-%06d", i))
			item := record.Item{Doc: uint32(len(b.Body))}
			b.Body = append(b.Body, "{"+own+","+string(b.Stream.Fields)+"}\n"...)
			item.End = uint32(len(b.Body))
			b.Items = append(b.Items, item)
			i++
		}
		batches = append(batches, b)
	}
	return batches
}

func documents(batches []*record.Batch) (docs []document) {
	for _, b := range batches {
		for i := range b.Len() {
			docs = append(docs, decode(string(b.ID(i)), string(b.Doc(i))))
		}
	}
	return docs
}

// question makes a query as text.
func question(r *rand.Rand, docs []document, depth int) string {
	if depth > 0 && r.IntN(2) == 0 {
		a, b := question(r, docs, depth-1), question(r, docs, depth-1)
		return []string{"(" + a + ") and (" + b + ")", "(" + a + ") or (" + b + ")", "not (" + a + ")", a + " and not (" + b + ")"}[r.IntN(4)]
	}
	word := func() string { return vocabulary[r.IntN(len(vocabulary))] }
	cut := func(s string) string { // with a wildcard
		runes := []rune(s)
		i, j := r.IntN(len(runes)+1), r.IntN(len(runes)+1)
		return escape(string(runes[:min(i, j)])) + "*" + escape(string(runes[max(i, j):]))
	}
	doc := docs[r.IntN(len(docs))]
	op := []string{":", ">=", "<=", "<", ">"}[r.IntN(5)]
	switch r.IntN(13) {
	case 0:
		return escape(word())
	case 1:
		return "message: " + escape(word()+" "+word())
	case 2:
		return quote(word() + " " + word())
	case 3: // words that stand together somewhere
		if m := doc.fields["message"]; len(m) > 0 {
			if f := strings.Fields(m[0]); len(f) > 1 {
				i := r.IntN(len(f) - 1)
				return "message: " + quote(strings.Join(f[i:min(i+2+r.IntN(2), len(f))], " "))
			}
		}
		return "message: *"
	case 4:
		return "message: " + cut(word())
	case 5:
		return "log.offset " + op + " " + fmt.Sprint(r.IntN(len(docs))*100)
	case 6:
		return "event.sequence " + op + " " + fmt.Sprint(r.IntN(len(docs)))
	case 7:
		return "@timestamp " + op + " " + quote([]string{doc.fields["@timestamp"][0], "2026-11-23T10:05", "2026-11-23T10:00:20", "2026-11-23"}[r.IntN(4)])
	case 8:
		return "log.level: (" + levels[r.IntN(6)] + " or " + levels[r.IntN(6)] + ")"
	case 9:
		return []string{"host.ip: 10.0.0.0/15", "host.ip: 10.0.2.1", `host.ip: "fe80::/127"`, "host.ip >= 10.0.1.1", `host.ip < "fe80::2"`, "log.flags: partial", "log.flags: *", "log.lines: 3", "log.lines >= 2", "log: *", "container: *", "log.file: *",
			"nothing: x", "nothing: *", "nothing: x*", "nothing > 5", "just: *", "long: *", "long: l*", "just: lll*", "event.created: *", "event.created > \"2026-11-23T10:01\"", "error.message: *", "log.lines: *"}[r.IntN(24)]
	case 10:
		return []string{"container.labels: web-3", "container.labels.team: \"Team 1\"", "container.labels.com.docker.compose.service: web*", "container.labels.com: *", "container.labels.team: *", "container.labels: *", "container.labels: Team*",
			`"container.labels.odd key": x\*y`, "tags: (one or 3)", "tags: true", "tags: t*", `marathon.app.id: "/a*b?[c]\\"`, `marathon.app.id: /a\*b?*`, `marathon.app.id: *[c*`}[r.IntN(14)]
	case 11:
		name := []string{"container.id", "container.name", "service.name", "host.name", "stream", "log.file.generation", "_id"}[r.IntN(7)]
		value := doc.id
		if name != "_id" {
			value = doc.fields[name][0]
			if r.IntN(2) == 0 {
				return name + ": " + cut(value)
			}
			if r.IntN(3) == 0 && op != ":" {
				return name + " " + op + " " + quote(value)
			}
		}
		if r.IntN(4) == 0 {
			value = strings.ToUpper(value)
		}
		return name + ": " + quote(value)
	default:
		return "not log.level: *"
	}
}

func ask(t testing.TB, s Store, q Query, n int) []string {
	t.Helper()
	result, err := s.Search(t.Context(), Request{Query: q, Limit: n})
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	ids := []string{}
	for _, l := range result.Lines {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

func expected(q Query, docs []document) []string {
	ids := []string{}
	for _, d := range docs {
		if evaluate(q.root, d) {
			ids = append(ids, d.id)
		}
	}
	slices.Sort(ids)
	return ids
}

func embeddedCorpus(t testing.TB, batches []*record.Batch) Store {
	t.Helper()
	store, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Append(t.Context(), batches); err != nil {
		t.Fatal(err)
	}
	return NewEmbedded(store)
}

func TestEmbeddedAgrees(t *testing.T) {
	batches := corpus(1, 1500)
	docs, store := documents(batches), embeddedCorpus(t, batches)
	r := rand.New(rand.NewPCG(2, 2))
	some := 0
	for range 600 {
		text := question(r, docs, 2)
		q := mustParse(t, text)
		want := expected(q, docs)
		if got := ask(t, store, q, len(docs)); !slices.Equal(got, want) {
			c := sqlCompiler{map[string]bool{"log": true, "event": true, "message": true}}.compile(q.root)
			t.Fatalf("%s\n%s %q\nfound %d, want %d\nmissing %v\ntoo many %v", text, c.sql, c.args, len(got), len(want), without(want, got), without(got, want))
		}
		if len(want) > 0 && len(want) < len(docs) {
			some++
		}
	}
	if some < 250 {
		t.Errorf("only %d questions had an answer that could be wrong", some)
	}
}

func without(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out[:min(len(out), 5)]
}
