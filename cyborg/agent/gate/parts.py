"""A card and its parts: whoever has the whole takes it from the others."""

from collections.abc import Iterator
import re

from cyborg.accelerator import pci
from cyborg.accelerator import whitelist
from cyborg.agent.gate import core
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conf import devices as conf_devices

_NVIDIA = "10de"
_DISPLAY = "03"
# As udev and the kernel name the network devices of virtual functions.
_VF_NETDEV = re.compile(r"(.+?)(?:_|v)(\d+)")


@core.rule(
    "has-parts",
    "The function is divided: it has virtual functions, which would go.",
    ("virtfn*",),
    is_expected=True,
)
def has_parts(view: core.View) -> Iterator[core.Finding]:
    """Withhold a physical function that has virtual ones."""
    for offer, function in view.free_passed():
        if function.virtfns:
            yield (
                offer,
                function.address,
                f"{function.address} has {len(function.virtfns)} virtual "
                "functions",
            )


@core.rule(
    "no-vgpu-type",
    "An NVIDIA GPU has virtual functions and no type of vGPU is configured.",
    ("virtfn*", "[gpu_devices] enabled_vgpu_types"),
)
def no_vgpu_type(view: core.View) -> Iterator[core.Finding]:
    """Withhold the virtual functions, which are no GPUs by themselves.

    One that is listed in ``[pci] passthrough_whitelist`` is what the
    operator says it is.
    """
    configured = None
    for offer, function in view.free_passed():
        whole = function.physfn or (function.virtfns and function.address)
        if (
            not whole
            or function.vendor != _NVIDIA
            or not function.class_code.startswith(_DISPLAY)
            or offer.resource_class != constants.RC_PGPU
        ):
            continue
        if configured is None:
            configured = set(_vgpu_addresses(view))
        parts = (
            view.functions[whole].virtfns if whole in view.functions else ()
        )
        if configured.isdisjoint((whole, *parts)):
            yield (
                offer,
                function.address,
                f"{whole} has virtual functions and no type of vGPU is "
                "configured for it: see [gpu_devices] enabled_vgpu_types",
            )


@core.rule(
    "parts-configured",
    "Parts of the function are configured that are not there yet.",
    (
        "sriov_offset",
        "sriov_stride",
        "device_addresses of vGPU and NIC types",
        "mappings of NIC types",
        "[pci] passthrough_whitelist",
    ),
)
def parts_configured(view: core.View) -> Iterator[core.Finding]:
    """Withhold a whole card whose virtual functions are still to come.

    Some hosts make them late in their start: a guest that got the card
    before would have it together with those that get the parts.
    """
    absent = {
        address: option
        for address, option in _configured(view)
        if address not in view.functions
    }
    names = dict(_configured_netdevs(view))
    if not absent and not names:
        return
    for offer, function in view.free_passed():
        if not function.sriov_totalvfs or function.virtfns:
            continue
        for address in pci.virtual_addresses(function):
            if address in absent:
                yield (
                    offer,
                    function.address,
                    f"{address} of {function.address} is configured in "
                    f"{absent[address]} and not there yet",
                )
                break
        for name in function.netdevs:
            if name in names:
                yield (
                    offer,
                    function.address,
                    f"a virtual function of {name} is configured in "
                    f"{names[name]} and not there yet",
                )


@core.rule(
    "part-in-use",
    "A guest has a part of the function.",
    ("handles in use", "virtfn*", "sriov_offset", "sriov_stride"),
    is_expected=True,
)
def part_in_use(view: core.View) -> Iterator[core.Finding]:
    """Withhold a card of which a guest has a virtual function."""
    if not view.used:
        return
    for offer, function in view.free_passed():
        if not function.sriov_totalvfs and not function.virtfns:
            continue
        for address in pci.virtual_addresses(function):
            if address in view.used:
                yield (
                    offer,
                    function.address,
                    f"a guest has {address}, a part of {function.address}",
                )
                break


@core.rule(
    "whole-in-use",
    "A guest has the card that the function is a part of.",
    ("handles in use", "physfn"),
    is_expected=True,
)
def whole_in_use(view: core.View) -> Iterator[core.Finding]:
    """Withhold the parts of a card that a guest has whole."""
    for offer, function in view.free_passed():
        if function.physfn in view.used_whole:
            yield (
                offer,
                function.address,
                f"a guest has {function.physfn}, which {function.address} "
                "is a part of",
            )


RULES = (
    has_parts,
    no_vgpu_type,
    parts_configured,
    part_in_use,
    whole_in_use,
)


# -- what is configured


def _vgpu_addresses(view: core.View) -> Iterator[str]:
    for name in view.conf.gpu_devices.enabled_vgpu_types:
        group = conf_devices.register_vgpu_type(view.conf, name)
        yield from _canonical(view.conf[group].device_addresses)


def _configured(view: core.View) -> Iterator[tuple[str, str]]:
    """Yield the addresses that are configured, with where."""
    for name in view.conf.gpu_devices.enabled_vgpu_types:
        group = conf_devices.register_vgpu_type(view.conf, name)
        for address in _canonical(view.conf[group].device_addresses):
            yield address, f"[{group}] device_addresses"
    for name in view.conf.nic_devices.enabled_nic_types:
        group = conf_devices.register_nic_type(view.conf, name)
        for address in _canonical(view.conf[group].device_addresses):
            yield address, f"[{group}] device_addresses"
    for entry in whitelist.parse(view.conf.pci.passthrough_whitelist):
        if entry.exact is not None:
            yield entry.exact, "[pci] passthrough_whitelist"


def _configured_netdevs(view: core.View) -> Iterator[tuple[str, str]]:
    """Yield the network devices of cards whose parts are mapped by name.

    ``physnet1:enp5s0f0v2`` is about a part of ``enp5s0f0``.
    """
    present = {
        name for item in view.functions.values() for name in item.netdevs
    }
    for kind in view.conf.nic_devices.enabled_nic_types:
        group = conf_devices.register_nic_type(view.conf, kind)
        for option in ("physical_device_mappings", "function_device_mappings"):
            for entry in view.conf[group][option]:
                for name in entry.partition(":")[2].split("|"):
                    match = _VF_NETDEV.fullmatch(name.strip())
                    if match and name.strip() not in present:
                        yield match[1], f"[{group}] {option}"


def _canonical(addresses: list[str]) -> Iterator[str]:
    for text in addresses:
        try:
            yield pci.normalise_address(text.strip())
        except exception.PciDeviceWrongAddressFormat:
            # The driver refuses it, or reads a pattern in it.
            continue
