package checks

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A kafkaFake answers requests by their key; a missing one ends the connection.
type kafkaFake map[int16]func(version int16, in *kafkaReader, out *kafkaWriter)

func (f kafkaFake) serve(c net.Conn) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:])&0xfffff)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		in := &kafkaReader{b: body}
		key, version, id := in.int16(), in.int16(), in.int32()
		_ = in.string()
		out := &kafkaWriter{0, 0, 0, 0}
		out.int32(id)
		answer := f[key]
		if answer == nil {
			return
		}
		answer(version, in, out)
		binary.BigEndian.PutUint32(*out, uint32(len(*out)-4))
		c.Write(*out)
	}
}

// kafkaRanges answers which versions there are.
func kafkaRanges(ranges ...[3]int16) func(int16, *kafkaReader, *kafkaWriter) {
	return func(_ int16, _ *kafkaReader, out *kafkaWriter) {
		out.int16(0)
		out.int32(int32(len(ranges)))
		for _, r := range ranges {
			out.int16(r[0])
			out.int16(r[1])
			out.int16(r[2])
		}
	}
}

var kafkaNow = kafkaRanges([3]int16{2, 1, 10}, [3]int16{3, 0, 12}, [3]int16{9, 1, 9}, [3]int16{10, 0, 6}, [3]int16{17, 0, 1}, [3]int16{36, 0, 2}, [3]int16{32, 1, 4})

// kafkaState is a cluster as texts: "topic/partition leader replicas isr".
func kafkaState(controller int32, partitions ...string) func(int16, *kafkaReader, *kafkaWriter) {
	return func(version int16, _ *kafkaReader, out *kafkaWriter) {
		numbers := func(n string) {
			out.int32(int32(len(n)))
			for _, c := range n {
				out.int32(c - '0')
			}
		}
		if version >= 3 {
			out.int32(0)
		}
		out.int32(2)
		for id := range int32(2) {
			out.int32(id + 1)
			out.string("127.0.0.1")
			out.int32(9092)
			if version >= 1 {
				out.int16(-1)
			}
		}
		if version >= 2 {
			out.string("cluster")
		}
		if version >= 1 {
			out.int32(controller)
		}
		out.int32(int32(len(partitions)))
		for _, p := range partitions {
			f := strings.Fields(p)
			out.int16(0)
			out.string(f[0])
			if version >= 1 {
				out.int8(0)
			}
			out.int32(1)
			out.int16(0)
			out.int32(7)
			leader, _ := strconv.Atoi(f[1])
			out.int32(int32(leader))
			numbers(f[2])
			numbers(strings.TrimPrefix(f[3], "-"))
			if version >= 5 {
				numbers("")
			}
		}
	}
}

func kafkaMin(isr string) func(int16, *kafkaReader, *kafkaWriter) {
	return func(_ int16, in *kafkaReader, out *kafkaWriter) {
		n := in.int32()
		in.int8()
		topic := in.string()
		out.int32(0)
		out.int32(n)
		out.int16(0)
		out.int16(-1)
		out.int8(2)
		out.string(topic)
		out.int32(1)
		out.string("min.insync.replicas")
		out.string(isr)
		out.int8(0)
		out.int8(1)
		out.int8(0)
		out.int32(0)
	}
}

// kafkaSASL wants name and password by PLAIN or SCRAM, and answers wrong ones by 58.
func kafkaSASL(t *testing.T, f kafkaFake, password string, server *scram) kafkaFake {
	out := kafkaFake{}
	for key, answer := range f {
		out[key] = answer
	}
	out[17] = func(_ int16, in *kafkaReader, w *kafkaWriter) {
		code := int16(0)
		if in.string() == "SCRAM-SHA-512" {
			code = 33
		}
		w.int16(code)
		w.int32(1)
		w.string("PLAIN")
	}
	out[36] = func(version int16, in *kafkaReader, w *kafkaWriter) {
		message := in.bytes()
		var say []byte
		code := int16(0)
		switch text := string(message); {
		case strings.HasPrefix(text, "n,,"):
			nonce := scramFields(strings.TrimPrefix(text, "n,,"))["r"]
			server.nonce = nonce
			say = []byte("r=" + nonce + "more,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096")
			if want, err := server.second(say); err != nil {
				t.Error(err)
			} else {
				server.password = string(want) // what it must answer
			}
		case strings.HasPrefix(text, "c="):
			if text != server.password {
				code = 58
			}
			say = []byte("v=" + base64.StdEncoding.EncodeToString(server.proof))
		case text != "\x00joe\x00"+password:
			code = 58
		}
		w.int16(code)
		w.int16(-1)
		w.int32(int32(len(say)))
		*w = append(*w, say...)
		if version >= 1 {
			w.int64(0)
		}
	}
	return out
}

