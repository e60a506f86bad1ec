package checks

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// table is a page of a list: columns, then rows, lines and bars apart.
func table(next string, lines ...string) string {
	var b strings.Builder
	b.WriteString(`{"kind":"Table","metadata":{"continue":"` + next + `"},"columnDefinitions":[`)
	for i, c := range strings.Split(lines[0], "/") {
		b.WriteString(strings.Repeat(",", min(i, 1)) + `{"name":"` + c + `"}`)
	}
	b.WriteString(`],"rows":[`)
	for i, l := range lines[1:] {
		b.WriteString(strings.Repeat(",", min(i, 1)) + `{"cells":["` + strings.ReplaceAll(l, "~", `","`) + `"]}`)
	}
	return b.String() + "]}"
}

const readyz = "[+]ping ok\n[+]log ok\n[+]etcd ok\nreadyz check passed\n"

func TestKubernetes(t *testing.T) {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	const nodes, pods, podColumns = "/api/v1/nodes", "/api/v1/namespaces/shop/pods", "Name/Ready/Status/Restarts/Age"
	good := table("", "Name/Status/Roles/Age", "n1~Ready~<none>~5d", "n2~Ready,SchedulingDisabled~<none>~5d", "n3~NotReady,SchedulingDisabled~<none>~5d")
	with := func(nodePage string, podLines ...string) map[string]string {
		return map[string]string{"/readyz": readyz, nodes: nodePage, pods: table("", append([]string{podColumns}, podLines...)...)}
	}
	paged := web(func(w io.Writer, q *http.Request) {
		switch {
		case q.URL.Path != nodes:
			reply(w, 200, readyz)
		case q.URL.Query().Get("continue") == "":
			reply(w, 200, table("more=", "Name/Status", "n1~Ready"))
		default:
			reply(w, 200, table("", "Name/Status", "n2~NotReady"))
		}
	})
	tokens := web(func(w io.Writer, q *http.Request) {
		switch q.Header.Get("Authorization") {
		case "":
			reply(w, 403, "no")
		case "Bearer s3cret":
			reply(w, 200, map[bool]string{true: good, false: readyz}[q.URL.Path == nodes])
		default:
			reply(w, 401, "no")
		}
	})
	shop := opt("namespace", "shop")
	trials := append(withForm(t, "http://%s", broken(nil)), []trial{
		{name: "good", serve: site(with(good)), text: "ready, 3 checks of its own, 2 of 3 nodes ready", metrics: "nodes=3 not_ready=0;0 cordoned=2"},
		{name: "older than 1.16", serve: site(map[string]string{"/healthz": readyz, nodes: good}), text: "2 of 3 nodes ready"},
		{name: "pods", serve: site(with(good, "a~1/1~Running~0~5d", "b~0/1~Completed~0~5d", "c~0/1~Pending~0~4m59s", "d~0/1~Init:0/1~0~20s")), options: shop, text: "4 pods in shop", metrics: "pods=4 pending=0;0 crashing=0;0"},
		{name: "pods wait", serve: site(with(good, "a~0/1~Pending~0~5m", "b~0/1~Init:0/2~0~3h", "c~0/1~ContainerCreating~0~301s")), options: shop, want: Warning, signal: "pending", text: "3 pods of shop wait for long: a (Pending), b (Init:0/2), c"},
		{name: "pods crash", serve: site(with(good, "a~0/1~CrashLoopBackOff~99 (3m ago)~5d", "b~0/1~Init:ImagePullBackOff~0~1s")), options: shop, want: Warning, signal: "crashing", text: "2 pods of shop do not come up: a (CrashLoopBackOff), b (Init:ImagePullBackOff)"},
		{name: "not ready", serve: site(map[string]string{"/readyz": "500 [+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed", nodes: good}), want: Critical, signal: "ready", text: "the API server is not ready: etcd"},
		{name: "a node is not ready", serve: site(with(table("", "Name/Status", "n1~Ready", "n2~NotReady"))), want: Warning, signal: "not_ready", text: "1 nodes are not ready: n2"},
		{name: "pages", serve: paged, want: Warning, signal: "not_ready", metrics: "nodes=2"},
		{name: "missing nodes", serve: site(with(good)), options: opt("nodes", "3"), want: Critical, signal: "missing_nodes", text: "2 nodes are ready, wanted 3"},
		{name: "nodes not to be read", serve: site(map[string]string{"/readyz": readyz, nodes: "403 no"}), text: "/api/v1/nodes may not be read"},
		{name: "token needed", serve: tokens, text: "alive, token needed"},
		{name: "token", serve: tokens, options: opt("token-file", secretFile(t, "s3cret")), text: "2 of 3 nodes"},
		{name: "token refused", serve: tokens, options: opt("token-file", secretFile(t, "other")), want: Critical, signal: "credentials"},
		{name: "neither page", serve: site(nil), want: Critical, signal: "protocol", text: "neither"},
		{name: "another site", serve: site(map[string]string{"/readyz": "<html>ok"}), want: Critical, signal: "protocol"},
		{name: "no table", serve: site(map[string]string{"/readyz": readyz, nodes: `{"kind":"NodeList"}`}), want: Critical, signal: "protocol", text: "no table"},
		{name: "503", serve: site(map[string]string{"/readyz": "503 no"}), want: Critical, signal: "status"},
		{name: "huge", serve: site(map[string]string{"/readyz": strings.Repeat("x", maxJSON+10)}), want: Critical, signal: "protocol", text: "larger than 8 MiB"},
		{name: "slow", serve: func(c net.Conn) {
			for _, b := range "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 60) {
				if _, err := io.WriteString(c, string(b)); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "tls", address: "https://%s", serve: overTLS(soon, site(with(good))), options: opt("ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "bare address is TLS", address: "%s", serve: overTLS(soon, site(with(good))), want: Critical, signal: "certificate", text: "unknown authority"},
		{name: "bad namespace", address: "host", options: opt("namespace", "../x"), want: Unknown, signal: "options", text: "--namespace"},
	}...)
	testKind(t, "kubernetes", "http://%s", trials)
	if address, err := kubernetesURL("host"); address != "https://host:6443" || err != nil {
		t.Error(address, err)
	}
}
