#!/bin/bash
#
# DevStack runs this with a phase: the whole of Cyborg, by what is enabled.

_XTRACE_CYBORG_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

_cyborg_plugin_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=devstack/lib/cyborg
source "$_cyborg_plugin_dir/lib/cyborg"
# shellcheck source=devstack/lib/pci-sim
source "$_cyborg_plugin_dir/lib/pci-sim"

if is_service_enabled cyborg cyborg-api cyborg-cond cyborg-agent; then
    case "$1 ${2:-}" in
        "stack pre-install")
            clone_cyborg_client
            ;;
        "stack install")
            echo_summary "Installing Cyborg"
            check_cyborg_service_deps
            start_pci_sim_build
            install_cyborg
            install_cyborg_client
            ;;
        "stack post-config")
            echo_summary "Configuring Cyborg"
            configure_cyborg
            create_cyborg_accounts
            load_pci_sim
            configure_pci_sim_nova
            ;;
        "stack extra")
            echo_summary "Initializing Cyborg"
            configure_pci_sim_cyborg
            init_cyborg
            start_cyborg
            ;;
        "stack test-config")
            cyborg_configure_tempest
            create_pci_sim_flavors
            ;;
        "unstack ")
            stop_cyborg
            ;;
        "clean ")
            cleanup_cyborg
            unload_pci_sim
            ;;
    esac
fi

unset _cyborg_plugin_dir
$_XTRACE_CYBORG_PLUGIN
