#!/bin/sh
# Runs a command in a network of its own, where one may be had: Chromium gives up what it loads when an interface of the machine
# comes or goes, and the suites that run beside it make hosts of their own. It takes itself for offline where there is nothing but
# loopback: so there is a wire that leads nowhere.
wire='ip link add out type veth peer name away && ip link set out addrgenmode none && ip link set away addrgenmode none'
if unshare --net sh -c "$wire" 2>/dev/null; then
    exec unshare --net sh -c "$wire"' && ip link set lo up && ip link set away up && ip addr add 192.0.2.1/24 dev out &&
        ip link set out up && exec "$@"' alone "$@"
fi
exec "$@"
