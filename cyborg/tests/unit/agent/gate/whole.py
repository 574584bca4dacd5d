"""A whole agent on a recorded machine: real drivers, and the gate."""

from collections.abc import Collection
import functools
import importlib.metadata
import json
import pathlib
from typing import Any

from cyborg.accelerator import pci
from cyborg.agent import discovery
from cyborg.agent import report
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine


@functools.cache
def _drivers() -> dict[str, Any]:
    """Return the drivers' classes by the names of their entry points."""
    points = importlib.metadata.entry_points(group=discovery.NAMESPACE)
    return {point.name: point.load() for point in points}


class Agent:
    """An agent that looks at ``root``.

    :param drivers: entry points, as in ``[agent] enabled_drivers``
    :param conf: options by group
    """

    def __init__(
        self,
        root: pathlib.Path,
        *drivers: str,
        **conf: dict[str, Any],
    ) -> None:
        self.root = root
        state = root.with_name(f"{root.name}-state")
        (state / "agent").mkdir(parents=True, exist_ok=True)
        groups = {"DEFAULT": {"state_path": str(state)}, **conf}
        groups["agent"] = {
            "enabled_drivers": list(drivers),
            **conf.get("agent", {}),
        }
        self.conf = driver_fixture.conf(**groups)

        def factory(name: str) -> Any:
            return lambda: _drivers()[name](
                root=root,
                run=machine.Commands(),
                host="cn1",
                conf=self.conf,
            )

        self.drivers = discovery.construct(
            discovery.Enabled(name, factory(name)) for name in drivers
        )
        self.discovery = discovery.Discovery(
            self.drivers, report.Cache(state / "agent" / "last.json")
        )

    def report(
        self,
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> dict[str, list[str]]:
        """Return the rules that withhold each deployable, by its address.

        :param in_use: addresses of functions that guests have, or the whole
            texts of handles
        :param made: uuids of mdevs
        """
        return {
            deployable["name"].removeprefix("cn1_"): [
                each["rule"] for each in deployable["withheld"]
            ]
            for driver in self.discovery.run(_infos(in_use), made)
            for device in driver.devices
            for deployable in device["deployable_list"]
        }

    def totals(
        self,
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> dict[str, tuple[str, int]]:
        """Return class and number of what can be given, by address.

        The arguments are those of :meth:`report`.
        """
        return {
            deployable["name"].removeprefix("cn1_"): (
                deployable["attribute_list"][0]["value"],
                deployable["num_accelerators"],
            )
            for driver in self.discovery.run(_infos(in_use), made)
            for device in driver.devices
            for deployable in device["deployable_list"]
            if not deployable["withheld"]
        }

    def warnings(self) -> list[str]:
        """Return what the drivers found odd last."""
        return [
            text
            for enabled in self.drivers
            for text in enabled.get().warnings()
        ]

    def handles(
        self,
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> list[str]:
        """Return the texts of the handles that can be given."""
        return [
            handle["attach_info"]
            for driver in self.discovery.run(_infos(in_use), made)
            for device in driver.devices
            for deployable in device["deployable_list"]
            if not deployable["withheld"]
            for handle in deployable["attach_handle_list"]
        ]

    def stubs(self) -> list[str]:
        """Return the addresses of cards that are there and not described."""
        return [
            pci.format_address(json.loads(report.cpid_info(device)))
            for driver in self.discovery.run()
            for device in driver.devices
            if device["stub"]
        ]

    def offered(
        self,
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> list[str]:
        """Return the addresses of the deployables that are not withheld."""
        found = self.report(in_use, made)
        return [address for address, rules in found.items() if not rules]


def _infos(in_use: Collection[str] | None) -> list[str] | None:
    if in_use is None:
        return None
    return [
        each if each.startswith("{") else pci.address_info(each)
        for each in in_use
    ]


def function(address: str, *args: Any, group: int = 0, **values: Any) -> str:
    """Return the text of a function, see :func:`.machine.function`.

    :param group: of the IOMMU, 0 for none
    """
    extra = list(values.pop("extra", ()))
    if group:
        extra.append(f"iommu_group -> ../../../kernel/iommu_groups/{group}")
    return machine.function(address, *args, extra=extra, **values)


def divided(
    address: str,
    vendor: str,
    product: str,
    code: str,
    *parts: str,
    part_product: str | None = None,
    **values: Any,
) -> str:
    """Return the text of a physical function with virtual ones."""
    texts = [
        function(
            address,
            vendor,
            product,
            code,
            virtfns=parts,
            totalvfs=max(len(parts), 8),
            **values,
        )
    ]
    texts += [
        function(part, vendor, part_product or product, code, physfn=address)
        for part in parts
    ]
    return "".join(texts)


def netdev(address: str, name: str, *extra: str) -> str:
    """Return the text of a network device of a function."""
    bus = address.rpartition(":")[0]
    where = f"devices/pci{bus}/{address}/net/{name}"
    lines = [f"sys/{where}/operstate = up"]
    lines += [f"sys/{where}/{each}" for each in extra]
    lines += [f"sys/class/net/{name} -> ../../{where}", ""]
    return "\n".join(lines)


def drive(address: str, number: int, *extra: str, driver: str = "nvme") -> str:
    """Return the text of an Inspur drive with the disk ``nvme<number>n1``."""
    bus = address.rpartition(":")[0]
    text = function(address, "1bd4", "1001", "010802", driver=driver)
    if driver != "nvme":
        return text
    where = f"devices/pci{bus}/{address}/nvme/nvme{number}/nvme{number}n1"
    lines = [
        f"sys/{where}/dev = 259:{number}",
        f"sys/{where}/holders/",
        f"sys/class/block/nvme{number}n1 -> ../../{where}",
    ]
    lines += [f"sys/{where}/{each}" for each in extra]
    return text + "\n".join(lines) + "\n"


ROUTE = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU"


def default_route(name: str) -> str:
    """Return the text of the host's only route."""
    return (
        f"proc/net/route = {ROUTE}\\n{name} 00000000 0102A8C0 0003 0 0 100 "
        "00000000 0 0 0\n"
    )


# Mounts of a host whose root is on a disk of no interest.
MOUNTS = "proc/self/mountinfo = 24 1 8:2 / / rw - ext4 /dev/sda2 rw\n"


def info(address: str) -> str:
    """Return the ``attach_info`` of a handle."""
    return json.dumps(json.loads(pci.address_info(address)), sort_keys=True)
