#!/bin/bash
# journald.sh: a systemd-journald that takes what containers with --log-driver journald print, on a machine where systemd is not pid 1.
# Idempotent; needs root. Where systemd runs, its own journald is used as it is. A journald that is started here keeps
# its journal in memory's file system, /run, and limits no rate: by default it drops what dockerd, one sender for all
# containers, sends beyond 10,000 messages in 30 s.
set -euo pipefail
command -v journalctl >/dev/null && [ -x /lib/systemd/systemd-journald ] || {
  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd >/dev/null
}
token="mesoscope-$$-$RANDOM"
answers() { echo "$token" | systemd-cat -t mesoscope-test && journalctl --sync && journalctl -q -t mesoscope-test --no-pager | grep -q "$token"; }
if [ -d /run/systemd/system ]; then
  answers || { echo 'systemd runs here, but its journald takes no message' >&2; exit 1; }
  echo 'journald of this machine; its rate limit applies (RateLimitIntervalSec=0 in journald.conf lifts it)'
  exit 0
fi
if ! answers 2>/dev/null; then
  [ -s /etc/machine-id ] || systemd-machine-id-setup
  mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
  cat >/run/systemd/journald.conf.d/mesoscope-test.conf <<'CONF'
[Journal]
Storage=volatile
RuntimeMaxUse=1G
RuntimeKeepFree=64M
RateLimitIntervalSec=0
RateLimitBurst=0
ForwardToSyslog=no
ForwardToWall=no
ReadKMsg=no
Audit=no
CONF
  # Not activated by systemd, it makes its sockets in /run/systemd/journal itself.
  setsid nohup /lib/systemd/systemd-journald >/var/log/systemd-journald.log 2>&1 </dev/null &
  for _ in $(seq 60); do answers 2>/dev/null && break; sleep 0.5; done
  answers || { tail -20 /var/log/systemd-journald.log >&2; exit 1; }
fi
journalctl --version | head -1
