package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var kafkaKind = Kind{
	Summary: "Kafka: brokers, controller, partitions without leader or with too few replicas, lag of a group",
	Target:  "HOST[:9092]",
	Example: `check kafka kafka1.example.net --brokers 3 --topic orders --group billing --critical lag=10000`,
	Options: slices.Concat([]Option{
		{Name: "brokers", Placeholder: "N", Help: "How many brokers there must be.", parse: parseCount},
		{Name: "topic", Placeholder: "NAME", Many: true, Help: "A topic that there must be.", parse: parse(parseKafkaName)},
		{Name: "group", Placeholder: "NAME", Help: "Measure how far this consumer group is behind. The other brokers that this one names are asked too.", parse: parse(parseKafkaName)},
		{Name: "mechanism", Placeholder: "NAME", Default: "PLAIN", Help: "Of the login: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.", parse: oneOf("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")},
		{Name: "tls", Help: "Speak TLS."},
	}, tlsOptions, credentials),
	Metrics: []Limits{
		{Name: "brokers", Help: "brokers in the cluster"},
		{Name: "topics", Help: "topics, internal ones too"},
		{Name: "partitions", Help: "partitions of all topics"},
		{Name: "offline", Help: "partitions without a leader"},
		{Name: "under_replicated", Help: "partitions with fewer replicas in sync than replicas"},
		{Name: "lag", Help: "--group: messages that it has not read, all partitions"},
		certificateLimits,
	},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"credentials", Critical, "name or password are refused"},
		{"error", Critical, "the broker answers with an error"},
		{"missing_brokers", Critical, "fewer brokers than --brokers"},
		{"controller", Critical, "the cluster has no controller"},
		{"offline", Critical, "a partition has no leader"},
		{"under_min_isr", Critical, "a partition has fewer replicas in sync than min.insync.replicas: it takes no safe writes"},
		{"under_replicated", Warning, "a partition has fewer replicas in sync than replicas"},
		{"missing_topic", Critical, "there is no topic of a --topic's name"},
		{"group", Critical, "--group: it is unknown, or has no coordinator, or has read nothing"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(9092),
	check:   checkKafka,
}

func checkKafka(ctx context.Context, t Target) (r Result) {
	b, ok := r.openKafka(ctx, t, t.Address)
	if !ok {
		return r
	}
	defer b.Close()
	cluster, err := b.cluster()
	if errors.Is(err, io.EOF) && value[string](t, "username") == "" && r.wantsLogin(ctx, t) {
		r.say("alive, password needed, signals not read")
		return r
	}
	if err == nil {
		err = r.judgeKafka(t, b, cluster)
	}
	if err == nil && value[string](t, "group") != "" {
		err = r.judgeGroup(ctx, t, b, cluster)
	}
	if err != nil {
		r.failedKafka(t, err, "waiting for an answer")
	}
	return r
}

// wantsLogin says whether a broker that ended the connection did so because
// nobody logged in.
func (r *Result) wantsLogin(ctx context.Context, t Target) bool {
	side := Result{}
	b, ok := side.openKafka(ctx, t, t.Address)
	if !ok {
		return false
	}
	defer b.Close()
	in, _, err := b.call(kafkaSASLHandshake, func(w *kafkaWriter, _ int16) { w.string("PLAIN") })
	if err != nil {
		return false
	}
	code := in.int16()
	return code == 0 || code == 33 // that mechanism, or others
}

// login goes through the messages of a SASL mechanism.
func (b *kafkaBroker) login(t Target) error {
	mechanism := value[string](t, "mechanism")
	in, _, err := b.call(kafkaSASLHandshake, func(w *kafkaWriter, _ int16) { w.string(mechanism) })
	if err != nil {
		return err
	}
	if code := in.int16(); code != 0 {
		var names []string
		for range in.count(2) {
			names = append(names, in.string())
		}
		return kafkaError{code, strings.Join(names, ", ")}
	}
	say := func(message []byte) ([]byte, error) {
		in, version, err := b.call(kafkaSASLAuthenticate, func(w *kafkaWriter, _ int16) {
			w.int32(int32(len(message)))
			*w = append(*w, message...)
		})
		if err != nil {
			return nil, err
		}
		code, said, answer := in.int16(), in.string(), in.bytes()
		if version >= 1 {
			in.int64()
		}
		if code != 0 {
			return nil, kafkaError{code, said}
		}
		return answer, in.end()
	}
	name, password := value[string](t, "username"), value[string](t, "password-file")
	if mechanism == "PLAIN" {
		_, err := say(saslPlain(name, password))
		return err
	}
	s := newScram(mechanism, name, password)
	challenge, err := say(s.first())
	if err != nil {
		return err
	}
	second, err := s.second(challenge)
	if err != nil {
		return err
	}
	last, err := say(second)
	if err == nil && !s.done(last) {
		err = kafkaError{58, "the broker does not know the password itself"}
	}
	return err
}

