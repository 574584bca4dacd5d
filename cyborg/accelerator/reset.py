"""Resets what a guest had of a PCI card, and looks whether it is well."""

import os
import time

from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import reset_file
from cyborg.accelerator import sysfs
from cyborg.accelerator import usage
from cyborg.accelerator import vfio
from cyborg.common import exception

NAME = "pci-reset"
# Seconds: a bus reset waits 1 s for the link, and up to 60 s for the card.
_TIMEOUT = 120.0
_POLL = 0.1
# What a card that does not answer reads as.
_NOTHING = b"\xff\xff"


def step(root: sysfs.Path, address: str) -> driver.Step:
    """Return the step that resets a function.

    :raises CannotClean: the kernel knows no way
    """
    methods = reset_file.methods(root, address)
    if not methods:
        raise driver.CannotClean(
            reason=f"the kernel knows no way to reset {address}"
        )
    return driver.Step(
        NAME,
        f"registers and memory of {address} that a reset clears "
        f"({', '.join(methods)})",
        _TIMEOUT,
        hides=True,
        # A boot resets it all the same.
    )


def reset(root: sysfs.Path, address: str, timeout: float) -> None:
    """Reset a function, and wait until it answers.

    :raises DriverError: it did not, or the kernel refused
    """
    privileged.reset_function(root, address)
    deadline = time.monotonic() + timeout
    while not answers(root, address):
        if time.monotonic() > deadline:
            raise exception.DriverError(
                reason=f"{address} does not answer since it was reset"
            )
        time.sleep(_POLL)


def answers(root: sysfs.Path, address: str) -> bool:
    """Return whether a function's configuration space can be read.

    A virtual function has no vendor of its own there.
    """
    path = sysfs.resolve(root, pci.DEVICES, address)
    try:
        with open(os.path.join(path, "config"), "rb") as file:
            begin = file.read(64)
    except OSError:
        return False
    if len(begin) < 16:
        return False
    is_virtual = sysfs.link_target(path, "physfn") is not None
    return is_virtual or begin[:2] != _NOTHING


def holder(root: sysfs.Path, address: str) -> str | None:
    """Return who has a function open, or may have; None = nobody."""
    path = sysfs.resolve(root, pci.DEVICES, address)
    try:
        function = pci.read_function(address, path)
    except OSError as error:
        raise exception.PciDeviceNotFoundById(id=address) from error
    host = usage.Host(root)
    if vfio.is_driver(function.driver):
        if not host.processes.is_evident:
            return (
                f"{address} is bound to {function.driver}, and it cannot be "
                "seen whether a process has it"
            )
        process = host.processes.holder(function)
        if process is not None:
            return (
                f"{address} is open in process {process.number}, "
                f"{process.name}"
            )
    elif not host.disks.is_evident(function.path):
        return f"what the host does with the disks of {address} is not seen"
    uses = [
        *host.disks.uses(function.path),
        *host.networks.uses(function.path),
        *host.processes.spdk(address),
    ]
    return f"{address} {uses[0]}" if uses else None
