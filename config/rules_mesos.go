package config

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

func (r *reader) checkMesos(m *Mesos) {
	if m.Agent != "" && m.Agent != MesosAuto {
		r.serverURL("mesos.agent", m.Agent, "5051", "mesos.credentials_file")
	}
	for i, u := range m.Master {
		r.serverURL("mesos.master["+strconv.Itoa(i)+"]", u, "5050", "mesos.credentials_file")
	}
	for i, u := range m.Marathon {
		r.serverURL("mesos.marathon["+strconv.Itoa(i)+"]", u, "8080", "mesos.credentials_file")
	}
	if m.Agent == "" && len(m.Marathon) == 0 && len(m.Master) == 0 {
		for key, path := range map[string]string{"mesos.credentials_file": m.CredentialsFile, "mesos.token_file": m.TokenFile, "mesos.ca_file": m.CAFile} {
			if path != "" {
				r.fail(key, "has no effect because nobody is asked; set mesos.agent, or remove it")
			}
		}
	}
	switch m.ExecutorLines {
	case ExecutorSeparate, ExecutorKeep, ExecutorDrop:
	default:
		r.fail("mesos.executor_lines", "%q is none of separate, keep, drop", m.ExecutorLines)
	}
	if r.readable("mesos.credentials_file", &m.CredentialsFile) {
		if m.TokenFile != "" {
			r.fail("mesos.credentials_file", "and mesos.token_file are both set; remove one")
		} else if _, _, err := Credentials(m.CredentialsFile); err != nil {
			r.fail("mesos.credentials_file", "%v", err)
		}
	}
	if r.readable("mesos.token_file", &m.TokenFile) {
		if token, err := Secret(m.TokenFile); err != nil {
			r.fail("mesos.token_file", "%v", err)
		} else if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.fail("mesos.token_file", "%s holds more than one word; write the token alone, without Bearer", m.TokenFile)
		}
	}
	if r.readable("mesos.ca_file", &m.CAFile) {
		pem, err := os.ReadFile(m.CAFile)
		if err != nil {
			r.fail("mesos.ca_file", "%v", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			r.fail("mesos.ca_file", "%s holds no certificate in PEM form", m.CAFile)
		}
	}
}

// serverURL refuses what is not http(s)://host[:port][/path]. secrets is the key
// for what does not belong into a URL.
func (r *reader) serverURL(key, text, port, secrets string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		r.fail(key, "%q is not a URL of a server; write http://HOST:%s or https://HOST:%s", hidePassword(text), port, port)
	case u.User != nil:
		r.fail(key, "a user or password stands in the URL; write it into a file and set %s", secrets)
	case u.RawQuery != "" || u.Fragment != "":
		r.fail(key, "%q has more than a server and a path; cut it at the ? or #", text)
	case u.Port() != "" && !validPort(u.Port()):
		r.fail(key, "%q has no valid port; write a number from 1 to 65535", text)
	}
}

// Credentials reads a name and a secret for basic authentication from a file:
// "name secret" or {"principal":…,"secret":…}, which are the forms of Mesos' own
// --credential file, or "name:secret".
func Credentials(path string) (name, secret string, err error) {
	text, err := Secret(path)
	if err != nil {
		return "", "", err
	}
	if strings.HasPrefix(text, "{") {
		var v struct{ Principal, Secret string }
		if json.Unmarshal([]byte(text), &v) != nil || v.Principal == "" || v.Secret == "" {
			return "", "", fmt.Errorf(`%s is not {"principal": "NAME", "secret": "SECRET"}`, path) // what stands there is secret
		}
		return v.Principal, v.Secret, nil
	}
	i := strings.IndexAny(text, ": \t")
	if i <= 0 || strings.TrimSpace(text[i+1:]) == "" || strings.ContainsAny(text, "\r\n") {
		return "", "", errors.New(path + " does not hold a name and a secret in one line; write NAME:SECRET")
	}
	return text[:i], strings.TrimSpace(text[i+1:]), nil
}
