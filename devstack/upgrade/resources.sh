#!/bin/bash
#
# Grenade runs this with a verb, to see that what users made before an upgrade
# is there after it.
#
# Grenade is not there to be followed.
# shellcheck disable=SC1091

set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"
source "$TOP_DIR/openrc" admin demo

set -o xtrace

PROFILE=cyborg-grenade-dp
POST_PROFILE=cyborg-grenade-post-dp
GROUPS_JSON='[{"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}]'

function create_profile {
    openstack accelerator device profile create "$1" "$GROUPS_JSON" \
        -f value -c uuid
}

function delete_profile {
    openstack accelerator device profile delete "$1"
}

function create {
    local uuid
    uuid=$(create_profile "$PROFILE")
    resource_save cyborg profile_uuid "$uuid"
}

# verify pre-upgrade|post-upgrade
function verify {
    local uuid found
    uuid=$(resource_get cyborg profile_uuid)
    found=$(openstack accelerator device profile show "$uuid" \
        -f value -c name)
    [[ $found == "$PROFILE" ]] \
        || die $LINENO "Profile $uuid is $found, not $PROFILE"
    openstack accelerator device list
    if [[ ${1:-} == post-upgrade ]]; then
        create_profile "$POST_PROFILE"
        delete_profile "$POST_PROFILE"
    fi
}

# Without its API, there is nothing of Cyborg that a user could see.
function verify_noapi {
    :
}

function destroy {
    delete_profile "$PROFILE"
}

# Goes on where something is gone already.
function force_destroy {
    local profile
    for profile in "$PROFILE" "$POST_PROFILE"; do
        delete_profile "$profile" || true
    done
}

case "${1:-}" in
    create | verify | verify_noapi | destroy | force_destroy)
        verb=$1
        shift
        "$verb" "$@"
        ;;
    early_create) ;;
    *)
        die $LINENO "Unknown verb: ${1:-none}"
        ;;
esac
