# The functions of DevStack that the plugin calls, as far as it can tell: each
# says how it was called, one line each, words separated by tabs.
#
# shellcheck shell=bash

function _said {
    local IFS=$'\t'
    echo "$*" >>"$SAID"
}

for _name in \
    async_runfunc async_wait configure_keystone_authtoken_middleware \
    create_service_user disable_apache_site echo_summary enable_service \
    get_or_create_endpoint get_or_create_service git_clone insmod \
    iniset iniset_rpc_backend install_package \
    make openstack recreate_database remove_uwsgi_config \
    restart_apache_server run_process setup_develop setup_logging \
    stop_process sudo wait_for_service write_uwsgi_config; do
    eval "function $_name { _said $_name \"\$@\"; }"
done

function is_service_enabled {
    local service
    for service in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$service,* ]] && return 0
    done
    return 1
}

function trueorfalse {
    local value=${!2:-$1}
    case ${value,,} in
        1 | yes | true) echo True ;;
        *) echo False ;;
    esac
}

function die {
    shift
    _said die "$*"
    exit 1
}

function iniget { echo "${NOVA_SENDS_SERVICE_TOKENS:-}"; }
function get_python_exec_prefix { echo /opt/venv/bin; }
function database_connection_url { echo "mysql+pymysql://root:pw@db/$1"; }
function ipv6_unquote { echo "$1"; }
function is_ubuntu { true; }
