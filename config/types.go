package config

import "time"

// Bytes is a size: 8388608, "8MiB", "10GB".
type Bytes int64

// Duration is a time.Duration that can also be written in days: "90s", "30d".
type Duration time.Duration

// Config is the whole file. Every field has a default that works, see Default.
type Config struct {
	DataDir     string    `yaml:"data_dir"`
	MemoryLimit Bytes     `yaml:"memory_limit"`
	HTTP        HTTP      `yaml:"http"`
	Node        Node      `yaml:"node"`
	Docker      Docker    `yaml:"docker"`
	Mesos       Mesos     `yaml:"mesos"`
	Hold        Hold      `yaml:"hold"`
	Output      Output    `yaml:"output"`
	Collector   Collector `yaml:"collector"`
	Log         Log       `yaml:"log"`

	places map[string]place // where each key that was set got its value
}

// HTTP is where a process answers requests.
type HTTP struct {
	Listen    string `yaml:"listen"`     // host:port
	TLS       TLS    `yaml:"tls"`        //
	TokenFile string `yaml:"token_file"` // a file with the bearer token that requests must carry; "" = none
}

// TLS is a server's certificate.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Node is this machine.
type Node struct {
	Name string `yaml:"name"` // "" = the host's name
}

// Docker says where Docker's files and API are.
type Docker struct {
	Root    string   `yaml:"root"`    // containers/<id>/<id>-json.log lie below it
	Socket  string   `yaml:"socket"`  // "unix:///var/run/docker.sock"; "" = none, files alone
	Exclude []string `yaml:"exclude"` // "name:PATTERN", "image:PATTERN", "label:KEY" or "label:KEY=PATTERN"; PATTERN with * and ?; a bare PATTERN is a name
}

// MesosAuto is the value of mesos.agent that means: look for it.
const MesosAuto = "auto"

// Mesos says where the Mesos agent of this node and, optionally, Marathon are.
type Mesos struct {
	Agent           string   `yaml:"agent"`            // URL; MesosAuto = http://127.0.0.1:5051, then http://$HOST:5051; "" = never look
	Master          []string `yaml:"master"`           // URLs of the masters, for a collector and for who asks where an app is
	Marathon        []string `yaml:"marathon"`         // URLs, for labels of apps that do not reach their tasks
	CredentialsFile string   `yaml:"credentials_file"` // "name secret", "name:secret" or Mesos' own {"principal":…,"secret":…}
	TokenFile       string   `yaml:"token_file"`       // bearer token
	CAFile          string   `yaml:"ca_file"`          // authorities to trust for https, PEM
	Sandboxes       bool     `yaml:"sandboxes"`        // read the sandboxes of tasks without Docker
	ExecutorLines   string   `yaml:"executor_lines"`   // what becomes of lines that Mesos' executors print: ExecutorSeparate, ExecutorKeep or ExecutorDrop
}

// The values of Mesos.ExecutorLines.
const (
	ExecutorSeparate = "separate" // they are a stream of their own
	ExecutorKeep     = "keep"     // they stay among the lines of the task
	ExecutorDrop     = "drop"     // they are counted and dropped
)

// Hold is where log files are kept by hard link until their last line is stored.
type Hold struct {
	Dir     string `yaml:"dir"`      // "" = <docker.root>/mesoscope-hold
	Budget  Bytes  `yaml:"budget"`   // most bytes of files that exist only because they are held
	MinFree string `yaml:"min_free"` // "5%" or a size: below so much free space held files are given up
}

// Output is where lines go; exactly one member is set.
type Output struct {
	Elasticsearch *Elasticsearch `yaml:"elasticsearch"`
	Embedded      *Embedded      `yaml:"embedded"`
}

// Elasticsearch is a cluster of version 8 or 9.
type Elasticsearch struct {
	Hosts            []string `yaml:"hosts"`
	Dataset          string   `yaml:"dataset"`
	Namespace        string   `yaml:"namespace"`
	Username         string   `yaml:"username"`
	PasswordFile     string   `yaml:"password_file"`
	APIKeyFile       string   `yaml:"api_key_file"`
	CAFile           string   `yaml:"ca_file"`
	CertFile         string   `yaml:"cert_file"`
	KeyFile          string   `yaml:"key_file"`
	CompressionLevel int      `yaml:"compression_level"` // gzip, 0 = off
	BulkMaxBytes     Bytes    `yaml:"bulk_max_bytes"`    // before compression
	FlushInterval    Duration `yaml:"flush_interval"`    // the longest that a line waits for company while another bulk is under way
	Workers          int      `yaml:"workers"`           // bulks under way at the same time
	IDs              string   `yaml:"ids"`               // content, auto
	LogsDB           string   `yaml:"logsdb"`            // auto, on, off
	Retention        Duration `yaml:"retention"`
}

// Embedded is the store in one file.
type Embedded struct {
	Path    string   `yaml:"path"`     // "" = <data_dir>/standalone/store.db
	MaxSize Bytes    `yaml:"max_size"` //
	MaxAge  Duration `yaml:"max_age"`  //
}

// Collector is what a collector checks, and for whom.
type Collector struct {
	Cluster        string                `yaml:"cluster"`          // the name in labels of series and alerts
	ChecksFile     string                `yaml:"checks_file"`      // checks by app, host and target; read again when it changes
	TargetsFiles   []string              `yaml:"targets_files"`    // paths of files in the form of Prometheus' file_sd; * in the last part
	LabelTargets   []string              `yaml:"label_targets"`    // networks that labels of apps may point to, "10.1.0.0/16"
	Credentials    map[string]Credential `yaml:"credentials"`      // by the name that checks choose them by
	Exec           Exec                  `yaml:"exec"`             //
	ModulesFile    string                `yaml:"modules_file"`     // a blackbox.yml for /probe; "" = the modules of Debian's blackbox_exporter
	AdminTokenFile string                `yaml:"admin_token_file"` // a file with the token that may change the overlay by HTTP; "" = nobody may
	URL            string                `yaml:"url"`              // how people reach the collector; stands in alerts
	Alertmanager   []string              `yaml:"alertmanager"`     // URLs; each gets all alerts
	// AlertmanagerCredentialsFile holds a name and a password for all of them.
	AlertmanagerCredentialsFile string `yaml:"alertmanager_credentials_file"`
	Nagios                      Nagios `yaml:"nagios"`
}

// Nagios says where passive results go.
type Nagios struct {
	NRDP        string `yaml:"nrdp"`         // a URL
	TokenFile   string `yaml:"token_file"`   // a file with the token of NRDP
	CommandFile string `yaml:"command_file"` // the named pipe of Nagios on this machine
}

// Credential is a name and a password for checks of some apps.
type Credential struct {
	Apps         []string `yaml:"apps"` // patterns of ids, "/prod/*"
	Username     string   `yaml:"username"`
	PasswordFile string   `yaml:"password_file"`
}

// Exec says which programs checks may start.
type Exec struct {
	Allow string `yaml:"allow"` // the folder below which they are; "" = none may
	User  string `yaml:"user"`  // whom they run as; "" = nobody if the collector is root, else as the collector
}

// Log is how the process speaks about itself, on stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}
