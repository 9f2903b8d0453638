#!/usr/bin/env bash
# Brings a backup back: into an empty database, beside an empty Redis, while no waitroom runs (docs/backup.md).
#
#   restore.sh FOLDER/<UTC time>
#
# The stores are WAITROOM_REDIS_URL and WAITROOM_POSTGRES_URL, else what /etc/waitroom (WAITROOM_ETC) names; where that folder is not
# there, it comes out of the backup first.
# Exit: 0 done; 64 wrong usage; 69 a store cannot be reached; 74 the backup is damaged; 78 a store is not empty.
set -euo pipefail
umask 077
here="$(dirname "$(readlink -f "$0")")"
[ $# -eq 1 ] && [ -f "$1/MANIFEST" ] || { echo "usage: $0 BACKUP (a folder with a MANIFEST)" >&2; exit 64; }
backup="$(readlink -f "$1")"
say() { echo "$0: $1" >&2; exit "$2"; }

(cd "$backup" && grep -E '^[0-9a-f]{64} ' MANIFEST | sha256sum --check --quiet) || say "the backup is damaged" 74
etc="${WAITROOM_ETC:-/etc/waitroom}"
if [ ! -e "$etc" ]; then
    mkdir -p "$etc"
    tar -C "$etc" -xpf "$backup/settings.tar"
    echo "settings and keys are in $etc as they were: are the addresses of the stores still right?"
fi
# shellcheck source=stores.sh
. "$here/stores.sh"

tables="$(postgres -c "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")" || say "PostgreSQL cannot be reached" 69
[ "$tables" = 0 ] || say "the database is not empty: stop waitroom everywhere, and make a new one" 78
keys="$(redis --scan --pattern 'waitroom:*' | head -n 1)" || say "Redis cannot be reached" 69
# Of a cluster one node alone is scanned: each sale of the backup is looked up where it would be.
sales="$(pg_restore --data-only --table=sales --file=- "$backup/postgres.dump" | sed -n '/^COPY/,/^\\\./{/^COPY/d;/^\\\./d;s/\t.*//;p}')" || say "the backup cannot be read" 74
for sale in $sales; do
    there="$(redis EXISTS "waitroom:{$sale}:sale")" || say "Redis cannot be reached" 69
    [ "$there" = 0 ] || keys="waitroom:{$sale}:sale"
done
[ -z "$keys" ] || say "Redis still has a line ($keys), which is not the one of this backup: bring it up empty" 78

pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$POSTGRES" "$backup/postgres.dump"
# Lives of the lines that began after the backup must not be counted twice: their visitors' tokens are still about.
postgres -c "SET client_min_messages = error" -c "UPDATE sales SET epoch = epoch + 100" -c "ANALYZE"
cat "$backup/MANIFEST"
