#!/bin/bash
# install.sh: puts a real Mesos 1.11.0 (libmesos from the PyPI package mesos.scheduler) and the launcher mesos-local, once,
# below the cache folder, and prints where. Needs gcc binutils unzip python3-setuptools libsvn1 libsasl2-2 libapr1
# libaprutil1, and installs them if it runs as root on Debian.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=${TESTKIT_CACHE:-${XDG_CACHE_HOME:-/var/cache}/testkit}/mesos/1.11.0
mkdir -p "$DIR"
[ -x "$DIR/mesos-local" ] && { echo "$DIR"; exit 0; }
export DEBIAN_FRONTEND=noninteractive
want=()
for p in gcc libc6-dev binutils unzip python3-setuptools libsvn1 libsasl2-2 libapr1 libaprutil1; do
  dpkg -s "$p" >/dev/null 2>&1 || want+=("$p")
done
[ ${#want[@]} -eq 0 ] || { apt-get update -qq; apt-get install -y -qq --no-install-recommends "${want[@]}"; } >&2
cd "$DIR"
# an egg: pip no longer takes those, setuptools still does
python3 -W ignore - "$DIR" <<'PY' >/dev/null
import sys
from setuptools.package_index import PackageIndex
from pkg_resources import Requirement
d = PackageIndex(python=None, platform=None).fetch_distribution(
    Requirement.parse('mesos.scheduler==1.11.0'), sys.argv[1], force_scan=True)
sys.exit(0 if d else 'mesos.scheduler 1.11.0 not found')
PY
LIB=libmesos-1.11.0.so # the whole of libmesos is linked into the Python module
unzip -q -o -j ./*.egg mesos/scheduler/_scheduler.so && mv _scheduler.so $LIB && rm -f ./*.egg
# It was linked against OpenSSL 1.0, curl with OpenSSL 1.0 and Python 2, which Debian no longer has. TLS, curl and Python
# are never used here, so stubs under the same names and symbol versions are enough: stub FILE VERSION-PATTERN BODY
nm -D --with-symbol-versions $LIB | awk '$1=="U"' > undefined
stub() {
  awk -v p="$2" '$2 ~ p {split($2,a,"@"); print a[1], a[2]}' undefined | sort -u > stub.sym
  { echo '#include <stdlib.h>'; awk -v b="$3" '{print "void *" $1 "(void){" b "}"}' stub.sym; } > stub.c
  { prev=; for v in $(awk '{print $2}' stub.sym | sort -u); do
      echo "$v { global:"; awk -v v="$v" '$2==v{print "  " $1 ";"}' stub.sym; [ "$prev" ] || echo "  local: *;"; echo "} $prev;"; prev=$v; done; } > stub.map
  gcc -w -shared -fPIC -Wl,-soname,"$1" ${prev:+-Wl,--version-script,stub.map} -o "$1" stub.c
}
stub libssl.so.1.0.0 '@OPENSSL_' 'abort();'
stub libcrypto.so.1.0.0 '@OPENSSL_' 'abort();'
stub libcurl.so.4 '@CURL_' 'return 0;'
stub libpystub.so '^_?Py' 'abort();'
gcc -w -o mesos-local "$HERE/launcher/local.c" -L. -Wl,--no-as-needed -l:libpystub.so -l:$LIB -Wl,-rpath,"$DIR" -Wl,--unresolved-symbols=ignore-all
rm -f stub.* undefined
echo "$DIR"