// grouped is a cluster of brokers at one address, with a group.
func grouped(t *testing.T, read, end int64, code int16) kafkaFake {
	f := kafkaFake{18: kafkaNow}
	address := serve(t, f.serve)
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	state := kafkaState(1, "orders 1 12 12")
	f[3] = func(version int16, in *kafkaReader, out *kafkaWriter) {
		at := len(*out)
		state(version, in, out)
		old := binary.BigEndian.AppendUint32([]byte("127.0.0.1"), 9092)
		now := binary.BigEndian.AppendUint32([]byte("127.0.0.1"), uint32(number))
		*out = append((*out)[:at], bytes.ReplaceAll((*out)[at:], old, now)...)
	}
	f[10] = func(_ int16, _ *kafkaReader, out *kafkaWriter) {
		out.int32(0)
		out.int16(code)
		out.int16(-1)
		out.int32(2)
		out.string("127.0.0.1")
		out.int32(int32(number))
	}
	f[9] = func(_ int16, _ *kafkaReader, out *kafkaWriter) {
		out.int32(0)
		if read < 0 {
			out.int32(0)
			out.int16(0)
			return
		}
		out.int32(1)
		out.string("orders")
		out.int32(1)
		out.int32(7)
		out.int64(read)
		out.string("")
		out.int16(0)
		out.int16(0)
	}
	f[2] = func(_ int16, _ *kafkaReader, out *kafkaWriter) {
		out.int32(0)
		out.int32(1)
		out.string("orders")
		out.int32(1)
		out.int32(7)
		out.int16(0)
		out.int64(-1)
		out.int64(end)
	}
	return f
}

