//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startCassandra starts a node at one address of loopback; all of a cluster
// share the ports.
func startCassandra(t *testing.T, lib, address, storage, port string) *os.Process {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`cluster_name: shop
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10000ms
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:%[3]s"
listen_address: %[2]s
storage_port: %[3]s
rpc_address: %[2]s
native_transport_port: %[4]s
endpoint_snitch: SimpleSnitch
data_file_directories: [%[1]s/data]
commitlog_directory: %[1]s/commitlog
saved_caches_directory: %[1]s/saved
hints_directory: %[1]s/hints
cdc_raw_directory: %[1]s/cdc
authenticator: PasswordAuthenticator
authorizer: AllowAllAuthorizer
role_manager: CassandraRoleManager
auto_bootstrap: false
`, dir, address, storage, port)
	if err := os.WriteFile(filepath.Join(dir, "yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true",
		"-Dcassandra.config=file://" + dir + "/yaml", "-Dcassandra.storagedir=" + dir, "-Dcassandra-foreground=yes",
		"-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1000", "-Dcassandra.superuser_setup_delay_ms=0"}
	for _, p := range strings.Fields(`java.base/jdk.internal.misc java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
		java.rmi/sun.rmi.transport.tcp java.base/java.lang.ref jdk.unsupported/sun.misc java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref
		java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal
		java.base/sun.nio.ch java.base/java.io java.base/java.lang java.base/java.util java.base/java.nio`) {
		args = append(args, "--add-exports="+p+"=ALL-UNNAMED", "--add-opens="+p+"=ALL-UNNAMED")
	}
	return started(t, exec.Command("java", append(args, "-cp", lib+"/*", "org.apache.cassandra.service.CassandraDaemon")...))
}

// TestCheckCassandra pauses one of two real nodes.
func TestCheckCassandra(t *testing.T) {
	lib := fetched(t, "cassandra")
	storage, port := freePort(t), freePort(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("cassandra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "127.0.0.1:" + port
	login := func(args ...string) []string {
		return append([]string{"cassandra", at, "--username", "cassandra", "--password-file", secret}, args...)
	}
	startCassandra(t, lib, "127.0.0.1", storage, port)
	eventually(t, "CASSANDRA OK: Cassandra 5.0", login()...)
	second := startCassandra(t, lib, "127.0.0.2", storage, port)
	eventually(t, "cluster shop of 2 nodes", login("--nodes", "2")...)
	check(t, 0, "alive, password needed", "cassandra", at)
	check(t, 2, "name or password refused", "cassandra", at, "--username", "other", "--password-file", secret)
	check(t, 2, "2 nodes, wanted 3", login("--nodes", "3")...)
	check(t, 0, "compactions=", login()...)
	check(t, 2, "error 0x2200", login("--quorum-read", "shop.nope")...)
	check(t, 2, "does not speak TLS", login("--tls")...)
	check(t, 3, "Jolokia at http://127.0.0.1:1: connection refused", login("--jolokia", "1")...)

	// system_distributed has three replicas of each row, of which two nodes hold two
	eventually(t, "CASSANDRA OK", login("--quorum-read", "system_distributed.repair_history")...)
	if err := second.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cannot be read at LOCAL_QUORUM", login("--quorum-read", "system_distributed.repair_history", "--timeout", "20s")...)
	check(t, 2, "no answer within 1s", "cassandra", "127.0.0.2:"+port, "--timeout", "1s")
	if err := second.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "CASSANDRA OK", login("--quorum-read", "system_distributed.repair_history", "--nodes", "2")...)
}
