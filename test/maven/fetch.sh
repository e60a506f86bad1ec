#!/bin/bash
# fetch.sh kafka|cassandra: copies that server's programs from Maven Central, once, below the cache folder, and prints where.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
case ${1:-} in
  kafka)     G=org.apache.kafka A='kafka_2.13 kafka-tools' V=3.9.1 ;; # 70 MiB with what they need
  cassandra) G=org.apache.cassandra A=cassandra-all V=5.0.4 ;;         # 70 MiB
  *) echo "usage: fetch.sh kafka|cassandra" >&2; exit 2 ;;
esac
OUT=${TESTKIT_CACHE:-${XDG_CACHE_HOME:-/var/cache}/testkit}/$1/$V
if [ ! -d "$OUT" ]; then
  mkdir -p "$(dirname "$OUT")"
  T=$(mktemp -d "$OUT.XXXXXX")
  trap 'rm -rf "$T"' EXIT
  cp "$HERE/pom.xml" "$T/"
  for a in $A; do # their libraries come together in one folder
    (cd "$T" && mvn -B -q process-resources -Dfetch.group=$G -Dfetch.artifact="$a" -Dfetch.version=$V) >&2
  done
  mv "$T/target/lib" "$OUT"
fi
echo "$OUT"
