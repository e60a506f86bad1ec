package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var kubernetesKind = Kind{
	Summary: "Kubernetes: the API server is ready, each of its own checks, nodes, pods that wait or crash",
	Target:  "URL",
	Example: `check kubernetes https://k8s.example.net:6443 --token-file /etc/mesoscope/k8s --ca-file /etc/mesoscope/k8s-ca.pem --namespace shop`,
	Options: slices.Concat([]Option{
		{Name: "token-file", Placeholder: "FILE", Help: "File with a bearer token; it needs to list nodes, and pods with --namespace.", parse: parse(readSecret)},
		{Name: "nodes", Placeholder: "N", Help: "How many nodes must be ready.", parse: parseCount},
		{Name: "namespace", Placeholder: "NAME", Help: "Look at the pods of this namespace, too.", parse: parse(parseNamespace)},
	}, tlsOptions),
	Metrics: []Limits{
		{Name: "nodes", Help: "nodes"},
		{Name: "not_ready", Help: "nodes that are not ready, but those that somebody has cordoned", Warning: "0"},
		{Name: "cordoned", Help: "nodes that take no new pods because somebody said so"},
		{Name: "pods", Help: "--namespace: pods"},
		{Name: "pending", Help: "--namespace: pods that wait for more than 5 minutes", Warning: "0"},
		{Name: "crashing", Help: "--namespace: pods that crash again and again, or whose image cannot be had", Warning: "0"},
		certificateLimits,
	},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"credentials", Critical, "the token is refused"},
		{"status", Critical, "an HTTP status other than 200"},
		{"ready", Critical, "the API server is not ready; the checks of its own that fail are named"},
		{"missing_nodes", Critical, "fewer ready nodes than --nodes"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: kubernetesURL,
	check:   checkKubernetes,
}

// kubernetesURL reads a base URL; a bare host[:port] means https and 6443.
func kubernetesURL(s string) (string, error) {
	if !strings.Contains(s, "://") {
		address, err := hostPort(6443)(s)
		if err != nil {
			return "", err
		}
		s = "https://" + address
	}
	return baseURL("8080")(s)
}

// checkKubernetes asks for what costs the API server little: its own checks,
// and tables, which are a hundredth of the objects' size.
func checkKubernetes(ctx context.Context, t Target) (r Result) {
	if !r.askReady(ctx, t) {
		return r
	}
	nodes, ok := r.askTable(ctx, t, "/api/v1/nodes")
	if !ok {
		return r
	}
	r.judgeKubernetesNodes(t, nodes)
	if namespace := value[string](t, "namespace"); namespace != "" {
		if pods, ok := r.askTable(ctx, t, "/api/v1/namespaces/"+url.PathEscape(namespace)+"/pods"); ok {
			r.judgePods(namespace, pods)
		}
	}
	return r
}

// kubernetesGet is one request, answered by 200 or one of the other statuses.
func (r *Result) kubernetesGet(ctx context.Context, t Target, path, accept string, also ...int) (page, bool) {
	u, err := url.Parse(t.Address + path)
	if err != nil {
		r.find(Unknown, "options", "TARGET: %v", err)
		return page{}, false
	}
	q := request{method: http.MethodGet, url: u, header: http.Header{"User-Agent": {userAgent}, "Accept": {accept}}, most: maxJSON}
	token := value[string](t, "token-file")
	if token != "" {
		q.header.Set("Authorization", "Bearer "+token)
	}
	path = u.Path
	p, err := fetch(ctx, r, t, q)
	if err != nil {
		r.failed(t, err, "asking for "+path)
		return p, false
	}
	r.facts.status, r.Evidence.Status = p.status, p.status
	r.answer(p.body)
	switch {
	case p.status == http.StatusOK && p.cut:
		r.find(Critical, "protocol", "%s: the answer is larger than %s", path, size(maxJSON))
	case p.status == http.StatusOK || slices.Contains(also, p.status):
		return p, true
	case p.status == http.StatusUnauthorized && token != "":
		r.find(Critical, "credentials", "the token is refused: %s answers %s", path, p.statusText)
	case p.status == http.StatusUnauthorized || p.status == http.StatusForbidden:
		r.Text = strings.TrimPrefix(r.Text+", ", ", ") + path + " may not be read, its signals are not"
	default:
		r.find(Critical, "status", "%s answers %s", path, p.statusText)
	}
	return p, false
}

