package checks

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
)

// Kafka's protocol, as far as checks need it: requests and answers with a length
// in front, in versions that are old enough to have no tagged fields.

const maxKafka = 8 << 20

// A kafkaCall is one kind of request and the versions of it that are spoken
// here, the best first.
type kafkaCall struct {
	key      int16
	versions []int16
}

var (
	kafkaListOffsets      = kafkaCall{2, []int16{2, 1}}
	kafkaMetadata         = kafkaCall{3, []int16{5, 4, 1, 0}}
	kafkaOffsetFetch      = kafkaCall{9, []int16{4, 3, 2}}
	kafkaFindCoordinator  = kafkaCall{10, []int16{2, 1}}
	kafkaSASLHandshake    = kafkaCall{17, []int16{1}}
	kafkaAPIVersions      = kafkaCall{18, []int16{0}}
	kafkaDescribeConfigs  = kafkaCall{32, []int16{2, 1}}
	kafkaSASLAuthenticate = kafkaCall{36, []int16{1, 0}}
)

// A kafkaBroker is a connection to one broker.
type kafkaBroker struct {
	*session
	r      *Result
	ranges map[int16][2]int16 // what it speaks; nil: a broker of before 0.10, which does not tell
	sent   int32
}

// A kafkaError is a code that a broker answers with.
type kafkaError struct {
	code int16
	said string
}

func (e kafkaError) Error() string {
	name := map[int16]string{
		3: "unknown topic or partition", 5: "leader not available", 14: "coordinator is loading", 15: "coordinator not available", 16: "not the coordinator", 29: "topic authorization failed",
		30: "group authorization failed", 31: "cluster authorization failed", 33: "unsupported SASL mechanism", 34: "illegal SASL state", 35: "unsupported version", 58: "SASL authentication failed", 69: "no such group",
	}[e.code]
	if name == "" {
		name = "error " + strconv.Itoa(int(e.code))
	}
	if e.said != "" {
		name += ": " + clip(e.said)
	}
	return name
}

// openKafka connects, asks for the versions and logs in. ok is false if a
// finding says why not.
func (r *Result) openKafka(ctx context.Context, t Target, address string) (*kafkaBroker, bool) {
	at := t
	at.Address = address
	s, ok := open(ctx, r, at, maxKafka)
	if !ok {
		return nil, false
	}
	b := &kafkaBroker{session: s, r: r}
	err := b.askVersions()
	if errors.Is(err, io.EOF) { // before 0.10 that question ends the connection
		s.Close()
		if s, ok = open(ctx, r, at, maxKafka); !ok {
			return nil, false
		}
		b = &kafkaBroker{session: s, r: r}
		err = nil
	}
	if err == nil && value[string](t, "username") != "" {
		err = b.login(t)
	}
	if err != nil {
		s.Close()
		r.failedKafka(at, err, "waiting for the versions that it speaks")
		return nil, false
	}
	return b, true
}

func (b *kafkaBroker) askVersions() error {
	in, _, err := b.call(kafkaAPIVersions, func(*kafkaWriter, int16) {})
	if err != nil {
		return err
	}
	if code := in.int16(); code != 0 {
		return kafkaError{code: code}
	}
	ranges := map[int16][2]int16{}
	for range in.count(6) {
		ranges[in.int16()] = [2]int16{in.int16(), in.int16()}
	}
	b.ranges = ranges
	return in.end()
}

// version is the best one that both sides speak.
func (b *kafkaBroker) version(c kafkaCall) (int16, error) {
	if b.ranges == nil {
		if v := slices.Min(c.versions); v == 0 {
			return 0, nil
		}
		return 0, kafkaError{35, "the broker is older than Kafka 0.10"}
	}
	known, ok := b.ranges[c.key]
	for _, v := range c.versions {
		if ok && v >= known[0] && v <= known[1] {
			return v, nil
		}
	}
	return 0, kafkaError{35, "request " + strconv.Itoa(int(c.key)) + " is spoken otherwise by the broker"}
}

// call sends one request and reads its answer.
func (b *kafkaBroker) call(c kafkaCall, write func(w *kafkaWriter, version int16)) (*kafkaReader, int16, error) {
	version := c.versions[0]
	if c.key != kafkaAPIVersions.key {
		var err error
		if version, err = b.version(c); err != nil {
			return nil, 0, err
		}
	}
	b.sent++
	w := &kafkaWriter{0, 0, 0, 0}
	w.int16(c.key)
	w.int16(version)
	w.int32(b.sent)
	w.string("mesoscope")
	write(w, version)
	binary.BigEndian.PutUint32(*w, uint32(len(*w)-4))
	defer b.r.phase("wait", time.Now())
	if _, err := b.Write(*w); err != nil {
		return nil, 0, err
	}
	in, err := readKafka(b.in, b.sent)
	return in, version, err
}

