"""The host lives on it: its disks, its networks, its console.

What kind of function a rule protects is withheld where none of the rule's
sources can be read; one that can be read is enough.
"""

from collections.abc import Iterator

from cyborg.accelerator import pci
from cyborg.accelerator import vfio
from cyborg.agent.gate import core


@core.rule(
    "host-uses-it",
    "The host itself uses the function.",
    (
        "class, boot_vga, driver",
        "/proc/1/mountinfo, /proc/self/mountinfo, /proc/swaps",
        "/sys/fs, holders, /sys/kernel/config",
        "/proc/net, /sys/class/net",
        "/var/tmp/spdk_pci_lock_*",
    ),
)
def host_uses_it(view: core.View) -> Iterator[core.Finding]:
    """Withhold disks, networks and what the board needs.

    A physical function is withheld with its virtual ones.
    """
    reasons: dict[str, list[str]] = {}
    for offer, function in view.free_functions():
        # The same function may be in several deployables.
        if function.address not in reasons:
            reasons[function.address] = list(_reasons(view, function))
        for text in reasons[function.address]:
            yield offer, function.address, text


def _reasons(view: core.View, function: pci.Function) -> Iterator[str]:
    for address in (function.address, *function.virtfns):
        part = view.functions.get(address)
        if part is not None:
            for text in view.host.reasons(part):
                yield f"{address} {text}"


@core.rule(
    "evidence-missing",
    "It cannot be told whether the host uses the disk or network card.",
    (
        "disks: the host's mounts, or /sys/fs and holders",
        "disks bound to vfio-pci: the host's processes",
        "networks: /proc/net/route, /proc/net/ipv6_route or /sys/class/net",
    ),
)
def evidence_missing(view: core.View) -> Iterator[core.Finding]:
    """Withhold the kinds of which nothing can be told."""
    for offer, function in view.free_functions():
        if function.class_code.startswith(core.DISK):
            missing = _disk_evidence_missing(view, function)
        elif function.class_code.startswith(core.NETWORK):
            missing = (
                "the host's networks cannot be seen"
                if function.netdevs and not view.host.networks.is_evident
                else None
            )
        else:
            missing = None
        if missing:
            yield offer, function.address, f"{function.address}: {missing}"


def _disk_evidence_missing(
    view: core.View, function: pci.Function
) -> str | None:
    if not vfio.is_driver(function.driver):
        if not view.host.disks.is_evident(function.path):
            return "the host's mounts cannot be seen"
        return None
    # A program of the host may drive it. A guest of ours had it else.
    if view.was_given(function.address) or view.host.processes.is_evident:
        return None
    return (
        f"it is bound to {function.driver}, and the host's processes, of "
        "which one may have it, cannot be seen"
    )


@core.rule(
    "held-by-process",
    "A process that is no guest of ours has the function open.",
    ("/proc/*/fd", "handles in use"),
)
def held_by_process(view: core.View) -> Iterator[core.Finding]:
    """Withhold what somebody has open through VFIO."""
    for offer, function in view.free_functions():
        if not vfio.is_driver(function.driver):
            continue
        process = view.host.processes.holder(function)
        if process is None:
            continue
        yield (
            offer,
            function.address,
            f"{function.address} is open in process {process.number}, "
            f"{process.name}",
        )


@core.rule(
    "carries-data",
    "The disk carries data and was never given to a guest.",
    ("/run/udev/data", "what guests had"),
)
def carries_data(view: core.View) -> Iterator[core.Finding]:
    """Withhold disks with a signature, unless a guest may have written it."""
    for offer, function in view.free_functions():
        if not function.class_code.startswith(core.DISK):
            continue
        if view.was_given(function.address):
            continue
        for text in view.host.disks.signatures(function.path):
            yield offer, function.address, f"{function.address} {text}"


RULES = (host_uses_it, evidence_missing, held_by_process, carries_data)
