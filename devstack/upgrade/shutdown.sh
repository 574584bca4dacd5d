#!/bin/bash
#
# Grenade runs this to stop the old Cyborg.

set -o errexit

# shellcheck source=devstack/upgrade/common
source "$(dirname "${BASH_SOURCE[0]}")/common"
_cyborg_load "$BASE_DEVSTACK_DIR"

set -o xtrace
stop_cyborg
# All of them have to be gone before the schema is upgraded.
ensure_services_stopped cyborg-api cyborg-cond cyborg-agent