// readKafka reads an answer, which must be that to request number sent.
func readKafka(from io.Reader, sent int32) (*kafkaReader, error) {
	var head [8]byte
	if n, err := io.ReadFull(from, head[:]); err != nil {
		if n >= 4 && binary.BigEndian.Uint32(head[:]) > maxKafka {
			return nil, wrongProtocol("the answer is no Kafka protocol: it begins with %q", head[:n])
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > maxKafka || int32(binary.BigEndian.Uint32(head[4:])) != sent {
		return nil, wrongProtocol("the answer is no Kafka protocol: it begins with %q", head[:])
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(size-4)))
	if err == nil && len(body) < int(size-4) {
		err = io.ErrUnexpectedEOF
	}
	return &kafkaReader{b: body}, err
}

// A kafkaWriter is a request as far as it is written.
type kafkaWriter []byte

func (w *kafkaWriter) int8(n int8)   { *w = append(*w, byte(n)) }
func (w *kafkaWriter) int16(n int16) { *w = binary.BigEndian.AppendUint16(*w, uint16(n)) }
func (w *kafkaWriter) int32(n int32) { *w = binary.BigEndian.AppendUint32(*w, uint32(n)) }
func (w *kafkaWriter) int64(n int64) { *w = binary.BigEndian.AppendUint64(*w, uint64(n)) }
func (w *kafkaWriter) string(s string) {
	w.int16(int16(len(s)))
	*w = append(*w, s...)
}

// A kafkaReader takes an answer apart. Reading past its end gives zeros, and
// end tells.
type kafkaReader struct {
	b     []byte
	short bool
}

func (k *kafkaReader) take(n int) []byte {
	if n < 0 || n > len(k.b) {
		k.short, k.b = true, nil
		return make([]byte, min(max(n, 0), 8))
	}
	out := k.b[:n]
	k.b = k.b[n:]
	return out
}

func (k *kafkaReader) int8() int8   { return int8(k.take(1)[0]) }
func (k *kafkaReader) bool() bool   { return k.int8() != 0 }
func (k *kafkaReader) int16() int16 { return int16(binary.BigEndian.Uint16(k.take(2))) }
func (k *kafkaReader) int32() int32 { return int32(binary.BigEndian.Uint32(k.take(4))) }
func (k *kafkaReader) int64() int64 { return int64(binary.BigEndian.Uint64(k.take(8))) }

// string reads a text; null is "".
func (k *kafkaReader) string() string {
	n := int(k.int16())
	if n < 0 {
		return ""
	}
	return string(k.take(n)) // if it is short, end says so
}

func (k *kafkaReader) bytes() []byte {
	n := int(k.int32())
	if n < 0 {
		return nil
	}
	return k.take(n)
}

// count reads the length of a list whose items have at least that many bytes.
func (k *kafkaReader) count(least int) int {
	n := int(k.int32())
	if n > len(k.b)/least {
		k.short, k.b = true, nil
		return 0
	}
	return max(n, 0)
}

func (k *kafkaReader) numbers() []int32 {
	out := make([]int32, k.count(4))
	for i := range out {
		out[i] = k.int32()
	}
	return out
}

// end is an error if the answer was not what was read.
func (k *kafkaReader) end() error {
	if k.short || len(k.b) > 0 {
		return wrongProtocol("the answer of the broker is damaged")
	}
	return nil
}

// A kafkaCluster is what a broker says of its cluster.
type kafkaCluster struct {
	brokers    map[int32]string // id to host:port
	controller int32            // -1: none; -2: the broker is too old to say
	topics     []kafkaTopic
}

type kafkaTopic struct {
	code       int16
	name       string
	internal   bool
	partitions []kafkaPartition
}

type kafkaPartition struct {
	code          int16
	id, leader    int32
	replicas, isr []int32
}

// cluster asks for all topics.
func (b *kafkaBroker) cluster() (kafkaCluster, error) {
	in, version, err := b.call(kafkaMetadata, func(w *kafkaWriter, version int16) {
		if version == 0 {
			w.int32(0)
		} else {
			w.int32(-1)
		}
		if version >= 4 {
			w.int8(0) // make no topics
		}
	})
	if err != nil {
		return kafkaCluster{}, err
	}
	return readCluster(in, version)
}

func readCluster(in *kafkaReader, version int16) (kafkaCluster, error) {
	c := kafkaCluster{brokers: map[int32]string{}, controller: -2}
	if version >= 3 {
		in.int32()
	}
	for range in.count(10) {
		id, host, port := in.int32(), in.string(), in.int32()
		c.brokers[id] = net.JoinHostPort(host, strconv.Itoa(int(port)))
		if version >= 1 {
			_ = in.string() // rack
		}
	}
	if version >= 2 {
		_ = in.string() // cluster
	}
	if version >= 1 {
		c.controller = in.int32()
	}
	for range in.count(8) {
		topic := kafkaTopic{code: in.int16(), name: in.string()}
		if version >= 1 {
			topic.internal = in.bool()
		}
		for range in.count(18) {
			p := kafkaPartition{code: in.int16(), id: in.int32(), leader: in.int32(), replicas: in.numbers(), isr: in.numbers()}
			if version >= 5 {
				in.numbers() // offline replicas
			}
			topic.partitions = append(topic.partitions, p)
		}
		c.topics = append(c.topics, topic)
	}
	return c, in.end()
}

// minISR asks how many replicas must be in sync for a write, by topic. Who may
// not ask gets nothing.
func (b *kafkaBroker) minISR(topics []string) (map[string]int, error) {
	in, version, err := b.call(kafkaDescribeConfigs, func(w *kafkaWriter, _ int16) {
		w.int32(int32(len(topics)))
		for _, t := range topics {
			w.int8(2) // a topic
			w.string(t)
			w.int32(1)
			w.string("min.insync.replicas")
		}
		w.int8(0)
	})
	var refused kafkaError
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_ = version // 1 and 2 are the same
	in.int32()
	out := map[string]int{}
	for range in.count(11) {
		in.int16()
		_ = in.string()
		in.int8()
		topic := in.string()
		for range in.count(9) {
			name, text := in.string(), in.string()
			in.bool()
			in.int8()
			in.bool()
			for range in.count(5) {
				_, _, _ = in.string(), in.string(), in.int8()
			}
			if n, err := strconv.Atoi(text); err == nil && name == "min.insync.replicas" {
				out[topic] = n
			}
		}
	}
	return out, in.end()
}