func TestKafka(t *testing.T) {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	secret := secretFile(t, "s3cret")
	with := func(state func(int16, *kafkaReader, *kafkaWriter)) kafkaFake {
		return kafkaFake{18: kafkaNow, 3: state, 32: kafkaMin("2")}
	}
	good := with(kafkaState(1, "orders 1 12 12", "bills 2 12 21"))
	scramOf := func(password string) *scram { return newScram("SCRAM-SHA-256", "joe", password) }
	login := opt("username", "joe", "password-file", secret)
	scramLogin := opt("username", "joe", "password-file", secret, "mechanism", "SCRAM-SHA-256")
	old := kafkaFake{3: kafkaState(0, "orders 1 12 12")}
	huge := kafkaFake{18: kafkaNow, 3: func(_ int16, _ *kafkaReader, out *kafkaWriter) {
		*out = append(*out, make([]byte, maxKafka)...)
	}}
	damaged := kafkaFake{18: kafkaNow, 3: func(_ int16, _ *kafkaReader, out *kafkaWriter) { out.int32(0); out.int32(1 << 30) }}
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: good.serve, options: opt("brokers", "2", "topic", "orders"), text: "2 brokers, 2 topics, 2 partitions", metrics: "brokers=2 topics=2 partitions=2 offline=0 under_replicated=0"},
		{name: "0.10", serve: kafkaFake{18: kafkaRanges([3]int16{3, 0, 2}), 3: kafkaState(1, "orders 1 12 12")}.serve, text: "2 brokers, 1 topics"},
		{name: "0.9", serve: old.serve, text: "2 brokers, 1 topics"},
		{name: "0.9 knows no groups", serve: old.serve, options: opt("group", "x"), text: "older than Kafka 0.10", want: Critical, signal: "group"},
		{name: "future", serve: kafkaFake{18: kafkaRanges([3]int16{3, 40, 50})}.serve, want: Critical, signal: "error", text: "unsupported version"},
		{name: "missing brokers", serve: good.serve, options: opt("brokers", "3"), want: Critical, signal: "missing_brokers"},
		{name: "no controller", serve: with(kafkaState(-1, "orders 1 12 12")).serve, want: Critical, signal: "controller"},
		{name: "missing topic", serve: good.serve, options: opt("topic", "nope"), want: Critical, signal: "missing_topic"},
		{name: "offline", serve: with(kafkaState(1, "orders -1 12 -")).serve, want: Critical, signal: "offline", text: "1 partitions have no leader: orders/7"},
		{name: "under-replicated", serve: with(kafkaState(1, "orders 1 123 12")).serve, want: Warning, signal: "under_replicated", metrics: "under_replicated=1"},
		{name: "under min ISR", serve: with(kafkaState(1, "orders 1 123 1")).serve, want: Critical, signal: "under_min_isr", text: "orders (1 of 2)"},
		{name: "min ISR not to be had", serve: kafkaFake{18: kafkaRanges([3]int16{3, 0, 5}), 3: kafkaState(1, "orders 1 123 1")}.serve, want: Warning, signal: "under_replicated"},
		{name: "group", serve: grouped(t, 70, 100, 0).serve, options: opt("group", "billing"), text: "group billing is 30 messages behind", metrics: "lag=30"},
		{name: "group behind", serve: grouped(t, 70, 100, 0).serve, options: opt("group", "billing", "warning", "lag=29"), want: Warning, signal: "lag"},
		{name: "group unknown", serve: grouped(t, -1, 100, 0).serve, options: opt("group", "billing"), want: Critical, signal: "group", text: "unknown or has read nothing"},
		{name: "no coordinator", serve: grouped(t, 1, 1, 15).serve, options: opt("group", "billing"), want: Critical, signal: "group", text: "coordinator not available"},
		{name: "password needed", serve: kafkaFake{18: kafkaNow, 17: kafkaSASL(t, nil, "", nil)[17]}.serve, text: "alive, password needed"},
		{name: "PLAIN", serve: kafkaSASL(t, good, "s3cret", nil).serve, options: login, text: "2 brokers"},
		{name: "PLAIN refused", serve: kafkaSASL(t, good, "other", nil).serve, options: login, want: Critical, signal: "credentials", text: "SASL authentication failed"},
		{name: "SCRAM", serve: kafkaSASL(t, good, "", scramOf("s3cret")).serve, options: scramLogin, text: "2 brokers"},
		{name: "SCRAM refused", serve: kafkaSASL(t, good, "", scramOf("other")).serve, options: scramLogin, want: Critical, signal: "credentials"},
		{name: "no such mechanism", serve: kafkaSASL(t, good, "", nil).serve, options: opt("username", "joe", "password-file", secret, "mechanism", "SCRAM-SHA-512"), want: Critical, signal: "credentials", text: "unsupported SASL mechanism"},
		{name: "no such mechanism at all", address: "host", options: opt("mechanism", "GSSAPI"), want: Unknown, signal: "options", text: "--mechanism"},
		{name: "error", serve: kafkaFake{18: func(_ int16, _ *kafkaReader, out *kafkaWriter) { out.int16(31); out.int32(0) }}.serve, want: Critical, signal: "error", text: "cluster authorization failed"},
		{name: "cut in an answer", serve: kafkaFake{18: kafkaNow}.serve, want: Critical, signal: "cut"},
		{name: "half an answer", serve: func(c net.Conn) { c.Read(make([]byte, 100)); c.Write([]byte("\x00\x00\x00\x50\x00\x00\x00\x01abc")) }, want: Critical, signal: "cut"},
		{name: "HTTP", serve: func(c net.Conn) { c.Read(make([]byte, 100)); reply(c, 400, "x") }, want: Critical, signal: "protocol", text: "no Kafka protocol"},
		{name: "damaged", serve: damaged.serve, want: Critical, signal: "protocol", text: "damaged"},
		{name: "huge", serve: huge.serve, want: Critical, signal: "protocol"},
		{name: "slow", serve: func(c net.Conn) {
			c.Read(make([]byte, 100))
			for _, b := range "\x00\x00\x00\x50\x00\x00\x00\x01" + strings.Repeat("x", 70) {
				if _, err := c.Write([]byte{byte(b)}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "tls", serve: overTLS(soon, good.serve), options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", serve: overTLS(soon, good.serve), options: opt("tls", "true"), want: Critical, signal: "certificate"},
		{name: "bad number", address: "host", options: opt("brokers", "x"), want: Unknown, signal: "options", text: "--brokers"},
	}...)
	testKind(t, "kafka", "%s", trials)
}

// TestSCRAM: the example of RFC 7677.
func TestSCRAM(t *testing.T) {
	s := &scram{hash: sha256.New, name: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
	if first := string(s.first()); first != "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" {
		t.Error(first)
	}
	second, err := s.second([]byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || string(second) != want {
		t.Errorf("%s, %v", second, err)
	}
	if !s.done([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")) || s.done([]byte("v=AAAA")) || s.done(nil) {
		t.Error("the server's proof is judged wrongly")
	}
	for _, bad := range []string{"", "r=other,s=AAAA,i=4096", "r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=2000000000", "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=1"} {
		if _, err := s.second([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// FuzzKafka: no answer makes the reader panic or take more memory than it has.
func FuzzKafka(f *testing.F) {
	for version := range int16(6) {
		out := &kafkaWriter{}
		kafkaState(1, "orders 1 12 12", "bills -1 12 -")(version, nil, out)
		f.Add([]byte(*out), version)
	}
	f.Fuzz(func(t *testing.T, b []byte, version int16) {
		c, err := readCluster(&kafkaReader{b: b}, version)
		n := len(c.brokers)*10 + len(c.topics)*8
		if err == nil && n > len(b) {
			t.Errorf("%d bytes became %s", len(b), fmt.Sprint(c))
		}
	})
}
