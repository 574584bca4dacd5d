#!/bin/bash
#
# Grenade runs this to put the new Cyborg in the place of the old one.

# shellcheck source=devstack/upgrade/common
source "$(dirname "${BASH_SOURCE[0]}")/common"
_cyborg_load "$TARGET_DEVSTACK_DIR"

set -o xtrace
install_cyborg

# 1 means that there are warnings: what to look at, and no reason to stay.
"$CYBORG_BIN_DIR/cyborg-status" --config-file "$CYBORG_CONF" upgrade check \
    || [[ $? -eq 1 ]] || die $LINENO "cyborg-status upgrade check failed"

if is_service_enabled cyborg-api; then
    "$CYBORG_BIN_DIR/cyborg-dbsync" --config-file "$CYBORG_CONF" upgrade \
        || die $LINENO "cyborg-dbsync upgrade failed"
fi

start_cyborg
# The names are words.
# shellcheck disable=SC2046
ensure_services_started $(_cyborg_enabled_services)