// askReady asks /readyz, or /healthz of a server that is older than 1.16. Each
// line is one of the server's own checks: "[+]etcd ok", "[-]etcd failed: …".
func (r *Result) askReady(ctx context.Context, t Target) bool {
	for _, path := range []string{"/readyz", "/healthz"} {
		p, ok := r.kubernetesGet(ctx, t, path+"?verbose", "text/plain, */*", http.StatusNotFound, http.StatusInternalServerError)
		switch {
		case !ok && (p.status == http.StatusUnauthorized || p.status == http.StatusForbidden) && len(r.Findings) == 0:
			r.say("alive, token needed, signals not read")
			return false
		case !ok:
			return false
		case p.status == http.StatusNotFound:
			continue
		}
		good, bad := readyLines(string(p.body))
		if good == 0 && len(bad) == 0 {
			r.find(Critical, "protocol", "%s: the answer is not that of Kubernetes", path)
			return false
		}
		r.say("ready, %d checks of its own", good)
		if p.status != http.StatusOK || len(bad) > 0 {
			r.find(Critical, "ready", "the API server is not ready: %s", firstOf(bad))
		}
		return true
	}
	r.find(Critical, "protocol", "there is neither /readyz nor /healthz")
	return false
}

func readyLines(text string) (good int, bad []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[+]") {
			good++
		} else if name, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ = strings.Cut(name, " ")
			bad = append(bad, oneLine(name))
		}
	}
	return good, bad
}

// A kubernetesTable is what kubectl prints, by the names of its columns.
type kubernetesTable []row

const maxTablePages = 40

// askTable reads all pages of a list as a table.
func (r *Result) askTable(ctx context.Context, t Target, path string) (kubernetesTable, bool) {
	var out kubernetesTable
	next := ""
	for range maxTablePages {
		p, ok := r.kubernetesGet(ctx, t, path+"?limit=500&includeObject=None&continue="+url.QueryEscape(next), "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io")
		if !ok {
			return nil, false
		}
		var page struct {
			Kind     string
			Metadata struct {
				Continue string `json:"continue"`
			}
			Columns []struct{ Name string } `json:"columnDefinitions"`
			Rows    []struct{ Cells []any }
		}
		if err := json.Unmarshal(p.body, &page); err != nil || page.Kind != "Table" {
			r.find(Critical, "protocol", "%s: the answer is no table of Kubernetes", path)
			return nil, false
		}
		for _, cells := range page.Rows {
			w := row{}
			for i, c := range cells.Cells {
				if i < len(page.Columns) {
					w[page.Columns[i].Name] = fmt.Sprint(c)
				}
			}
			out = append(out, w)
		}
		if next = page.Metadata.Continue; next == "" {
			break
		}
	}
	return out, true
}

func (r *Result) judgeKubernetesNodes(t Target, nodes kubernetesTable) {
	var bad []string
	ready, cordoned := 0, 0
	for _, n := range nodes {
		states := strings.Split(n["Status"], ",") // Ready,SchedulingDisabled
		set := slices.Contains(states, "SchedulingDisabled")
		cordoned += boolInt(set)
		if slices.Contains(states, "Ready") {
			ready++
		} else if !set { // a cordoned one is being worked on
			bad = append(bad, n["Name"])
		}
	}
	r.measure("nodes", float64(len(nodes)), "")
	r.measure("not_ready", float64(len(bad)), "").about = fmt.Sprintf("%d nodes are not ready: %s", len(bad), firstOf(bad))
	r.measure("cordoned", float64(cordoned), "")
	r.Text += fmt.Sprintf(", %d of %d nodes ready", ready, len(nodes))
	if want := value[int](t, "nodes"); ready < want {
		r.find(Critical, "missing_nodes", "%d nodes are ready, wanted %d", ready, want)
	}
}

func (r *Result) judgePods(namespace string, pods kubernetesTable) {
	var pending, crashing []string
	for _, p := range pods {
		name := p["Name"] + " (" + p["Status"] + ")"
		status, starting := strings.CutPrefix(p["Status"], "Init:") // 0/1, or as below
		if starting && strings.Contains(status, "/") {
			status = "Pending"
		}
		switch status {
		case "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "Error", "OOMKilled":
			crashing = append(crashing, name)
		case "Pending", "ContainerCreating", "PodInitializing":
			if olderThan5Minutes(p["Age"]) {
				pending = append(pending, name)
			}
		}
	}
	r.measure("pods", float64(len(pods)), "")
	r.measure("pending", float64(len(pending)), "").about = fmt.Sprintf("%d pods of %s wait for long: %s", len(pending), namespace, firstOf(pending))
	r.measure("crashing", float64(len(crashing)), "").about = fmt.Sprintf("%d pods of %s do not come up: %s", len(crashing), namespace, firstOf(crashing))
	r.Text += fmt.Sprintf(", %d pods in %s", len(pods), namespace)
}

// olderThan5Minutes reads an age as people see it: 47s, 4m12s, 38m, 5d3h.
func olderThan5Minutes(age string) bool {
	digits := strings.IndexFunc(age, func(c rune) bool { return c < '0' || c > '9' })
	if digits <= 0 {
		return false
	}
	var n int
	fmt.Sscan(age[:digits], &n)
	switch age[digits] {
	case 's':
		return n > 300
	case 'm':
		return n >= 5
	}
	return true
}

func parseNamespace(s string) (string, error) {
	if s == "" || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("%q is no name of a namespace", s)
	}
	return s, nil
}