func (r *Result) judgeKafka(t Target, b *kafkaBroker, c kafkaCluster) error {
	var offline, under, lacking []string
	weak := map[string]int{} // topics with such partitions, and how many replicas are in sync at least
	partitions := 0
	for _, topic := range c.topics {
		for _, p := range topic.partitions {
			partitions++
			name := fmt.Sprintf("%s/%d", topic.name, p.id)
			switch {
			case p.leader < 0:
				offline = append(offline, name)
			case len(p.isr) < len(p.replicas):
				under = append(under, name)
				if least, ok := weak[topic.name]; !ok || len(p.isr) < least {
					weak[topic.name] = len(p.isr)
				}
			}
		}
	}
	for _, want := range values[string](t, "topic") {
		if !slices.ContainsFunc(c.topics, func(k kafkaTopic) bool { return k.name == want && k.code != 3 }) {
			lacking = append(lacking, want)
		}
	}
	r.measure("brokers", float64(len(c.brokers)), "")
	r.measure("topics", float64(len(c.topics)), "")
	r.measure("partitions", float64(partitions), "")
	r.measure("offline", float64(len(offline)), "")
	r.measure("under_replicated", float64(len(under)), "")
	r.say("%d brokers, %d topics, %d partitions", len(c.brokers), len(c.topics), partitions)
	if want := value[int](t, "brokers"); len(c.brokers) < want {
		r.find(Critical, "missing_brokers", "%d brokers, wanted %d", len(c.brokers), want)
	}
	if c.controller == -1 {
		r.find(Critical, "controller", "the cluster has no controller")
	}
	if len(lacking) > 0 {
		r.find(Critical, "missing_topic", "there is no topic %s", firstOf(lacking))
	}
	if len(offline) > 0 {
		r.find(Critical, "offline", "%d partitions have no leader: %s", len(offline), firstOf(offline))
	}
	if len(under) == 0 {
		return nil
	}
	r.find(Warning, "under_replicated", "%d partitions have too few replicas in sync: %s", len(under), firstOf(under))
	var names []string
	for name := range weak {
		names = append(names, name)
	}
	slices.Sort(names)
	least, err := b.minISR(names[:min(len(names), 100)])
	var unsafe []string
	for _, name := range names {
		if weak[name] < least[name] {
			unsafe = append(unsafe, fmt.Sprintf("%s (%d of %d)", name, weak[name], least[name]))
		}
	}
	if len(unsafe) > 0 {
		r.find(Critical, "under_min_isr", "fewer replicas in sync than min.insync.replicas: %s", firstOf(unsafe))
	}
	return err
}

// A kafkaPlace is a partition by its topic's name.
type kafkaPlace struct {
	topic string
	id    int32
}

// judgeGroup compares what a group has read, as its coordinator knows it, with
// where the partitions end, as their leaders know it.
func (r *Result) judgeGroup(ctx context.Context, t Target, b *kafkaBroker, c kafkaCluster) error {
	group := value[string](t, "group")
	coordinator, err := b.coordinator(group)
	if err == nil {
		_, known := c.brokers[coordinator]
		if !known {
			err = kafkaError{15, ""}
		}
	}
	var refused kafkaError
	if errors.As(err, &refused) {
		r.find(Critical, "group", "group %s: %v", group, refused)
		return nil
	}
	if err != nil {
		return err
	}
	var read map[kafkaPlace]int64
	if err := r.atBroker(ctx, t, c.brokers[coordinator], func(b *kafkaBroker) (err error) { read, err = b.offsets(group); return err }); err != nil {
		return err
	}
	leaders := map[int32][]kafkaPlace{}
	for _, topic := range c.topics {
		for _, p := range topic.partitions {
			if at := (kafkaPlace{topic.name, p.id}); p.leader >= 0 {
				if _, ok := read[at]; ok {
					leaders[p.leader] = append(leaders[p.leader], at)
				}
			}
		}
	}
	if len(read) == 0 {
		r.find(Critical, "group", "group %s: it is unknown or has read nothing", group)
		return nil
	}
	lag := int64(0)
	for id, places := range leaders {
		var ends map[kafkaPlace]int64
		if err := r.atBroker(ctx, t, c.brokers[id], func(b *kafkaBroker) (err error) { ends, err = b.ends(places); return err }); err != nil {
			return err
		}
		for at, end := range ends {
			lag += max(0, end-read[at])
		}
	}
	r.measure("lag", float64(lag), "").about = fmt.Sprintf("group %s is %d messages behind", group, lag)
	r.Text += fmt.Sprintf(", group %s is %d messages behind", group, lag)
	return nil
}

