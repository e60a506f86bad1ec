package mesos

import (
	"strings"
	"testing"
)

func TestContainerName(t *testing.T) {
	const id = "f67a5e0b-91f9-474a-94a0-e2c6a3b28ea4"
	f := func(name, agent, container string) {
		t.Helper()
		n, ok := ParseContainerName(name)
		if n.AgentID != agent || n.ContainerID != container || n.Executor != strings.HasSuffix(name, ".executor") || ok != (container != "") {
			t.Errorf("%s: %+v %v", name, n, ok)
		}
	}
	f("mesos-"+id, "", id)
	f("mesos-"+id+".executor", "", id)
	f("mesos-f424a2df-b0c6-4236-be61-f85288c1b1bb-S0."+id, "f424a2df-b0c6-4236-be61-f85288c1b1bb-S0", id)
	f("mesos-f424a2df-b0c6-4236-be61-f85288c1b1bb-S12."+id+".executor", "f424a2df-b0c6-4236-be61-f85288c1b1bb-S12", id)
	f("mesos-20150410-134224-16777343-5050-1778-S0."+id, "20150410-134224-16777343-5050-1778-S0", id)
	for _, other := range []string{"", "mesos-", "mesos-slave", "mesos-dns." + id, "web", "x-mesos-" + id, "mesos-" + id + ".other", "mesos-" + id[1:]} {
		f(other, "", "")
	}
}

func TestParseSandbox(t *testing.T) {
	f := func(path string, want Sandbox) {
		t.Helper()
		if got, ok := ParseSandbox(path); got != want || ok != (want != Sandbox{}) {
			t.Errorf("%s: %+v %v", path, got, ok)
		}
	}
	f("/var/lib/mesos/agent/slaves/S0/frameworks/F/executors/web_sick.4444/runs/C", Sandbox{"S0", "F", "web_sick.4444", "C"})
	f("/data/slaves/x/mesos/slaves/S0/frameworks/F/executors/e/runs/C/", Sandbox{"S0", "F", "e", "C"})
	f("/tmp/mesos/slaves/S0/docker/links/C", Sandbox{AgentID: "S0", ContainerID: "C"})
	f("/var/lib/mesos/slaves/S0/frameworks/F/executors/e/runs/C/containers/N", Sandbox{})
	f("/var/lib/mesos", Sandbox{})
	f("", Sandbox{})
}

func TestParseTaskID(t *testing.T) {
	const u = "c7c311a4-b669-11e6-a48f-0ea4f4b1778c"
	f := func(id string, want TaskName) {
		t.Helper()
		if got, ok := ParseTaskID(id); got != want || ok != (want != TaskName{}) {
			t.Errorf("%s: %+v %v", id, got, ok)
		}
	}
	sure := func(s Scheduler, app string) TaskName { return TaskName{s, app, true} }
	f("web_sick."+u, TaskName{Marathon, "/web/sick", false})
	f("prod_db_redis-1."+u+".3", TaskName{Marathon, "/prod/db/redis-1", false})
	f("web_front.end.instance-"+u+"._app.1", sure(Marathon, "/web/front.end"))
	f("web.instance-"+u+"._app", sure(Marathon, "/web"))
	f("web.marathon-"+u+"._app", sure(Marathon, "/web"))
	f("pods_mypod.instance-"+u+".c1.1", sure(Marathon, "/pods/mypod"))
	f("pods_mypod.instance-"+u+".side-car", sure(Marathon, "/pods/mypod"))
	f("instance-pods_mypod."+u, sure(Marathon, "/pods/mypod"))
	f("nightly_20171024130149pqrTW."+u, sure(Metronome, "nightly"))
	f("team_nightly_20171024130149pqrTW.instance-"+u+"._app.1", sure(Metronome, "team.nightly"))
	f("ct:1420070400000:0:nightly-job:", sure(Chronos, "nightly-job"))
	f("ct:1420070400000:2:a b:--x y:z", sure(Chronos, "a b"))
	f("www-data-prod-hello-world-12-"+u, sure(Aurora, "www-data/prod/hello-world"))
	f("1420070400000-role-staging2-job-0-"+u, sure(Aurora, "role/staging2/job"))
	f("thermos-role-devel-job-0-"+u, sure(Aurora, "role/devel/job"))
	f("my-request-deploy7-1420070400000-1-host_example_com-rack", TaskName{Singularity, "my-request", false})
	for _, other := range []string{"", "web", u, "hello." + u[1:], "ct:x:0:job:", "node-0-server__" + u, "a-b-c-d"} {
		f(other, TaskName{})
	}
}
