"""NVMe drives that an SPDK process owns: shown, and never scheduled.

Nova cannot attach them: a PCI handle would take the drive from SPDK. So they
have an inventory of 0 and no handles.
"""

from collections.abc import Iterator
import dataclasses
import pathlib
from typing import Any
from typing import ClassVar

from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import spdk
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report


@dataclasses.dataclass(frozen=True)
class Drive:
    """An NVMe controller with a block device nobody has claimed."""

    address: str  # PCI address of the controller
    bdev: str  # "name" of the block device
    vendor: str  # "ctrlr_data": {"vendor_id"}, without 0x; "" if not told
    model: str  # "ctrlr_data": {"model_number"}
    size: int  # "block_size" times "num_blocks"


def parse_drives(bdevs: Any) -> list[Drive]:
    """Return the drives in an answer to ``bdev_get_bdevs``, by address.

    ``driver_specific`` of an NVMe block device has a list of paths, and one
    object in older releases::

        {"nvme": [{"pci_address": "0000:5e:00.0", "trid": {"trtype": "PCIe",
         "traddr": "0000:5e:00.0"}, "ctrlr_data": {...}, ...}]}

    A drive with several namespaces has a block device for each; the first in
    the order of names stands for it.

    :raises DriverError: the answer has another shape
    """
    drives: dict[str, Drive] = {}
    try:
        for bdev in sorted(bdevs, key=lambda bdev: bdev["name"]):
            if bdev.get("claimed", False):
                continue
            for path in _paths(bdev):
                drive = _drive(bdev, path)
                if drive is not None:
                    drives.setdefault(drive.address, drive)
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        exception.PciDeviceWrongAddressFormat,
    ) as error:
        raise exception.DriverError(
            reason=f"SPDK described a block device oddly: {error!r}"
        ) from error
    return [drives[key] for key in sorted(drives, key=pci.sort_key)]


def _paths(bdev: dict[str, Any]) -> Iterator[dict[str, Any]]:
    paths = bdev.get("driver_specific", {}).get("nvme", [])
    yield from [paths] if isinstance(paths, dict) else paths


def _drive(bdev: dict[str, Any], path: dict[str, Any]) -> Drive | None:
    trid = path.get("trid", {})
    # A drive behind a network has an IP address here, vfio-user a directory.
    if trid.get("trtype", "").lower() != "pcie":
        return None
    address = pci.normalise_address(trid["traddr"])
    controller = path.get("ctrlr_data", {})
    return Drive(
        address=address,
        bdev=bdev["name"],
        vendor=controller.get("vendor_id", "").removeprefix("0x"),
        model=controller.get("model_number", "").strip(),
        size=int(bdev["block_size"]) * int(bdev["num_blocks"]),
    )


class SPDKDriver(driver.Driver):
    """What the two drivers share; they differ in the socket.

    :param rpc: calls a method of the SPDK process; in its place, a client on
        the configured socket
    """

    VENDOR = "spdk"
    TYPE = constants.DeviceType.SSD
    SOCKET: ClassVar[str]

    def __init__(self, *, rpc: spdk.RPC | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        socket = pathlib.PurePath(self.conf.spdk[self.SOCKET])
        self._rpc = rpc or spdk.Client(
            self.root / socket.relative_to("/"),
            timeout=self.conf.agent.command_timeout,
        )

    def discover(self) -> list[report.DriverDevice]:
        if not self.conf.spdk.report_bdevs:
            return []
        return [
            self._device(drive)
            for drive in parse_drives(self._rpc("bdev_get_bdevs", None))
        ]

    def _device(self, drive: Drive) -> report.DriverDevice:
        deployable = describe.deployable(
            self.host,
            drive.address,
            resource_class=constants.RC_SSD,
            traits=["CUSTOM_SSD_SPDK"],
            handles=[],
            driver_name=self.VENDOR,
            count=0,
        )
        return report.DriverDevice(
            vendor=drive.vendor,
            model=drive.model,
            type=str(self.TYPE),
            std_board_info=describe.board_info(
                bdev=drive.bdev, size=str(drive.size)
            ),
            vendor_board_info=describe.vendor_info("ssd_vb_info"),
            controlpath_id=describe.control_path_id(drive.address),
            deployable_list=[deployable],
        )


class NVMFSPDKDriver(SPDKDriver):
    """Drives of the NVMe-oF target."""

    SOCKET = "nvmf_socket"


class VhostSPDKDriver(SPDKDriver):
    """Drives of the vhost target."""

    SOCKET = "vhost_socket"
