#!/usr/bin/env bash
# A backup in mid-sale: what PostgreSQL has, once it has all that Redis had when this began, and the keys (docs/backup.md).
#
#   backup.sh FOLDER     makes FOLDER/<UTC time>/ with postgres.dump, settings.tar, MANIFEST; deletes the oldest beyond KEEP
#
# The stores are WAITROOM_REDIS_URL and WAITROOM_POSTGRES_URL, else what /etc/waitroom (WAITROOM_ETC) names.
# Exit: 0 done; 64 wrong usage; 69 PostgreSQL cannot be reached; 74 a file cannot be written; 75 made, but what was last acknowledged
# may be missing: the journal was behind, or Redis did not answer.
set -euo pipefail
umask 077
here="$(dirname "$(readlink -f "$0")")"
# shellcheck source=stores.sh
. "$here/stores.sh"

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 64; }
KEEP="${KEEP:-144}"                     # of ten minutes each: a day
JOURNAL_WAIT_S="${JOURNAL_WAIT_S:-60}"  # as long as the journal may take; it is about a second behind
folder="$1/$(date -u +%Y%m%dT%H%M%SZ)"
partial="$1/.partial-$$"
mkdir -p "$partial" || exit 74
trap 'rm -rf "$partial"' EXIT

postgres -c "SELECT 1" >/dev/null || { echo "$0: PostgreSQL cannot be reached" >&2; exit 69; }

# Where each line stood when this began: whatever was told to anybody before is at or before it.
began="$(date -u +%FT%TZ)"
stood=()
state=whole
# Not within the loop's words, where a failure would be as good as no sale.
sales="$(postgres -c "SELECT id FROM sales ORDER BY id")" || { echo "$0: PostgreSQL cannot be read" >&2; exit 69; }
for sale in $sales; do
    if ! at="$(redis HMGET "waitroom:{$sale}:sale" epoch n | tr '\n' ' ')"; then
        state="unknown: Redis did not answer"
        break
    fi
    read -r epoch n <<<"$at" || true
    # A sale without a line: closed and forgotten by Redis, or not begun.
    [ -z "${n:-}" ] || stood+=("$sale $epoch $n")
done

journaled() { # SALE EPOCH N: whether PostgreSQL has it
    [ "$(postgres -c "SELECT (epoch, n) >= ($2, $3) FROM journal_heads WHERE sale_id = '$1'")" = t ]
}
until_s=$((SECONDS + JOURNAL_WAIT_S))
for one in "${stood[@]}"; do
    read -r sale epoch n <<<"$one"
    until journaled "$sale" "$epoch" "$n"; do
        if [ "$SECONDS" -ge "$until_s" ]; then
            state="behind: the journal of $sale does not get to epoch $epoch, entry $n"
            break 2
        fi
        sleep 0.2
    done
done

# One snapshot of all tables, taken now: bookings, journals, sales.
pg_dump --format=custom --no-owner --no-privileges --file="$partial/postgres.dump" --dbname="$POSTGRES" || exit 74
tar -C "$ETC" -cf "$partial/settings.tar" . || exit 74
{
    echo "began    $began"
    echo "ended    $(date -u +%FT%TZ)"
    echo "journal  $state"
    echo "schema   $(postgres -c "SELECT max(version) FROM refinery_schema_history")"
    for one in "${stood[@]}"; do echo "sale     $one"; done
    (cd "$partial" && sha256sum postgres.dump settings.tar)
} >"$partial/MANIFEST"
sync -f "$partial"
# Another may have begun in the same second.
[ ! -e "$folder" ] || folder="$folder-$$"
mv -T "$partial" "$folder" || exit 74
trap - EXIT

find "$1" -mindepth 1 -maxdepth 1 -type d -name '20??????T??????Z*' | sort | head -n "-$KEEP" | while read -r old; do rm -r "$old"; done
echo "$folder"
if [ "$state" != whole ]; then
    echo "$0: what was acknowledged just before $began may be missing; $state" >&2
    exit 75
fi
