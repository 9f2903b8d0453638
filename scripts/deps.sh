#!/usr/bin/env bash
# Installs the Debian packages that are missing: `deps.sh demo` for the demo, `deps.sh test` for the tests too.
# Asks for nothing and touches nothing where all is there.
set -euo pipefail

wanted="${1:-demo}"
case "$wanted" in
    demo | test) ;;
    *) echo "usage: $0 demo|test" >&2; exit 64 ;;
esac

missing=()
# need PACKAGE CHECK…: the package, unless the check succeeds. A machine may have the program from elsewhere.
need() {
    local package="$1"
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
# Functions have names of their own: `command -v` finds functions too.
has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
# Some crates compile C.
has_compiler() { command -v cc; }
has_redis() { command -v redis-server || command -v valkey-server; }
has_chromium() { ls /usr/lib/chromium/chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome; }
has_cjk() { compgen -G '/usr/share/fonts/opentype/noto/NotoSansCJK*'; }
has_nginx() { PATH="$PATH:/usr/sbin" command -v nginx; }
has_pgbouncer() { PATH="$PATH:/usr/sbin" command -v pgbouncer; }

need gcc has_compiler
need redis-server has_redis
need postgresql has_postgres
if [ "$wanted" = test ]; then
    need nginx has_nginx
    need openssl command -v openssl
    need prometheus command -v promtool
    need chromium-headless-shell has_chromium
    need fonts-noto-cjk has_cjk
    need nodejs command -v node
    need npm command -v npm
    need pgbouncer has_pgbouncer
    need procps command -v ps
    need python3 command -v python3
    need iproute2 command -v ip
fi

if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "$0: please install: ${missing[*]}" >&2
    exit 69
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "$0: as root, run: apt-get install ${missing[*]}" >&2
        exit 69
    fi
    as_root=(sudo)
fi
echo "installing ${missing[*]}"
# The packages' own servers are not wanted: nobody but us may take their ports. Policy only for this one call.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"
