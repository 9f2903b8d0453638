# shellcheck shell=bash
# What backup.sh and restore.sh know of the stores: `postgres -c SQL`, `redis COMMAND…`, $POSTGRES for PostgreSQL's tools, $ETC. A
# password goes by the environment: the words of a command are everyone's to read.

ETC="${WAITROOM_ETC:-/etc/waitroom}"

# setting NAME: what the variable WAITROOM_NAME says, else the file that the settings' folder has for it.
setting() {
    local variable="WAITROOM_${1^^}" file="$ETC/${1//_/-}"
    if [ -n "${!variable:-}" ]; then echo "${!variable}"; else cat "$file"; fi
}

# Of scheme://user:password@rest.
password_of() {
    local login
    [[ "$1" =~ ^[a-z+-]+://([^@/]*)@ ]] || return 0
    login="${BASH_REMATCH[1]}"
    [[ "$login" == *:* ]] || return 0
    login="${login#*:}"
    printf '%b' "${login//%/\\x}"
}
without_password() { sed -E 's#^([a-z+-]+://[^:@/]*):[^@/]*@#\1@#' <<<"$1"; }

url="$(setting postgres_url)"
PGPASSWORD="$(password_of "$url")"
POSTGRES="$(without_password "$url")"
if [ -n "$PGPASSWORD" ]; then export PGPASSWORD; else unset PGPASSWORD; fi
postgres() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --dbname="$POSTGRES" "$@"; }

url="$(setting redis_url)"
REDISCLI_AUTH="$(password_of "$url")"
if [ -n "$REDISCLI_AUTH" ]; then export REDISCLI_AUTH; else unset REDISCLI_AUTH; fi
url="$(without_password "$url")"
redis_words=(-e)
case "$url" in
    redis+unix://*)
        path="${url#redis+unix://}"
        redis_words+=(-s "$(printf '%b' "${path//%/\\x}")")
        ;;
    redis://* | rediss://* | redis-cluster://* | rediss-cluster://*)
        # Of a cluster any node will do: the client follows it to the right one.
        [[ "$url" != *-cluster://* ]] || redis_words+=(-c)
        [[ "$url" != rediss* ]] || redis_words+=(--tls)
        [ -z "${WAITROOM_REDIS_CA_FILE:-}" ] || redis_words+=(--cacert "$WAITROOM_REDIS_CA_FILE")
        [ -z "${WAITROOM_REDIS_CERT_FILE:-}" ] || redis_words+=(--cert "$WAITROOM_REDIS_CERT_FILE" --key "${WAITROOM_REDIS_KEY_FILE:-}")
        if [[ "$url" == *"#insecure" ]]; then redis_words+=(--insecure) url="${url%#insecure}"; fi
        address="${url#*://}"
        address="${address%%[/?,]*}"
        user="${address%@*}"
        [[ "$address" != *@* || -z "$user" ]] || redis_words+=(--user "$user")
        address="${address##*@}"
        redis_words+=(-h "${address%:*}")
        [[ "$address" != *:* ]] || redis_words+=(-p "${address##*:}")
        ;;
    *)
        echo "$0: WAITROOM_REDIS_URL: give the primary's address as redis:// or rediss:// (behind Sentinels, ask one of them)" >&2
        exit 78
        ;;
esac
redis() { redis-cli "${redis_words[@]}" "$@"; }
