"""A card that does not exist, to try and to test everything else with.

By default: one FPGA with 16 handles of type TEST_PCI, which Nova ignores. It
has every optional interface, so it also shows how a driver is written.

A file ``$state_path/fake-driver.json``, read at each operation, asks for
something else; every key is optional::

    {"devices": 1,              how many cards
     "handles": 16,             of each card
     "attach_type": "TEST_PCI", or "MDEV"
     "mdev_type": "fake-1",     of MDEV handles
     "traits": [],              more traits, as trait0 ...
     "discover": {...}, "program": {...}, "update": {...},
     "create_mdev": {...}, "remove_mdev": {...},
     "cleaning": ["wipe"],      names of the steps of a cleaning
     "holder": "qemu",          who has a card open
     "clean": {...}}

The last say how an operation goes: ``{"seconds": 5}`` takes that long,
``{"fail": "text"}`` raises, ``{"result": false}`` is refused by the card,
``{"hang": true}`` does not return while the file says so.

What the card holds is kept in ``$state_path/fake-driver/``: a file for each
mdev, ``mdev/<address>/<type>/<uuid>``, the digest of the image last
loaded, ``images/<address>``, and a line for each step by which a handle was
cleaned, ``cleaned/<handle>``.
"""

import hashlib
import json
import pathlib
import re
import time
from typing import Any

from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

