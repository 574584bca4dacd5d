"""What holds for whole agents on any machine."""

import dataclasses
import itertools
import os
import pathlib
import tempfile
from typing import Any

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st

from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent.gate import whole

# Vendor, product, product of the virtual functions, class, host's driver.
KINDS = {
    "gpu": ("10de", "2235", "2235", "030200", "nvidia"),
    "qat": ("8086", "37c8", "37c9", "0b4000", "c6xx"),
    "nic": ("8086", "1572", "154c", "020000", "i40e"),
    "drive": ("1bd4", "1003", "1003", "010802", "nvme"),
    "other": ("144d", "a824", "a825", "120000", "xyz"),
}
DRIVERS = (
    "nvidia_gpu_driver",
    "intel_qat_driver",
    "intel_nic_driver",
    "inspur_nvme_ssd_driver",
    "pci_driver",
)
READY = "vfio-pci"
# Thousands of small files: where there is one, in a file system in memory.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclasses.dataclass
class Function:
    """One function of a generated machine."""

    address: str
    kind: str
    driver: str | None
    group: int
    whole: str | None = None
    parts: list[str] = dataclasses.field(default_factory=list)
    is_used: bool = False

    @property
    def text(self) -> str:
        vendor, product, part, code, _driver = KINDS[self.kind]
        text = whole.function(
            self.address,
            vendor,
            part if self.whole else product,
            code,
            driver=self.driver,
            group=self.group,
            physfn=self.whole,
            virtfns=self.parts,
            totalvfs=None if self.whole else 8,
        )
        if self.kind == "drive":
            return text + self._disk
        return text + (self._netdev if self.kind == "nic" else "")

    @property
    def _name(self) -> str:
        return self.address[5:7] + self.address[-1]

    @property
    def _disk(self) -> str:
        if self.driver != "nvme":
            return ""
        bus = self.address.rpartition(":")[0]
        name = f"nvme{self._name}n1"
        where = f"devices/pci{bus}/{self.address}/nvme/x/{name}"
        used = f"sys/fs/xfs/{name}/\n" if self.is_used else ""
        return (
            f"sys/{where}/holders/\nsys/class/block/{name} -> ../../{where}\n"
            + used
        )

    @property
    def _netdev(self) -> str:
        if self.driver != "i40e":
            return ""
        bond = ["master -> ../../bond0"] if self.is_used else []
        return whole.netdev(self.address, f"e{self._name}", *bond)


@st.composite
def machines(draw: Any) -> tuple[list[Function], set[str], dict[str, Any]]:
    """Draw functions, those that guests have, and options."""
    found: list[Function] = []
    for bus in range(1, draw(st.integers(1, 5)) + 1):
        kind = draw(st.sampled_from(sorted(KINDS)))
        usual = KINDS[kind][4]
        address = f"0000:{bus:02x}:00.0"
        count = draw(st.sampled_from((0, 0, 1, 2)))
        parts = [f"0000:{bus:02x}:00.{n + 1}" for n in range(count)]
        for place in (address, *parts):
            driver = draw(st.sampled_from((usual, usual, READY, None)))
            used = draw(st.booleans()) and driver == usual
            found.append(
                Function(
                    place,
                    kind,
                    driver,
                    draw(st.sampled_from((0, 1, 2, bus + 9))),
                    whole=None if place == address else address,
                    parts=parts if place == address else [],
                    is_used=used and kind in ("drive", "nic"),
                )
            )
    in_use: set[str] = set()
    for each in found:
        # A guest has a card or its parts, and shares no group with the host.
        others = {each.whole, *each.parts}
        if (
            draw(st.integers(0, 3)) == 0
            and not in_use & others
            and not each.is_used
        ):
            in_use.add(each.address)
            each.driver = READY
    conf = {
        "qat_devices": {"product_ids": ["37c8"]},
        "pci": {
            "passthrough_whitelist": tuple(
                f'{{"vendor_id": "{vendor}"}}'
                for vendor in draw(
                    st.lists(
                        st.sampled_from(("144d", "10de", "1bd4", "8086")),
                        unique=True,
                    )
                )
            )
        },
        "gpu_devices": {"filter_sriov_vfs": draw(st.booleans())},
    }
    return found, in_use, conf


def contents(function: Function) -> set[str]:
    return {function.address, *function.parts}


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(machines(), st.permutations(DRIVERS))
def test_offers(drawn: Any, drivers: list[str]) -> None:
    functions, in_use, conf = drawn
    text = "".join(each.text for each in functions) + "sys/fs/ext4/\n"
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        root = machine.unpack_text(text, pathlib.Path(directory, "machine"))
        agent = whole.Agent(root, *drivers, **conf)
        reported = agent.report(in_use)
    known = {each.address: each for each in functions}
    offered = [known[a] for a, rules in reported.items() if not rules]
    free = [each for each in offered if each.address not in in_use]

    # What a guest has is not withdrawn.
    assert not [a for a in in_use if reported.get(a)]
    # No two contain one function.
    for one, other in itertools.combinations(offered, 2):
        assert not contents(one) & contents(other), (one, other)
    for each in free:
        # Nor is a part, or the whole, of it somebody's.
        assert not contents(each) & in_use
        assert each.whole not in in_use
        # The host uses nothing of it.
        assert not any(known[a].is_used for a in contents(each))
        # VFIO gives it away, and nothing of its group is somebody else's.
        group = [
            other
            for other in functions
            if each.group and other.group == each.group and other is not each
        ]
        assert all(other.driver in (READY, None) for other in group)
        assert not [other for other in group if other in offered]
        assert not [other for other in group if other.address in in_use]
