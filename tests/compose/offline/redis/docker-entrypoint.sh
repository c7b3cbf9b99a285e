#!/bin/sh
# As the official image: options alone mean the server, which runs as the user redis and answers other containers.
set -eu
case ${1:-} in -*) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        chown redis /data
        exec setpriv --reuid redis --regid redis --init-groups "$0" "$@"
    fi
    set -- "$@" --protected-mode no
fi
exec "$@"
