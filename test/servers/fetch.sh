#!/bin/bash
# fetch.sh kafka|cassandra|spark: puts that server's programs, once, below the cache folder, and prints where. The first two
# are libraries from Maven Central, the third is the package pyspark from PyPI.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
case ${1:-} in
  kafka)     V=3.9.1 G=org.apache.kafka A='kafka_2.13 kafka-tools' ;; # 60 MiB with what they need
  cassandra) V=5.0.4 G=org.apache.cassandra A=cassandra-all ;;        # 70 MiB
  spark)     V=3.5.6 ;;                                               # 320 MiB
  *) echo "usage: fetch.sh kafka|cassandra|spark" >&2; exit 2 ;;
esac
OUT=${TESTKIT_CACHE:-${XDG_CACHE_HOME:-/var/cache}/testkit}/$1/$V
if [ ! -d "$OUT" ]; then
  mkdir -p "$(dirname "$OUT")"
  T=$(mktemp -d "$OUT.XXXXXX")
  trap 'rm -rf "$T"' EXIT
  if [ "$1" = spark ]; then
    python3 -m pip install -q --no-compile --root-user-action=ignore --target "$T/target/lib" "pyspark==$V" >&2
  else
    cp "$HERE/pom.xml" "$T/"
    for a in $A; do # their libraries come together in one folder
      (cd "$T" && mvn -B -q process-resources -Dfetch.group=$G -Dfetch.artifact="$a" -Dfetch.version=$V) >&2
    done
  fi
  mv "$T/target/lib" "$OUT"
fi
echo "$OUT"
