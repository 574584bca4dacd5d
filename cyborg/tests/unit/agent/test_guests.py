"""Who has which device, on machines with a /proc and a /sys of files."""

from collections.abc import Iterator
import json
import os
import pathlib
from typing import Any

import pytest

from cyborg.accelerator import describe
from cyborg.agent import guests
from cyborg.agent import in_use
from cyborg.agent import report
from cyborg.objects import report as objects

A = "11111111-1111-4111-8111-111111111111"
B = "22222222-2222-4222-8222-222222222222"
MDEV = "33333333-3333-4333-8333-333333333333"
FIRST = "0000:5e:00.0"
SECOND = "0000:5f:00.0"


class Machine:
    """Two cards that guests are given whole, and an mdev."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._next = 100
        (root / "proc/self/ns").mkdir(parents=True)
        os.symlink("pid:[4026531836]", root / "proc/self/ns/pid")
        self._group(f"sys/bus/pci/devices/{FIRST}", "23")
        self._group(f"sys/bus/pci/devices/{SECOND}", "24")
        self._group(f"sys/bus/mdev/devices/{MDEV}", "25")
        (root / f"sys/bus/pci/devices/{SECOND}/vfio-dev/vfio0").mkdir(
            parents=True
        )
        self.devices = [
            report.plain(_card(FIRST)),
            report.plain(_card(SECOND)),
        ]

    def _group(self, directory: str, number: str) -> None:
        path = self.root / directory
        path.mkdir(parents=True)
        os.symlink(f"../../kernel/iommu_groups/{number}", path / "iommu_group")

    def run(
        self, server: str | None, *nodes: str, name: str = "qemu-kvm"
    ) -> int:
        """Start a guest that has these nodes open; returns its process."""
        self._next += 1
        directory = self.root / f"proc/{self._next}"
        (directory / "fd").mkdir(parents=True)
        (directory / "comm").write_text(f"{name}\n")
        words = ["/usr/bin/qemu", "-name", "guest=i"]
        words += ["-uuid", server] if server else []
        (directory / "cmdline").write_text("\0".join([*words, "-m", "1", ""]))
        for number, node in enumerate(("/dev/null", "/dev/vfio/vfio", *nodes)):
            os.symlink(node, directory / f"fd/{number}")
        return self._next

    def look(self, *handles: in_use.Handle) -> list[tuple[str, str]] | None:
        found = guests.look(self.root, handles, self.devices)
        if found is None:
            return None
        return [(each.kind, each.text) for each in found]


def _card(address: str) -> objects.DriverDevice:
    return objects.DriverDevice(
        vendor="10de",
        model="A2",
        type="GPU",
        controlpath_id=describe.control_path_id(address),
        deployable_list=[
            objects.DriverDeployable(
                name=address,
                num_accelerators=1,
                attach_handle_list=[describe.handle(address)],
            )
        ],
    )


def bound(
    address: str = FIRST, server: str | None = A, **values: Any
) -> in_use.Handle:
    info = json.loads(describe.handle(address).attach_info)
    return in_use.Handle(
        **{
            "uuid": MDEV,
            "attach_type": "PCI",
            "attach_info": info,
            "device": "d",
            "arq": "a",
            "state": "Bound",
            "instance": server,
            **values,
        }
    )


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[Machine]:
    yield Machine(tmp_path / "root")


def test_guests_that_have_what_is_theirs(machine: Machine) -> None:
    machine.run(A, "/dev/vfio/23", "/dev/vfio/25")
    machine.run(B, "/dev/vfio/devices/vfio0")
    # It does not run; and nothing says what test devices are.
    machine.run("44444444-4444-4444-8444-444444444444")
    assert (
        machine.look(
            bound(),
            bound(SECOND, B),
            bound(attach_type="MDEV", address="0000:af:00.0"),
            bound("0000:60:00.0", "55555555-5555-4555-8555-555555555555"),
            bound("0000:61:00.0", attach_type="TEST_PCI"),
        )
        == []
    )


def test_a_guest_that_runs_without_it(machine: Machine) -> None:
    machine.run(A, "/dev/vfio/25")
    assert machine.look(bound()) == [
        (
            "guest-lost",
            f"{FIRST} is bound to server {A}, which runs without it",
        )
    ]
    # Not while it is being given, nor once it is given back.
    assert machine.look(bound(state="BindStarted")) == []
    assert machine.look(bound(state=None, arq=None, server=None)) == []


def test_another_guest_has_it(machine: Machine) -> None:
    number = machine.run(B, "/dev/vfio/23")
    assert machine.look(bound()) == [
        (
            "guest-foreign",
            f"{FIRST} is bound to server {A}, and server {B} "
            f"(process {number}) has it",
        )
    ]


def test_two_guests_have_it(machine: Machine) -> None:
    machine.run(A, "/dev/vfio/25")
    machine.run(B, "/dev/vfio/25")
    ((kind, text),) = machine.look(
        bound(attach_type="MDEV", address="0000:af:00.0")
    ) or [("", "")]
    assert kind == "guest-double"
    assert A in text and B in text and MDEV in text


@pytest.mark.parametrize("server", [A, None])
def test_a_guest_has_what_is_free(
    machine: Machine, server: str | None
) -> None:
    machine.run(server, "/dev/vfio/23")
    # Another user of VFIO is no guest, and another's affair.
    machine.run(None, "/dev/vfio/24", name="spdk_tgt")
    (finding,) = guests.look(machine.root, [], machine.devices) or []
    assert finding.kind == "guest-held"
    assert f"{FIRST} is free" in finding.text
    assert finding.cpid_info == describe.control_path_id(FIRST).cpid_info


def test_a_guest_goes_on_with_what_was_given_back(machine: Machine) -> None:
    machine.run(A, "/dev/vfio/23")
    ((kind, text),) = machine.look(
        bound(state=None, arq=None, server=None)
    ) or [("", "")]
    assert kind == "guest-held"
    assert "is given back" in text


def test_a_container_sees_no_guests(machine: Machine) -> None:
    path = machine.root / "proc/self/ns/pid"
    path.unlink()
    os.symlink("pid:[4026532000]", path)
    assert machine.look(bound()) is None
