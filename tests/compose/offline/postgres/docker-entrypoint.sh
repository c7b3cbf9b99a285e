#!/bin/bash
# What the official image does for the variables that this project uses: POSTGRES_USER, POSTGRES_PASSWORD (also _FILE),
# POSTGRES_DB, POSTGRES_INITDB_ARGS, PGDATA, and files in /docker-entrypoint-initdb.d at the first start.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [ "$1" = postgres ] && [ ! -e "$PGDATA/complete" ]; then
    user=${POSTGRES_USER:-postgres}
    password=${POSTGRES_PASSWORD:-}
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then password=$(<"$POSTGRES_PASSWORD_FILE"); fi
    [ -n "$password" ] || { echo "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2; exit 1; }
    # A start that was killed half-way begins anew.
    find "$PGDATA" -mindepth 1 -delete
    # shellcheck disable=SC2086 # several arguments are meant
    initdb --username "$user" --pwfile <(printf '%s\n' "$password") --auth-local trust --auth-host scram-sha-256 \
        --encoding UTF8 ${POSTGRES_INITDB_ARGS:-} >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent --options "-c listen_addresses=''" start
    database=${POSTGRES_DB:-$user}
    if [ "$database" != postgres ]; then createdb --username "$user" "$database"; fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) . "$file" ;;
        *.sql) psql --username "$user" --dbname "$database" --set ON_ERROR_STOP=1 --quiet --file "$file" ;;
        esac
    done
    pg_ctl --wait --silent --mode fast stop
    touch "$PGDATA/complete"
fi
if [ "$1" = postgres ]; then set -- "$@" -c "listen_addresses=*"; fi
exec "$@"