_MOST_HANDLES = 255
_MOST_DEVICES = 244
_FIRST_BUS = 0x0C
_POLL_SECONDS = 0.05

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class FakeDriver(
    driver.Driver,
    driver.Programmable,
    driver.Updatable,
    driver.MdevProvider,
    driver.Cleanable,
):
    """Reports cards that only exist in its control file."""

    VENDOR = "fake"
    TYPE = constants.DeviceType.FPGA
    IMAGE_SUFFIX = ".bin"

    def discover(self) -> list[report.DriverDevice]:
        self._act("discover")
        control = self._control()
        count = min(control.get("devices", 1), _MOST_DEVICES)
        return [self._device(number, control) for number in range(count)]

    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        return self._load("program", controlpath_id, image_file_path)

    def update(self, controlpath_id: dict[str, Any], image_path: str) -> bool:
        return self._load("update", controlpath_id, image_path)

    def get_stats(self, controlpath_id: dict[str, Any]) -> dict[str, Any]:
        address = self._address(controlpath_id)
        try:
            image = self._image(address).read_text()
        except FileNotFoundError:
            image = ""
        number = int(address.split(":")[1], 16) - _FIRST_BUS
        handles = self._handles(number, self._control())
        return {
            "device": {
                "device_name": address,
                "device_number": f"FAKE{number:08d}",
                "properties": {
                    "id": "0xabcd",
                    "temperature": "40",
                    "power": "25",
                    "volt": "12",
                    "image": image,
                },
                "deploy": [
                    {
                        "accelerator": {
                            "acc_name": self._name(number),
                            "properties": {
                                "handles": str(len(handles)),
                                "mdevs": str(len(self._mdevs(address))),
                            },
                        }
                    }
                ],
            }
        }

    def create_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        if self._act("create_mdev") is False:
            raise exception.DriverError(reason=f"{address} refused {uuid}")
        self._check(address)
        path = self._mdev(address, mdev_type, uuid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def remove_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        if self._act("remove_mdev") is False:
            raise exception.DriverError(reason=f"{address} refused {uuid}")
        # A card that is gone has taken its mdevs along.
        pci.parse_address(address)
        self._mdev(address, mdev_type, uuid).unlink(missing_ok=True)

    def has_mdev(self, address: str, mdev_type: str, uuid: str) -> bool:
        return self._mdev(address, mdev_type, uuid).exists()

    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[driver.Step]:
        self._address(controlpath_id)
        names = self._control().get("cleaning", ["wipe"])
        if not names:
            raise driver.CannotClean(reason="the card has no way to do so")
        return [driver.Step(name, "what it holds", 60) for name in names]

    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: driver.Step,
    ) -> None:
        if self._act("clean") is False:
            raise exception.DriverError(reason=f"{step.name} was refused")
        path = self._state() / "cleaned" / handle["uuid"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:
            file.write(f"{step.name}\n")

    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        return self._control().get("holder")

    # -- what is reported

    def _device(
        self, number: int, control: dict[str, Any]
    ) -> report.DriverDevice:
        handles = self._handles(number, control)
        # Key and order are what every release reported.
        attributes = [
            ("traits1", "CUSTOM_FAKE_DEVICE"),
            (constants.ATTR_RESOURCE_CLASS, constants.RC_FPGA),
        ]
        attributes += [
            (f"{constants.ATTR_TRAIT_PREFIX}{index}", describe.trait(text))
            for index, text in enumerate(control.get("traits", []))
        ]
        deployable = report.DriverDeployable(
            name=self._name(number),
            num_accelerators=len(handles),
            driver_name="fake",
            attribute_list=[
                report.DriverAttribute(key=key, value=value)
                for key, value in attributes
            ],
            attach_handle_list=handles,
        )
        return report.DriverDevice(
            vendor="0xABCD",
            model="miss model info",
            type=str(self.TYPE),
            std_board_info=json.dumps(
                {"device_id": "0xabcd", "class": "Fake class"}
            ),
            vendor_board_info="fake_vendor_info",
            controlpath_id=report.DriverControlPathID(
                cpid_type=str(constants.ControlPathIDType.PCI),
                cpid_info=json.dumps(
                    {
                        "domain": "0000",
                        "bus": f"{_FIRST_BUS + number:02x}",
                        "device": "00",
                        "function": "0",
                    },
                    separators=(",", ":"),
                ),
            ),
            deployable_list=[deployable],
        )

    def _name(self, number: int) -> str:
        suffix = f"_{number}" if number else ""
        return _NOT_IN_NAMES.sub("_", f"{self.host}_FakeDevice{suffix}")

    def _handles(
        self, number: int, control: dict[str, Any]
    ) -> list[report.DriverAttachHandle]:
        count = min(control.get("handles", 16), _MOST_HANDLES)
        if control.get("attach_type") == constants.AttachHandleType.MDEV:
            return describe.mdev_handles(
                f"0000:{_FIRST_BUS + number:02x}:00.0",
                control.get("mdev_type", "fake-1"),
                count,
            )
        return [
            report.DriverAttachHandle(
                attach_type=str(constants.AttachHandleType.TEST_PCI),
                attach_info=json.dumps(
                    {
                        "domain": "0000",
                        "bus": f"{_FIRST_BUS + number:02x}",
                        "device": str(index // 8),
                        "function": str(index % 8),
                    }
                ),
            )
            for index in range(1, count + 1)
        ]

    # -- what the card holds

    def _state(self) -> pathlib.Path:
        return pathlib.Path(self.conf.state_path, "fake-driver")

    def _image(self, address: str) -> pathlib.Path:
        return self._state() / "images" / address

    def _mdev(self, address: str, mdev_type: str, uuid: str) -> pathlib.Path:
        return self._state() / "mdev" / address / mdev_type / uuid

    def _mdevs(self, address: str) -> list[pathlib.Path]:
        return sorted((self._state() / "mdev" / address).glob("*/*"))

    def _load(
        self, operation: str, controlpath_id: dict[str, Any], image: str
    ) -> bool:
        address = self._address(controlpath_id)
        if self._act(operation) is False:
            return False
        path = self._image(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = pathlib.Path(image).read_bytes()
        path.write_text(hashlib.sha256(content).hexdigest())
        return True

    def _address(self, controlpath_id: dict[str, Any]) -> str:
        expected = constants.ControlPathIDType.PCI
        if controlpath_id["cpid_type"] != expected:
            raise exception.InvalidType(
                actual=controlpath_id["cpid_type"], expected=str(expected)
            )
        address = pci.format_address(controlpath_id["cpid_info"])
        self._check(address)
        return address

    def _check(self, address: str) -> None:
        """Refuse what is not the address of one of the cards."""
        count = min(self._control().get("devices", 1), _MOST_DEVICES)
        known = (f"0000:{_FIRST_BUS + n:02x}:00.0" for n in range(count))
        if address not in known:
            raise exception.PciDeviceNotFoundById(id=address)

    # -- how operations go

    def _control(self) -> dict[str, Any]:
        path = pathlib.Path(self.conf.state_path, "fake-driver.json")
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}

    def _act(self, operation: str) -> bool | None:
        """Behave as the control file says; return the result it tells."""
        wanted = self._control().get(operation, {})
        time.sleep(wanted.get("seconds", 0))
        while self._control().get(operation, {}).get("hang"):
            time.sleep(_POLL_SECONDS)
        if "fail" in wanted:
            raise exception.DriverError(reason=wanted["fail"])
        return wanted.get("result")
