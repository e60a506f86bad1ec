//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fetched is the folder with the programs of a server.
func fetched(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("../servers/fetch.sh", name).Output()
	if err != nil {
		lacking(t, fmt.Sprintf("no %s: %v", name, err))
	}
	return strings.TrimSpace(string(out))
}

// javaClass makes a command of a class in a folder of libraries.
func javaClass(lib, heap, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", lib + "/*", class}, args...)...)
}

// A kafkaNode is a broker that can be started.
type kafkaNode struct{ lib, port, conf string }

// newKafka writes the configuration of a cluster of two: the first is the
// controller, too. The listener SASL_PLAINTEXT wants a login.
func newKafka(t *testing.T) (nodes [2]kafkaNode, sasl string) {
	t.Helper()
	lib := fetched(t, "kafka")
	controller := freePort(t)
	for i := range nodes {
		port, secure := freePort(t), freePort(t)
		roles, advertised := "broker", "PLAINTEXT://127.0.0.1:"+port+",SASL_PLAINTEXT://127.0.0.1:"+secure
		listeners := advertised
		if i == 0 {
			sasl = secure
			roles += ",controller"
			listeners += ",CONTROLLER://127.0.0.1:" + controller
		}
		dir := t.TempDir()
		conf := filepath.Join(dir, "conf")
		text := fmt.Sprintf(`process.roles=%s
node.id=%d
controller.quorum.voters=1@127.0.0.1:%s
listeners=%s
advertised.listeners=%s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_monitor="s3cret";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=%s/data
num.partitions=3
default.replication.factor=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
replica.lag.time.max.ms=3000
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
`, roles, i+1, controller, listeners, advertised, dir)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		format := []string{"format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", conf}
		if i == 0 {
			format = append(format, "--add-scram", "SCRAM-SHA-256=[name=monitor,password=s3cret]")
		}
		if out, err := javaClass(lib, "128m", "kafka.tools.StorageTool", format...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		nodes[i] = kafkaNode{lib, port, conf}
	}
	return nodes, sasl
}

func (k kafkaNode) start(t *testing.T) *os.Process {
	t.Helper()
	log := k.conf + ".log4j"
	text := "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\nlog4j.appender.out.layout=org.apache.log4j.PatternLayout\nlog4j.appender.out.layout.ConversionPattern=%d %p %m%n\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := javaClass(k.lib, "256m", "kafka.Kafka", k.conf)
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS=-Dlog4j.configuration=file:"+log)
	return started(t, cmd)
}

// tool runs one of Kafka's own programs.
func (k kafkaNode) tool(t *testing.T, input, class string, args ...string) {
	t.Helper()
	cmd := javaClass(k.lib, "128m", class, append([]string{"--bootstrap-server", "127.0.0.1:" + k.port}, args...)...)
	cmd.Stdin = bytes.NewReader([]byte(input))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", class, args, err, out)
	}
}

// TestCheckKafka breaks one of two real brokers.
func TestCheckKafka(t *testing.T) {
	nodes, sasl := newKafka(t)
	nodes[0].start(t)
	second := nodes[1].start(t)
	at := "127.0.0.1:" + nodes[0].port
	eventually(t, "KAFKA OK: 2 brokers, 0 topics", "kafka", at)
	nodes[0].tool(t, "", "org.apache.kafka.tools.TopicCommand", "--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "2", "--config", "min.insync.replicas=2")
	nodes[0].tool(t, "", "org.apache.kafka.tools.TopicCommand", "--create", "--topic", "alone", "--replica-assignment", "2")
	eventually(t, "2 topics, 4 partitions", "kafka", at)
	eventually(t, "KAFKA OK: 2 brokers, 2 topics, 4 partitions", "kafka", at, "--brokers", "2", "--topic", "orders")
	check(t, 2, "2 brokers, wanted 3", "kafka", at, "--brokers", "3")
	check(t, 2, "there is no topic nope", "kafka", at, "--topic", "nope")
	nodes[0].tool(t, strings.Repeat("x\n", 100), "kafka.tools.ConsoleProducer", "--topic", "orders")
	nodes[0].tool(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", "orders", "--group", "billing", "--from-beginning", "--max-messages", "70", "--timeout-ms", "30000")
	check(t, 2, "it is unknown or has read nothing", "kafka", at, "--group", "nobody")
	eventually(t, "group billing is 30 messages behind", "kafka", at, "--group", "billing")
	check(t, 2, "lag is 30, outside of 20", "kafka", at, "--group", "billing", "--critical", "lag=20")

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := "127.0.0.1:" + sasl
	check(t, 0, "alive, password needed", "kafka", locked)
	eventually(t, "OK: 2 brokers", "kafka", locked, "--username", "monitor", "--password-file", secret)
	eventually(t, "OK: 2 brokers", "kafka", locked, "--username", "monitor", "--password-file", secret, "--mechanism", "SCRAM-SHA-256")
	check(t, 2, "unsupported SASL mechanism: \"PLAIN", "kafka", locked, "--username", "monitor", "--password-file", secret, "--mechanism", "SCRAM-SHA-512")
	check(t, 2, "SASL authentication failed", "kafka", locked, "--username", "other", "--password-file", secret)
	check(t, 2, "SASL authentication failed", "kafka", locked, "--username", "other", "--password-file", secret, "--mechanism", "SCRAM-SHA-256")
	check(t, 2, "illegal SASL state", "kafka", at, "--username", "monitor", "--password-file", secret)

	if err := second.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	check(t, 2, "no answer within 1s", "kafka", "127.0.0.1:"+nodes[1].port, "--timeout", "1s")
	eventually(t, "fewer replicas in sync than min.insync.replicas: orders (1 of 2)", "kafka", at)
	eventually(t, "partitions have no leader: alone/0", "kafka", at)
	eventually(t, "3 partitions have too few replicas in sync", "kafka", at)
	if err := second.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "KAFKA OK: 2 brokers", "kafka", at)
}
