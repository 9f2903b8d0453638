#!/bin/sh
# Says where the tests' files go: into memory, where there is room and what lies there may run. Stores come and go by the hundred,
# each of a thousand files, and wait for their disk.
if awk '$2 == "/dev/shm" && $4 !~ /noexec/ { found = 1 } END { exit !found }' /proc/mounts &&
    [ "$(df --output=avail /dev/shm | tail -1)" -gt 4000000 ]; then
    echo /dev/shm
else
    echo "${TMPDIR:-/tmp}"
fi
