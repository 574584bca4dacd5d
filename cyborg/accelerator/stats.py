"""What the kernel measures on a PCI card.

Everything here is optional: a value no file gives is left out.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs

# hwmon file, key, what to divide by. Documentation/hwmon/sysfs-interface:
# millidegrees, microwatts, millivolts, revolutions per minute. A GPU or NIC
# has hwmon below the PCI function, an NVMe drive below its controller, an FPGA
# below its management engine.
_HWMON = (
    ("temp1_input", "temperature", 1000),
    ("power1_input", "power", 1_000_000),
    ("power1_average", "power", 1_000_000),
    ("in0_input", "volt", 1000),
    ("fan1_input", "fan", 1),
)
_HWMON_PLACES = (
    "hwmon/hwmon*",
    "nvme/nvme*/hwmon*",
    "fpga_region/region*/dfl-fme.*/hwmon/hwmon*",
)

# Documentation/ABI/testing/sysfs-bus-pci.
_LINK = (
    "current_link_speed",
    "current_link_width",
    "max_link_speed",
    "max_link_width",
)
# Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats: lines
# ``TOTAL_ERR_COR 0`` after one line for each kind of error.
_AER = ("aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal")


def document(
    card: pci.Function,
    functions: Mapping[str, pci.Function],
    accelerators: Iterable[str],
) -> dict[str, Any]:
    """Return the statistics of a card and what is scheduled of it.

    ::

        {"device": {"device_name": "0000:3b:00.0", "device_number": "",
                    "properties": {"temperature": "41", ...},
                    "deploy": [{"accelerator": {"acc_name": ...,
                                                "properties": {...}}}]}}

    Values are texts: degrees Celsius, watts, volts.
    """
    deploy = []
    for address in accelerators:
        function = functions.get(address)
        properties = properties_of(function) if function else {}
        deploy.append(
            {"accelerator": {"acc_name": address, "properties": properties}}
        )
    return {
        "device": {
            "device_name": card.address,
            "device_number": serial_number(card),
            "properties": properties_of(card),
            "deploy": deploy,
        }
    }


def serial_number(card: pci.Function) -> str:
    """Return the serial number an NVMe drive tells, "" of other cards."""
    for path in sysfs.glob(card.path, "nvme/nvme*/serial"):
        return sysfs.read_optional(path) or ""
    return ""


def properties_of(function: pci.Function) -> dict[str, Any]:
    """Return what is measured on one function, as texts."""
    found: dict[str, Any] = {"id": f"{function.vendor}:{function.product}"}
    if function.driver is not None:
        found["driver"] = function.driver
    if function.numa_node is not None:
        found["numa_node"] = str(function.numa_node)
    found |= _hwmon(function.path)
    for name in _LINK:
        text = sysfs.read_optional(function.path, name)
        if text is not None:
            found[name] = text
    for name in _AER:
        total = _aer_total(sysfs.read_optional(function.path, name))
        if total is not None:
            found[name] = total
    return found


def _hwmon(path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for place in _HWMON_PLACES:
        for directory in sysfs.glob(path, place):
            for name, key, unit in _HWMON:
                value = sysfs.read_int(directory, name)
                if value is not None and key not in found:
                    found[key] = f"{value / unit:g}"
    return found


def _aer_total(text: str | None) -> str | None:
    for line in (text or "").splitlines():
        name, _space, count = line.partition(" ")
        if name.startswith("TOTAL_ERR"):
            return count.strip()
    return None
