package declare

import (
	"fmt"
	"net/netip"
	"regexp"
)

// labelOptions are the options of kinds that a label may set: what concerns
// only the instance itself. A test makes sure that each option of each kind is
// either here or in refusedOptions.
var labelOptions = map[string]bool{
	"timeout": true, "expect": true, "warning": true, "critical": true,
	"tls": true, "insecure": true, "servername": true,
	"method": true, "header": true, "data": true, "match": true, "no-match": true, "match-header": true, "no-redirects": true,
	"send": true, "await": true, "await-first": true,
	"type": true, "answer": true, "tcp": true,
	"service": true, "role": true, "standbys": true, "archive": true, "heartbeat": true,
	"brokers": true, "topic": true, "mechanism": true,
	"followers": true, "nodes": true, "quorum-read": true,
	"jolokia": true, "admin-port": true, // another port of the instance: see ownPort
	"app": true, "executors": true, "workers": true, "namespace": true, "job": true, "tolerance": true,
}

// refusedOptions are those that reach further, and how.
var refusedOptions = map[string]string{
	"ca-file":       "it names a file of the collector's machine",
	"username":      "choose from collector.credentials with .credentials",
	"password-file": "choose from collector.credentials with .credentials",
	"token-file":    "choose from collector.credentials with .credentials",
	"server":        "a label's check asks its own instance",
	"group":         "it asks the brokers that Kafka names, whoever they are",
	"dashboard":     "it asks another address",
	"socket":        "it names a file of the collector's machine",
	"env":           "programs are started from checks.yml only",
	"mount-point":   "it looks at the collector's machine",
	"source":        "it looks at the collector's machine",
	"fstype":        "it looks at the collector's machine",
	"read-only":     "it looks at the collector's machine",
	"canary":        "it writes",
}

// portOptions are options that name another port of the instance.
var portOptions = map[string]bool{"jolokia": true, "admin-port": true}

// refusedKinds are those that a label cannot ask for.
var refusedKinds = map[string]string{
	"exec":   "programs are started from checks.yml only",
	"docker": "it runs where the container is, which this version does not do",
	"volume": "it runs where the volume is, which this version does not do",
}

// expansion is what is replaced in the configuration, and never in labels.
var expansion = regexp.MustCompile(`\$\{[^}]*\}`)

// mayPointTo says whether a label may name a host: an address that
// collector.label_targets has. A name could be another address a moment later.
func (o *Options) mayPointTo(host string) error {
	ip, err := netip.ParseAddr(host)
	if err == nil {
		for _, p := range o.LabelTargets {
			if p.Contains(ip.Unmap()) {
				return nil
			}
		}
	}
	if len(o.LabelTargets) == 0 {
		return fmt.Errorf("a label's check reaches its own instance only (collector.label_targets can open more)")
	}
	return fmt.Errorf("%s is no IP address in collector.label_targets", host)
}