// atBroker asks another broker of the cluster, or the same one again. What is
// wrong with the connection has become a finding.
func (r *Result) atBroker(ctx context.Context, t Target, address string, ask func(*kafkaBroker) error) error {
	side := Result{}
	b, ok := side.openKafka(ctx, t, address)
	r.mergePhases(side.Phases)
	if !ok {
		for _, f := range side.Findings {
			f.Text = "broker " + address + ": " + f.Text
			r.Findings = append(r.Findings, f)
		}
		return errFound
	}
	defer b.Close()
	return ask(b)
}

// errFound is for what has become a finding already.
var errFound = errors.New("found")

func (b *kafkaBroker) coordinator(group string) (int32, error) {
	in, version, err := b.call(kafkaFindCoordinator, func(w *kafkaWriter, version int16) {
		w.string(group)
		if version >= 1 {
			w.int8(0)
		}
	})
	if err != nil {
		return 0, err
	}
	said := ""
	if version >= 1 {
		in.int32()
	}
	code := in.int16()
	if version >= 1 {
		said = in.string()
	}
	id := in.int32()
	_, _ = in.string(), in.int32()
	if code != 0 {
		return 0, kafkaError{code, said}
	}
	return id, in.end()
}

// offsets are where a group goes on reading.
func (b *kafkaBroker) offsets(group string) (map[kafkaPlace]int64, error) {
	in, version, err := b.call(kafkaOffsetFetch, func(w *kafkaWriter, _ int16) {
		w.string(group)
		w.int32(-1) // all topics
	})
	if err != nil {
		return nil, err
	}
	if version >= 3 {
		in.int32()
	}
	out := map[kafkaPlace]int64{}
	for range in.count(6) {
		topic := in.string()
		for range in.count(16) {
			id, offset := in.int32(), in.int64()
			_ = in.string()
			if in.int16() == 0 && offset >= 0 {
				out[kafkaPlace{topic, id}] = offset
			}
		}
	}
	if code := in.int16(); code != 0 {
		return nil, kafkaError{code: code}
	}
	return out, in.end()
}

// ends are where partitions end.
func (b *kafkaBroker) ends(places []kafkaPlace) (map[kafkaPlace]int64, error) {
	byTopic := map[string][]int32{}
	for _, p := range places {
		byTopic[p.topic] = append(byTopic[p.topic], p.id)
	}
	in, version, err := b.call(kafkaListOffsets, func(w *kafkaWriter, version int16) {
		w.int32(-1)
		if version >= 2 {
			w.int8(0)
		}
		w.int32(int32(len(byTopic)))
		for topic, ids := range byTopic {
			w.string(topic)
			w.int32(int32(len(ids)))
			for _, id := range ids {
				w.int32(id)
				w.int64(-1) // the end
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if version >= 2 {
		in.int32()
	}
	out := map[kafkaPlace]int64{}
	for range in.count(6) {
		topic := in.string()
		for range in.count(22) {
			id, code := in.int32(), in.int16()
			_, offset := in.int64(), in.int64()
			if code == 0 {
				out[kafkaPlace{topic, id}] = offset
			}
		}
	}
	return out, in.end()
}

// failedKafka turns an error into a finding.
func (r *Result) failedKafka(t Target, err error, doing string) {
	var said kafkaError
	switch {
	case errors.Is(err, errFound):
	case !errors.As(err, &said):
		r.failed(t, err, doing)
	case said.code == 33 || said.code == 34 || said.code == 58:
		r.find(Critical, "credentials", "the login is refused: %v", said)
	default:
		r.find(Critical, "error", "the broker answers: %v", said)
	}
}

func parseKafkaName(s string) (string, error) {
	if s == "" || len(s) > 249 || strings.ContainsAny(s, "\x00\n\r") {
		return "", fmt.Errorf("%q is no name of a topic or group", s)
	}
	return s, nil
}
