#!/bin/bash
# dracut module: looks at the machine before the root filesystem is copied to RAM, and says how far the boot is.

check() {
    return 0
}

depends() {
    return 0
}

install() {
    inst_simple "$moddir/say.sh" /usr/lib/slipway/say.sh
    inst_hook cmdline 10 "$moddir/check-memory.sh"
    inst_hook pre-pivot 90 "$moddir/say-copied.sh"
}
