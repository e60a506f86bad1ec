package checks

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// smtp speaks first, then answers QUIT.
func smtp(c net.Conn) {
	io.WriteString(c, "220 mail ready\r\n")
	if line, _ := bufio.NewReader(c).ReadString('\n'); line == "QUIT\r\n" {
		io.WriteString(c, "221 bye\r\n")
	}
}

func TestTCP(t *testing.T) {
	good := issue(t, "127.0.0.1", time.Now().Add(90*24*time.Hour))
	soon := issue(t, "127.0.0.1", time.Now().Add(5*24*time.Hour))
	mail := opt("await", "^220 ", "send", `QUIT\r\n`, "await", "^221 ")
	trials := append(withForm(t, "%s", broken(opt("send", "hello", "await", "^2")))[:3], []trial{
		{name: "connects", serve: silent, text: "connected to 127.0.0.1:"},
		{name: "dialogue", serve: smtp, options: mail, text: `"221 bye"`},
		{name: "dialogue over TLS", serve: overTLS(good, smtp), options: opt("tls", "true", "ca-file", good.caFile, "await", "^220", "send", `QUIT\r\n`, "await", "^221")},
		{name: "ask first", serve: func(c net.Conn) {
			if line, _ := bufio.NewReader(c).ReadString('\n'); line == "PING\n" {
				io.WriteString(c, "PONG\n")
			}
		}, options: opt("send", `PING\n`, "await", "^PONG", "expect", "[BODY] == PONG")},
		{name: "send alone", serve: silent, options: opt("send", `a\x00`)},
		{name: "two turns, other side first", serve: smtp, options: opt("await-first", "true", "await", "^220", "send", `QUIT\r\n`)},
		{name: "other answer", serve: func(c net.Conn) { io.WriteString(c, "554 go away\r\n") }, options: mail, want: Critical, signal: "answer", text: `"554 go away`},
		{name: "half an answer", serve: func(c net.Conn) { io.WriteString(c, "2"); silent(c) }, options: opt("await", "^220", "timeout", "200ms"), want: Critical, signal: "answer"},
		{name: "huge", serve: func(c net.Conn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		}, options: opt("await", "^220"), want: Critical, signal: "protocol", text: "larger than 64 KiB"},
		{name: "huge over TLS", serve: overTLS(good, func(c net.Conn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		}), options: opt("await", "^220", "tls", "true", "insecure", "true"), want: Critical, signal: "protocol", text: "larger than 64 KiB"},
		{name: "certificate", serve: overTLS(good, silent), options: opt("tls", "true"), want: Critical, signal: "certificate"},
		{name: "certificate soon", serve: overTLS(soon, silent), options: opt("tls", "true", "ca-file", soon.caFile), want: Critical, signal: "certificate_days"},
		{name: "no tls", serve: smtp, options: opt("tls", "true", "insecure", "true"), want: Critical, signal: "protocol"},
		{name: "no port", address: "host", want: Unknown, signal: "options", text: "no port"},
		{name: "no such name", address: "no-such-host.invalid:1", want: Critical, signal: "connect"},
		{name: "bad escape", address: "127.0.0.1:1", options: opt("send", `a\q`), want: Unknown, signal: "options", text: `--send: "\\q"`},
		{name: "bad pattern", address: "127.0.0.1:1", options: opt("await", `(`), want: Unknown, signal: "options", text: "--await"},
		{name: "bad timeout", address: "127.0.0.1:1", options: opt("timeout", `5`), want: Unknown, signal: "options", text: "--timeout"},
		{name: "bad limit", address: "127.0.0.1:1", options: opt("warning", `tme=5`), want: Unknown, signal: "options", text: `--warning: tcp measures no "tme"`},
		{name: "unknown option", address: "127.0.0.1:1", options: opt("bla", ``), want: Unknown, signal: "options", text: `--bla`},
	}...)
	testKind(t, "tcp", "%s", trials)
}

func TestTLS(t *testing.T) {
	good := issue(t, "127.0.0.1", time.Now().Add(90*24*time.Hour))
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: overTLS(good, silent), options: opt("ca-file", good.caFile), text: "TLS 1.3, certificate of", metrics: "certificate_days=89.9 addresses=1"},
		{name: "soon", serve: overTLS(soon, silent), options: opt("ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "self-signed", serve: overTLS(good, silent), want: Critical, signal: "certificate", text: "unknown authority"},
		{name: "missing CA file", address: "host", options: opt("ca-file", "/nope"), want: Unknown, signal: "options", text: "--ca-file"},
		{name: "HTTP", serve: answer(400, "plain"), options: opt("ca-file", good.caFile), want: Critical, signal: "protocol", text: "does not speak TLS"},
	}...)
	testKind(t, "tls", "%s", trials)
}
