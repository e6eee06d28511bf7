#!/bin/sh
# dracut's last hook before it leaves: from here on the media may go.
. /usr/lib/slipway/say.sh
slipway_say "the maintenance OS is in memory; starting it"
