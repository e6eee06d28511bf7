#!/bin/sh
# The root filesystem lives in RAM, and tools need room beside it. Too little memory is said at once and in plain
# words, instead of as an out-of-memory kill half way through an installation.
slipway_memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
# 4 GiB less what firmware and kernel keep for themselves.
slipway_least_kib=$((3600 * 1024))
if [ "$slipway_memory_kib" -lt "$slipway_least_kib" ]; then
    for console in $(cat /sys/class/tty/console/active); do
        printf '\r\nslipway: this machine has %s MiB of memory; the maintenance OS needs 4096 MiB. Nothing was touched. Add memory, or check that the firmware sees all of it.\r\n' \
            $((slipway_memory_kib / 1024)) >"/dev/$console"
    done
    sleep infinity
fi
