//go:build e2e && linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sparkApp runs one job that works and, when the file bad appears, many that fail.
const sparkApp = `
import os, sys, time
parent = os.getppid()
from pyspark.sql import SparkSession
s = SparkSession.builder.appName("orders").getOrCreate()
s.range(10).count()
def fail(x): raise Exception("boom")
while not os.path.exists(sys.argv[1]) and os.getppid() == parent: time.sleep(0.1)
for i in range(8):
    try: s.sparkContext.parallelize([1], 1).map(fail).collect()
    except Exception: pass
while os.getppid() == parent: time.sleep(0.5)
os._exit(0) # nobody is there to say goodbye to
`

// TestCheckSpark: a real master, worker, driver and history server.
func TestCheckSpark(t *testing.T) {
	dir := fetched(t, "spark")
	home, events, work := filepath.Join(dir, "pyspark"), t.TempDir(), t.TempDir()
	app, bad := filepath.Join(work, "app.py"), filepath.Join(work, "bad")
	if err := os.WriteFile(app, []byte(sparkApp), 0o600); err != nil {
		t.Fatal(err)
	}
	port, masterUI, driverUI, historyUI := freePort(t), freePort(t), freePort(t), freePort(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		lacking(t, "python3 is missing")
	}
	opens := "" // what Spark's own scripts allow it, since they are not used
	for _, p := range strings.Fields("java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.util java.util.concurrent java.util.concurrent.atomic sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar") {
		opens += " --add-opens=java.base/" + p + "=ALL-UNNAMED"
	}
	spark := func(class string, properties []string, args ...string) *os.Process {
		all := append([]string{"-Xmx600m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, properties...)
		cmd := exec.Command("java", append(append(all, "-cp", home+"/jars/*", class), args...)...)
		cmd.Env = append(os.Environ(), "SPARK_HOME="+home, "PYTHONPATH="+dir, "PYSPARK_PYTHON="+python, "SPARK_LOCAL_IP=127.0.0.1", "SPARK_SCALA_VERSION=2.12", "SPARK_WORKER_DIR="+work, "JAVA_TOOL_OPTIONS="+opens)
		return started(t, cmd)
	}
	master, driver, history := "http://127.0.0.1:"+masterUI, "http://127.0.0.1:"+driverUI, "http://127.0.0.1:"+historyUI
	url := "spark://127.0.0.1:" + port
	spark("org.apache.spark.deploy.master.Master", nil, "--host", "127.0.0.1", "--port", port, "--webui-port", masterUI)
	eventually(t, "0 workers are alive, wanted 1", "spark", master, "--role", "master")
	worker := spark("org.apache.spark.deploy.worker.Worker", nil, "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "600m", url)
	eventually(t, "leads 1 workers, 0 applications run", "spark", master, "--role", "master", "--workers", "1")
	check(t, 2, "orders does not run", "spark", master, "--role", "master", "--app", "orders")
	check(t, 2, "not the JSON that belongs there", "spark", master) // it is no driver

	spark("org.apache.spark.deploy.SparkSubmit", nil, "--master", url, "--executor-memory", "512m", "--conf", "spark.ui.port="+driverUI,
		"--conf", "spark.eventLog.enabled=true", "--conf", "spark.eventLog.dir=file://"+events, app, bad)
	eventually(t, "SPARK OK: orders runs with 1 executors, Spark 3.5.6", "spark", driver, "--app", "orders", "--executors", "1")
	check(t, 2, "the driver runs orders, wanted bills", "spark", driver, "--app", "bills")
	check(t, 2, "orders has 1 executors, wanted 2", "spark", driver, "--executors", "2")
	check(t, 0, "cores=100%", "spark", master, "--role", "master", "--app", "orders")
	spark("org.apache.spark.deploy.history.HistoryServer", []string{"-Dspark.history.fs.logDirectory=file://" + events, "-Dspark.history.ui.port=" + historyUI, "-Dspark.history.fs.update.interval=1s"})
	eventually(t, "SPARK OK: 1 applications run", "spark", history, "--role", "history", "--app", "orders")
	check(t, 2, "bills does not run (running: orders)", "spark", history, "--role", "history", "--app", "bills")

	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "jobs failed", "spark", driver)
	eventually(t, "SPARK CRITICAL", "spark", driver)
	if err := worker.Signal(syscall.SIGTERM); err != nil { // its executors go with it
		t.Fatal(err)
	}
	eventually(t, "orders has 0 executors, wanted 1", "spark", driver)
	eventually(t, "0 workers are alive, wanted 1", "spark", master, "--role", "master")
}
