package mesos

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// TestMaster: pages that move, a master that does not lead, one that is away.
func TestMaster(t *testing.T) {
	tasks := []string{"a", "b", "c", "c", "d"} // c is there twice, as pages have moved
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/master/slaves":
			fmt.Fprint(w, `{"slaves":[{"id":"S0","hostname":"n1","active":true,"resources":{}}],"recovered_slaves":[]}`)
		case "/master/tasks":
			limit, _ := strconv.Atoi(r.FormValue("limit"))
			offset, _ := strconv.Atoi(r.FormValue("offset"))
			var some []string
			for _, id := range tasks[min(offset, len(tasks)):min(offset+limit, len(tasks))] {
				some = append(some, fmt.Sprintf(`{"id":%q,"framework_id":"F"}`, id))
			}
			fmt.Fprintf(w, `{"tasks":[%s]}`, strings.Join(some, ","))
		default:
			http.NotFound(w, r)
		}
	}))
	defer leader.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.URL.String(), http.StatusTemporaryRedirect)
	}))
	defer other.Close()
	m, err := NewMaster([]string{"http://127.0.0.1:1", other.URL + "/master/"}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := m.Agents(t.Context())
	if err != nil || len(agents) != 1 || agents[0].Hostname != "n1" {
		t.Errorf("%+v %v", agents, err)
	}
	list, err := m.tasks(t.Context(), 2)
	ids := ""
	for _, task := range list {
		ids += task.ID
	}
	if err != nil || ids != "abcd" {
		t.Errorf("%s %v", ids, err)
	}
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{}`)) }))
	defer wrong.Close()
	m, _ = NewMaster([]string{wrong.URL}, Access{})
	if _, err := m.Tasks(t.Context()); err == nil {
		t.Error("an answer without tasks would remove everything")
	}
	if _, err := m.Agents(t.Context()); err == nil {
		t.Error("an answer without agents would remove everything")
	}
	if _, err := NewMaster([]string{"m1:5050"}, Access{}); err == nil {
		t.Error("no URL")
	}
}
