#!/bin/sh
# The root filesystem lives in RAM, and tools need room beside it. Too little memory is said at once and in plain
# words, instead of as an out-of-memory kill half way through an installation. No driver of a disk is loaded yet:
# this is dracut's first hook, before udev starts. The line is said again every minute, for whoever connects later.
. /usr/lib/slipway/say.sh
slipway_memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
# 4 GiB less what firmware and kernel keep for themselves.
slipway_least_kib=$((3600 * 1024))
while [ "$slipway_memory_kib" -lt "$slipway_least_kib" ]; do
    slipway_say "this machine has $((slipway_memory_kib / 1024)) MiB of memory; the maintenance OS needs 4096 MiB. Nothing was touched, and nothing will be. Add memory, or check that the firmware sees all of it."
    sleep 60
done
slipway_say "Linux runs; copying the maintenance OS into memory, this can take some minutes"
