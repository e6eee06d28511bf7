#!/bin/sh
# Shows one line on every console, in the form of the status screen (dispatcher/src/console.rs).
slipway_say() {
    for slipway_console in $(cat /sys/class/tty/console/active); do
        printf 'slipway: %s\r\n' "$1" >"/dev/$slipway_console" 2>/dev/null
    done
}
