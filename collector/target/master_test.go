package target

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"mesoscope/mesos"
)

func TestMaster(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slaves" {
			fmt.Fprint(w, `{"slaves":[{"id":"S1","hostname":"n2","active":true},{"id":"S0","hostname":"n1","active":true},{"id":"S9","hostname":"n2","active":false}]}`)
			return
		}
		const running = `"state":"TASK_RUNNING","statuses":[{"state":"TASK_STARTING","timestamp":1500000000},{"state":"TASK_RUNNING","timestamp":1600000000.5,"container_status":{"network_infos":[{"ip_addresses":[{"ip_address":"9.0.0.7"}]}]}}]`
		fmt.Fprint(w, `{"tasks":[
			{"id":"shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1","name":"web.shop","framework_id":"F0","slave_id":"S0",`+running+`,
			 "labels":[{"key":"mesoscope.team","value":"shop"}],"resources":{"ports":"[31000-31001]"},"discovery":{"ports":{"ports":[{"number":31001,"name":"admin"}]}},
			 "container":{"type":"DOCKER","docker":{"image":"nginx:1","network":"HOST"}}},
			{"id":"bridge","name":"br","framework_id":"F1","slave_id":"S1",`+running+`,
			 "container":{"docker":{"image":"redis","network":"BRIDGE","port_mappings":[{"host_port":31005,"container_port":6379}]}},"resources":{"ports":"[31005-31005]"}},
			{"id":"own","name":"own","framework_id":"F1","slave_id":"S1",`+running+`,"container":{"network_infos":[{"name":"dcos"}]},"discovery":{"ports":{"ports":[{"number":80,"name":"http"}]}}},
			{"id":"ended","framework_id":"F1","slave_id":"S1","state":"TASK_FINISHED"}]}`)
	}))
	defer server.Close()
	client, err := mesos.NewMaster([]string{server.URL}, mesos.Access{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := (&Master{Client: client}).Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1600000000500).UTC()
	want := Set{Hosts: []string{"n1", "n2"}, Instances: []Instance{
		{ID: "shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1", Task: "shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1", App: "/shop/web", Framework: "marathon",
			Host: "n1", Address: "n1", Image: "nginx:1", Labels: map[string]string{"mesoscope.team": "shop"}, Ports: []Port{{Number: 31000}, {Number: 31001, Name: "admin"}}, Started: at},
		{ID: "bridge", Task: "bridge", App: "br", Framework: "F1", Host: "n2", Address: "n2", Image: "redis", Labels: map[string]string{}, Ports: []Port{{Number: 31005, Container: 6379}}, Started: at},
		{ID: "own", Task: "own", App: "own", Framework: "F1", Host: "n2", Address: "9.0.0.7", Labels: map[string]string{}, Ports: []Port{{Number: 80, Name: "http"}}, Started: at},
	}}
	if !reflect.DeepEqual(set, want) {
		t.Errorf("got\n%+v\nwant\n%+v", set, want)
	}
	if got := ranges("[31000-31001, 31005-31005]"); !reflect.DeepEqual(got, []int{31000, 31001, 31005}) {
		t.Error(got)
	}
	if got := ranges("[1-60000]"); len(got) != maxPorts {
		t.Errorf("%d ports of one task", len(got))
	}
}
