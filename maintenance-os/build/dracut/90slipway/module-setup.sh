#!/bin/bash
# dracut module: looks at the machine before the root filesystem is copied to RAM.

check() {
    return 0
}

depends() {
    return 0
}

install() {
    inst_hook cmdline 10 "$moddir/check-memory.sh"
}
