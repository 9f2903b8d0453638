#!/bin/sh
# Runs a command in a network of its own, where one may be had: Chromium gives up what it loads when an interface of the machine
# comes or goes, and the suites that run beside it make hosts of their own.
if unshare --net true 2>/dev/null; then
    exec unshare --net sh -c 'ip link set lo up && exec "$@"' alone "$@"
fi
exec "$@"
