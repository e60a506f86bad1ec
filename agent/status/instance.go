package status

import "time"

// InstancesPath is where a list of Instance is served: every container here.
const InstancesPath = "/api/v1/instances"

// An Instance is one container of an app, and where it is. Not every source
// knows all of it: what is not known is empty.
type Instance struct {
	App       string    `json:"app"` // service.name
	Node      string    `json:"node"`
	Framework string    `json:"framework,omitempty"`
	Task      string    `json:"task,omitempty"`
	Container string    `json:"container,omitempty"` // its name
	ID        string    `json:"id,omitempty"`        // of the container
	Image     string    `json:"image,omitempty"`
	Version   string    `json:"version,omitempty"` // of the app
	Running   bool      `json:"running"`
	State     string    `json:"state,omitempty"` // as its source says it: "Up 3 hours (healthy)", "TASK_RUNNING"
	Since     time.Time `json:"since,omitzero"`  // when it was made
	Ports     []string  `json:"ports,omitempty"` // "31000->80/tcp"; "31000" of a container in the host's network
	Lines     float64   `json:"lines_per_second"`
}
