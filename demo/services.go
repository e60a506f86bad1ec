package demo

import (
	"time"

	"mesoscope/internal/jsonfile"
)

// A service says what a container is and what runs in it. Most are started by
// Marathon (app), one by Chronos (job), the others by docker run or compose.
type service struct {
	app     string // Marathon app id
	job     string // Chronos job name: short-lived containers instead of one
	name    string // of the container; "" = mesos-<uuid>, as the Mesos agent names it
	image   string
	cmd     []string
	labels  map[string]string
	env     []string
	tty     bool
	attrs   bool             // the log driver repeats app and task on each entry
	log     jsonfile.Options // where MaxSize is 1_000_000 the sizes of past are such that it rotates soon
	past    time.Duration    // how long the container has been up when the demo begins
	program func() func(*process) time.Duration
}

// services are all of them. Each is there for something that log agents get wrong.
var services = map[string]service{
	"edge": { // unlinks its only file when it is full: what was not held is gone
		app: "/shop/edge", image: "nginx:1.27-alpine", cmd: []string{"nginx", "-g", "daemon off;"},
		labels: map[string]string{"maintainer": "NGINX Docker Maintainers", "team": "platform"},
		log:    jsonfile.Options{MaxSize: 1_000_000, MaxFile: 1}, past: 15 * time.Minute, program: edge,
	},
	"recommender": { // a chatty neighbour; rotation by rename
		app: "/shop/recommender", image: "registry.example.com/shop/recommender:0.9.1", cmd: []string{"/recommender", "--log-level=debug"},
		labels: map[string]string{"team": "data"},
		log:    jsonfile.Options{MaxSize: 1_000_000, MaxFile: 3}, past: 15 * time.Minute, program: recommender,
	},
	"tracker": { // another one; rotated files are gzipped
		app: "/ads/tracker", image: "registry.example.com/ads/tracker:5.0.2", cmd: []string{"/tracker"},
		labels: map[string]string{"team": "ads"},
		log:    jsonfile.Options{MaxSize: 1_000_000, MaxFile: 3, Compress: true}, past: 15 * time.Minute, program: tracker,
	},
	"checkout": { // JSON lines; a secret in the environment that nobody may ever see
		app: "/shop/checkout", image: "registry.example.com/shop/checkout:2.14.3", cmd: []string{"node", "server.js"},
		labels: map[string]string{"team": "payments", "mesoscope.demo": "true"},
		env:    []string{"NODE_ENV=production", "DATABASE_PASSWORD=correct-horse-battery-staple"},
		past:   15 * time.Minute, program: checkout,
	},
	"payment": { // Java: crashes with a stack trace, leaves a line unfinished, and is started again in the same file
		app: "/shop/payment", image: "registry.example.com/shop/payment:1.8.0", cmd: []string{"java", "-jar", "/app/payment.jar"},
		labels: map[string]string{"team": "payments"}, past: 10 * time.Minute, program: payment,
	},
	"inventory": { // everything on stderr, app and task on each entry
		app: "/shop/inventory", image: "registry.example.com/shop/inventory:3.2.0", cmd: []string{"/inventory", "-logtostderr"},
		labels: map[string]string{"team": "logistics"}, attrs: true, past: 15 * time.Minute, program: inventory,
	},
	"search": { // a line of 40 KiB now and then
		app: "/shop/search", image: "registry.example.com/shop/search:1.1.7", cmd: []string{"python", "-u", "indexer.py"},
		labels: map[string]string{"team": "search"}, past: 10 * time.Minute, program: search,
	},
	"mailer": { // many alphabets, emoji
		app: "/shop/mailer", image: "registry.example.com/shop/mailer:4.4.4", cmd: []string{"/mailer"},
		labels: map[string]string{"team": "crm"}, past: 10 * time.Minute, program: mailer,
	},
	"comments": { // a terminal: colours, carriage returns, and text from strangers
		name: "comments_web_1", image: "registry.example.com/community/comments:latest", cmd: []string{"rails", "server"}, tty: true,
		labels: map[string]string{"com.docker.compose.project": "community", "com.docker.compose.service": "comments", "com.docker.compose.container-number": "1"},
		past:   10 * time.Minute, program: comments,
	},
	"redis": { // a plain docker run
		name: "cart-redis", image: "redis:7.4", cmd: []string{"redis-server", "--save", "60", "1"},
		past: 15 * time.Minute, program: redis,
	},
	"cleanup": { // lives for milliseconds, ends without a newline, is removed soon
		job: "cleanup-carts", image: "registry.example.com/shop/tools:12", cmd: []string{"/bin/sh", "-c", "cleanup-carts"},
		labels: map[string]string{"team": "platform"}, program: cleanup,
	},
}
