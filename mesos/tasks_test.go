package mesos

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"
)

func TestMarathonTasks(t *testing.T) {
	text := `{"tasks":[{"id":"web.1","host":"n1","ports":[31292,31293],"startedAt":"2015-09-17T09:32:42.598Z","stagedAt":"2015-09-17T09:32:36.822Z",
"version":"2015-09-17T09:32:36.583Z","slaveId":"S0","appId":"/shop/web","state":"TASK_RUNNING","servicePorts":[10019]},
{"id":"web.2","host":"n2","ports":null,"startedAt":null,"appId":"/shop/web","state":"TASK_STAGING"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/tasks" || r.Header.Get("Accept") != "application/json" { // old ones answer in plain text else
			t.Errorf("%s, Accept %q", r.URL, r.Header.Get("Accept"))
		}
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	m, err := NewMarathon([]string{"http://127.0.0.1:1", server.URL}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Tasks(t.Context())
	want := []MarathonTask{
		{"web.1", "/shop/web", "n1", []int{31292, 31293}, "TASK_RUNNING", "2015-09-17T09:32:36.583Z", time.Date(2015, 9, 17, 9, 32, 42, 598e6, time.UTC)},
		{ID: "web.2", App: "/shop/web", Host: "n2", State: "TASK_STAGING"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if text = "<html>"; true {
		if _, err := m.Tasks(t.Context()); err == nil {
			t.Error("a page is taken for an answer")
		}
	}
}
