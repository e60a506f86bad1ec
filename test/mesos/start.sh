#!/bin/bash
# start.sh DIR PORT WORK [IP]: starts DIR/mesos-local on IP:PORT in the background; returns when the agent has registered.
# IP is 127.0.0.1 by default; executors in a network of their own reach only an address that is not. Master at
# http://IP:PORT/master (and /api/v1/scheduler below it), agent at http://IP:PORT/slave(1).
# Needs a running dockerd. WORK/pid has the pid. Containers of an earlier run stay, as other tests may have some. More settings as MESOS_* in the environment (MESOS_CONTAINERIZERS, ...).
set -euo pipefail
DIR=$1 PORT=$2 WORK=$(mkdir -p "$3" && cd "$3" && pwd) IP=${4:-127.0.0.1}
mkdir -p "$WORK/rt" "$WORK/libexec"
TMPDIR=$WORK LD_LIBRARY_PATH=$DIR LIBPROCESS_IP=$IP LIBPROCESS_PORT=$PORT GLOG_logtostderr=1 \
  MESOS_CLUSTER=${MESOS_CLUSTER:-test} MESOS_CONTAINERIZERS=${MESOS_CONTAINERIZERS:-docker} MESOS_LAUNCHER=posix \
  MESOS_SYSTEMD_ENABLE_SUPPORT=false MESOS_LAUNCHER_DIR=$WORK/libexec MESOS_ISOLATION=posix/cpu,posix/mem \
  MESOS_DOCKER_KILL_ORPHANS=${MESOS_DOCKER_KILL_ORPHANS:-false} \
  MESOS_IMAGE_PROVISIONER_BACKEND=copy MESOS_RUNTIME_DIR=$WORK/rt \
  nohup "$DIR/mesos-local" > "$WORK/mesos.log" 2>&1 &
echo $! > "$WORK/pid"
for _ in $(seq 60); do
  n=$(curl -fs "http://$IP:$PORT/master/slaves" 2>/dev/null | grep -c '"active":true' || true)
  [ "$n" -ge 1 ] && { echo "up: pid $(cat "$WORK/pid")"; exit 0; }
  kill -0 "$(cat "$WORK/pid")" 2>/dev/null || { tail -20 "$WORK/mesos.log" >&2; exit 1; }
  sleep 0.5
done
echo 'the agent did not register in time' >&2; exit 1
