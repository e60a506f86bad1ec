//go:build e2e

package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/receipt"
	"mesoscope/record"
	"mesoscope/shipper"
	testserver "mesoscope/test/elasticsearch"
)

// A realServer is an Elasticsearch that `mesoscope setup` has set up.
type realServer struct {
	*testserver.Server
	t *testing.T
}

func startReal(t *testing.T) realServer {
	t.Helper()
	s := realServer{testserver.Start(t, testserver.Options{}), t}
	var out bytes.Buffer
	if code := Main([]string{"setup", "--host", s.URL}, IO{Out: &out, Err: &out, Context: t.Context()}); code != Done {
		t.Fatalf("setup: exit code %d\n%s", code, out.String())
	}
	return s
}

func (s realServer) do(method, path, body string) string {
	s.t.Helper()
	status, out := s.Do(http.DefaultClient, method, path, body, nil)
	if status >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, status, out)
	}
	return out
}

// write stores batches as the agent's requests would, without a refresh.
func (s realServer) write(batches []*record.Batch) {
	s.t.Helper()
	for _, b := range batches {
		if out := s.do("POST", "/"+b.Stream.Index+"/_bulk", string(b.Body)); !strings.Contains(out, `"errors":false`) {
			s.t.Fatalf("%.2000s", out)
		}
	}
}

const linesIndex = "logs-mesos.container-default"

func TestVerifyElasticsearch(t *testing.T) {
	s := startReal(t)
	l := newLedger(t)
	l.write()
	s.write(l.batches)
	s.do("POST", "/"+linesIndex+"/_rollover", "")
	again := &ledger{t: t, begin: l.begin}
	again.lines("bad1", 1, "stdout", 7, 7) // the same id, in the new backing index
	s.write(again.batches)
	s.do("POST", "/"+linesIndex+"/_refresh", "")
	s.do("POST", "/"+linesIndex+"/_delete_by_query", `{"query":{"bool":{"filter":[{"term":{"container.name":"bad1"}},{"term":{"log.file.generation":"g1"}},{"terms":{"event.sequence":[1,2,17,18,19,100]}}]}}}`)
	checkLedger(t, l, s.URL)

	t.Run("many files", func(t *testing.T) {
		// More than a page of keys, each still written.
		many := newLedger(t)
		const files = 130
		for g := range files {
			many.lines("many", g%20, "stdout", int64(g/20)*10+1, int64(g/20)*10+10)
		}
		for g := range 20 {
			many.receipt("many", g, "stdout", receipt.Receipt{Revision: 1, Lines: receipt.Lines{Total: 2}})
		}
		s.write(many.batches)
		out, errOut, code := verify(t, "--container", "many", "--since", many.begin.Add(5*time.Minute).Format(time.RFC3339), "--store", s.URL)
		if code != Done || strings.Count(out, "COMPLETE: still written; complete up to line 2,") != 15 || !strings.Contains(out, "\nCOMPLETE: 15 log files") {
			t.Errorf("exit code %d\n%s%s", code, out, errOut)
		}
	})
	t.Run("large file", func(t *testing.T) {
		const lines = 200_000
		large := newLedger(t)
		for from := int64(1); from <= lines; from += 5000 {
			large.batches = nil
			large.lines("large", 1, "stdout", from, from+4999)
			s.write(large.batches)
		}
		large.batches, large.now = nil, time.Now()
		large.receipt("large", 1, "stdout", final(1, lines))
		s.write(large.batches)
		begin := time.Now()
		out, errOut, code := verify(t, "--container", "large", "--since", "1h", "--store", s.URL)
		t.Logf("%d lines verified in %s\n%s", lines, time.Since(begin).Round(time.Millisecond), out)
		if code != Done || !strings.Contains(out, "COMPLETE: 1 log file, 200,000 lines") {
			t.Errorf("exit code %d\n%s%s", code, out, errOut)
		}
	})
	t.Run("expired", func(t *testing.T) {
		// The oldest backing index goes, as retention deletes it.
		oldest := strings.Fields(s.do("GET", "/_cat/indices/"+linesIndex+"?h=index&s=index", ""))[0]
		if !strings.HasSuffix(oldest, "-000001") {
			t.Fatal(oldest)
		}
		s.do("POST", "/"+oldest+"/_close", "")
		out, errOut, code := verify(t, "--container", "good", "--since", l.begin.Format(time.RFC3339), "--store", s.URL)
		if code != Bad || !strings.Contains(out, "INCOMPLETE: missing 1-100; the closed index "+oldest+" may hold them") {
			t.Errorf("closed: exit code %d\n%s%s", code, out, errOut)
		}
		s.do("DELETE", "/"+oldest, "")
		out, errOut, code = verify(t, "--container", "good", "--since", l.begin.Format(time.RFC3339), "--store", s.URL)
		if code != Bad || !strings.Contains(out, "EXPIRED: the store's retention deleted 1-100") || !strings.Contains(out, "\nEXPIRED: 4 log files, 147 lines booked, 0 stored; 147 deleted by retention") {
			t.Errorf("exit code %d\n%s%s", code, out, errOut)
		}
	})
}

// A real mapping refuses documents, and takes them once it is mended.
func TestDeadLetterReplayElasticsearch(t *testing.T) {
	s := startReal(t)
	s.do("PUT", "/_component_template/logs-mesos@custom", `{"template":{"mappings":{"dynamic":"strict","properties":{"price":{"type":"long"}}}}}`)
	data := t.TempDir()
	t.Setenv("MESOSCOPE_DATA_DIR", data)
	letter := func(id, field string) shipper.DeadLetter {
		return shipper.DeadLetter{Time: time.Now(), Index: linesIndex, ID: id, Status: 400, Type: "strict_dynamic_mapping_exception", Reason: "introduction of [" + field + "] is not allowed",
			Document: json.RawMessage(fmt.Sprintf(`{"@timestamp":%q,"message":"sold %s",%q:7}`, time.Now().UTC().Format(time.RFC3339Nano), id, field))}
	}
	deadLetters(t, data, "agent", letter("a", "price"), letter("b", "cost"), letter("c", "price"))
	expect := func(wantCode int, want ...string) {
		t.Helper()
		out, errOut, code := deadletter(t, "replay", "--to", s.URL)
		t.Logf("\n%s%s", out, errOut)
		for _, w := range want {
			if code != wantCode || !strings.Contains(out, w) {
				t.Errorf("exit code %d, want %d and %q", code, wantCode, w)
			}
		}
	}
	expect(Bad, "2 stored\n1 refused again; they stay here", "refused  "+linesIndex+"  b   strict_dynamic_mapping_exception")
	s.do("PUT", "/_component_template/logs-mesos@custom", `{"template":{"mappings":{"dynamic":"strict","properties":{"price":{"type":"long"},"cost":{"type":"long"}}}}}`)
	s.do("POST", "/"+linesIndex+"/_rollover", "")
	expect(Done, "1 stored\n")
	expect(Done, "nothing to replay")
	s.do("POST", "/"+linesIndex+"/_refresh", "")
	if n := s.do("GET", "/"+linesIndex+"/_count", ""); !strings.Contains(n, `"count":3,`) {
		t.Errorf("%s", n)
	}
	if files, _ := filepath.Glob(filepath.Join(data, "agent", "deadletter", "*")); len(files) != 3 { // letters, list, lock
		t.Errorf("%v", files)
	}
}
