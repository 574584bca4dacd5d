#!/bin/bash
#
# Grenade runs this to stop the old Cyborg.

# shellcheck source=devstack/upgrade/common
source "$(dirname "${BASH_SOURCE[0]}")/common"
_cyborg_load "$BASE_DEVSTACK_DIR"

set -o xtrace
stop_cyborg
# All of them have to be gone before the schema is upgraded.
# The names are words.
# shellcheck disable=SC2046
ensure_services_stopped $(_cyborg_enabled_services)
