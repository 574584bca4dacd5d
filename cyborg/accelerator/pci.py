"""Reads the PCI functions of a machine.

Identity comes from sysfs alone. ``lspci``, if installed, only adds names.
Vendor, product and class are lower-case hex digits without ``0x`` from here
on. Files: Documentation/ABI/testing/sysfs-bus-pci of the kernel.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import json
import os
import re
from typing import Any

from oslo_log import log

from cyborg.accelerator import patience
from cyborg.accelerator import sysfs
from cyborg.common import exception

LOG = log.getLogger(__name__)

DEVICES = "sys/bus/pci/devices"

_READING: patience.Patience[str, Any] = patience.Patience("reading")

# Domains of VMD controllers and of Hyper-V have five digits and more.
_ADDRESS = re.compile(
    r"([0-9a-f]{4,8}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE
)

_ID = re.compile(r"[0-9a-f]{4}")
_CLASS = re.compile(r"[0-9a-f]{6}")

# Names of the classes drivers accept, as lspci prints them.
CLASS_NAMES = {
    "0108": "Non-Volatile memory controller",
    "0200": "Ethernet controller",
    "0300": "VGA compatible controller",
    "0302": "3D controller",
    "0b40": "Co-processor",
    "1200": "Processing accelerators",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """One function of a PCI device; after a field, the file it is from."""

    address: str  # the directory's name: 0000:3b:00.0
    path: str  # the directory, links followed, to read more from
    vendor: str = ""  # vendor: 10de
    product: str = ""  # device: 1eb8
    class_code: str = ""  # class, base and sub-class: 0302
    revision: str | None = None  # revision: a1
    subsystem: tuple[str, str] | None = None  # subsystem_vendor, _device
    numa_node: int | None = None  # numa_node, where the kernel knows it
    driver: str | None = None  # driver, a link
    iommu_group: str | None = None  # iommu_group, a link: 23
    physfn: str | None = None  # physfn, a link: address of the PF
    virtfns: tuple[str, ...] = ()  # virtfn*, links: addresses of the VFs
    sriov_totalvfs: int = 0  # sriov_totalvfs, 0 if it can have no VFs
    netdevs: tuple[str, ...] = ()  # net/
    error: str | None = None  # why the rest is empty
    odd: str | None = None  # which of its links lead nowhere

    @property
    def slot(self) -> str:
        """The address without the function: 0000:3b:00."""
        return self.address.partition(".")[0]

    @property
    def class_name(self) -> str | None:
        """What lspci calls the class, None if no driver here wants it."""
        return CLASS_NAMES.get(self.class_code)


def parse_address(text: str) -> tuple[str, str, str, str]:
    """Return domain, bus, device and function, as the kernel writes them.

    :param text: ``0000:3B:00.0``; domains have four to eight digits, as
        nvidia-smi's ``00000000:3B:00.0``
    :raises PciDeviceWrongAddressFormat: it is something else
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise exception.PciDeviceWrongAddressFormat(address=text)
    domain, bus, device, function = match.group(1, 2, 3, 4)
    return f"{int(domain, 16):04x}", bus.lower(), device.lower(), function


def normalise_address(text: str) -> str:
    """Return the address as the kernel writes it.

    :param text: what :func:`parse_address` takes
    :raises PciDeviceWrongAddressFormat: it is something else
    """
    return "{}:{}:{}.{}".format(*parse_address(text))


def format_address(parts: Mapping[str, str]) -> str:
    """Return the address in what :func:`address_info` made, or a cpid_info.

    :raises PciDeviceWrongAddressFormat: a part is missing or no number
    """
    try:
        text = "{domain}:{bus}:{device}.{function}".format_map(parts)
    except (KeyError, TypeError) as error:
        raise exception.PciDeviceWrongAddressFormat(address=parts) from error
    return normalise_address(text)


def function_above(path: str) -> str | None:
    """Return the directory of the function that something belongs to.

    :param path: of a disk or a network device, links followed
    """
    while path:
        above, _slash, name = path.rpartition("/")
        if _ADDRESS.fullmatch(name):
            return path
        path = above
    return None


def sort_key(address: str) -> tuple[int, ...]:
    """Return what sorts addresses by number, long domains last."""
    return tuple(int(part, 16) for part in parse_address(address))


def virtual_addresses(function: Function) -> list[str]:
    """Return where the virtual functions of a physical one are, or will be.

    Those it could have are told by ``sriov_offset`` and ``sriov_stride``,
    see the SR-IOV specification: routing IDs are 8 bits of bus, 5 of device
    and 3 of function. Only those there are, where these cannot be read.
    """
    offset = sysfs.read_int(function.path, "sriov_offset")
    stride = sysfs.read_int(function.path, "sriov_stride")
    if offset is None or not stride or not function.sriov_totalvfs:
        return list(function.virtfns)
    domain, bus, device, number = parse_address(function.address)
    first = int(bus, 16) << 8 | int(device, 16) << 3 | int(number, 16)
    found = list(function.virtfns)
    for index in range(function.sriov_totalvfs):
        place = first + offset + index * stride
        address = (
            f"{domain}:{place >> 8:02x}:{place >> 3 & 0x1F:02x}.{place & 7}"
        )
        if address not in function.virtfns:
            found.append(address)
    return found


def address_info(address: str, **extra: str) -> str:
    """Return an address as the JSON text of cpid_info and attach_info.

    ``{"bus": "3b", "device": "00", "domain": "0000", "function": "0"}``,
    with ``extra`` sorted in between. The text is an identity: it must not
    differ by a byte between two reports.
    """
    domain, bus, device, function = parse_address(address)
    info = {
        "domain": domain,
        "bus": bus,
        "device": device,
        "function": function,
        **extra,
    }
    return json.dumps(info, sort_keys=True)


def read_functions(root: sysfs.Path) -> dict[str, Function]:
    """Return every PCI function of the machine by address, sorted.

    A function whose ids cannot be read has ``error`` set and no ids, so no
    driver takes it for its own. One that vanishes meanwhile is left out.

    :raises DriverError: the directory of PCI devices cannot be read
    """
    found = {}
    directory = sysfs.resolve(root, DEVICES)
    buses: dict[str, str] = {}
    paths = {
        _locate(root, directory, name, buses): name.lower()
        for name in sysfs.names(directory)
        if _ADDRESS.fullmatch(name)
    }

    def read(path: str) -> Function:
        return read_function(paths[path], path)

    for path, answer in _READING.each(read, paths).items():
        address = paths[path]
        if isinstance(answer, Function):
            found[address] = answer
        elif isinstance(answer, FileNotFoundError):
            LOG.debug("%s vanished while it was being read", address)
        elif not isinstance(answer, (OSError, exception.DriverError)):
            raise answer
        elif sysfs.is_directory(path):
            LOG.warning("PCI function %s is left out: %s", address, answer)
            found[address] = Function(address, path, error=str(answer))
    return {key: found[key] for key in sorted(found, key=sort_key)}


def _locate(
    root: sysfs.Path, directory: str, name: str, buses: dict[str, str]
) -> str:
    """Return where a function is.

    All functions of a bus have their directories in one, so links above it
    are followed once: ``buses`` has the outcome by link target.
    """
    target = sysfs.link_target(directory, name)
    if target is None:
        return f"{directory}/{name}"
    bus, _slash, last = target.rpartition("/")
    if bus not in buses:
        above = "" if bus.startswith("/") else DEVICES
        buses[bus] = sysfs.resolve(root, above, bus)
    path = f"{buses[bus]}/{last}"
    if last in ("", ".", "..") or sysfs.link_target(path) is not None:
        return sysfs.resolve(root, DEVICES, name)
    return path


def read_function(address: str, path: str) -> Function:
    """Return one function, read from its directory.

    :raises FileNotFoundError: there is no such directory
    :raises DriverError: its ids cannot be read
    """
    # One listing saves a failing open for each of the optional files.
    with os.scandir(path) as entries:
        present = {entry.name for entry in entries}

    def link(name: str) -> str | None:
        return sysfs.link_name(path, name) if name in present else None

    def number(name: str) -> int | None:
        return sysfs.read_int(path, name) if name in present else None

    odd = []
    parts = {"physfn": link("physfn")} if "physfn" in present else {}
    parts |= {
        name: link(name) for name in present if name.startswith("virtfn")
    }
    for name, target in list(parts.items()):
        if target is None or not _ADDRESS.fullmatch(target):
            odd.append(f"{name} leads to {target!r}, which is no function")
            del parts[name]
    physfn = parts.pop("physfn", None)
    virtfns = [target.lower() for target in parts.values() if target]
    subsystem = None
    if "subsystem_vendor" in present and "subsystem_device" in present:
        subsystem = (
            normalise_id(sysfs.read_optional(path, "subsystem_vendor") or ""),
            normalise_id(sysfs.read_optional(path, "subsystem_device") or ""),
        )
    node = number("numa_node")
    revision = None
    if "revision" in present:
        revision = sysfs.read_optional(path, "revision")
    return Function(
        address=address,
        path=path,
        vendor=_id(path, "vendor"),
        product=_id(path, "device"),
        class_code=_class_code(path),
        revision=revision.removeprefix("0x") if revision else None,
        subsystem=subsystem,
        # -1 is how the kernel says that it does not know.
        numa_node=node if node is not None and node >= 0 else None,
        driver=link("driver"),
        iommu_group=link("iommu_group"),
        physfn=physfn.lower() if physfn else None,
        virtfns=tuple(sorted(virtfns, key=sort_key)),
        sriov_totalvfs=number("sriov_totalvfs") or 0,
        netdevs=(
            tuple(sysfs.names_optional(path, "net"))
            if "net" in present
            else ()
        ),
        odd="; ".join(sorted(odd)) or None,
    )


def normalise_id(text: str) -> str:
    """Return an id as four lower-case hex digits: ``0x10DE`` is ``10de``."""
    return text.strip().lower().removeprefix("0x").zfill(4)


def _id(path: str, name: str) -> str:
    """Return the id in a file.

    :raises DriverError: it is none; all ones is what nobody answers
    """
    text = sysfs.read_text(path, name)
    found = normalise_id(text)
    if not text or not _ID.fullmatch(found) or found == "ffff":
        raise exception.DriverError(reason=f"{path}/{name} is no id: {text!r}")
    return found


def _class_code(path: str) -> str:
    """Return base and sub-class of ``0x030200``: ``0302``.

    :raises DriverError: there is no class
    """
    text = sysfs.read_text(path, "class")
    found = text.lower().removeprefix("0x").zfill(6)
    if not text or not _CLASS.fullmatch(found) or found == "ffffff":
        raise exception.DriverError(reason=f"{path}/class is none: {text!r}")
    return found[:4]


class Names:
    """What cards are called, asked of ``lspci`` when one is new.

    :param run: starts a program, see :func:`cyborg.accelerator.command.run`
    """

    def __init__(self, run: Callable[..., str]) -> None:
        self._run = run
        self._names: dict[tuple[str, str], str] = {}

    def learn(self, functions: Iterable[Function]) -> None:
        """Have the names of these functions ready; does not fail."""
        wanted = {(item.vendor, item.product) for item in functions}
        if wanted <= self._names.keys():
            return
        try:
            self._names |= parse_names(
                self._run(["lspci", "-D", "-vmm", "-nn"])
            )
        except exception.CommandFailed as error:
            LOG.info("PCI devices are reported without names: %s", error)

    def of(self, function: Function) -> str:
        """Return ``NVIDIA Corporation TU104GL [Tesla T4]``, or the ids.

        Ids, ``10de:1eb8``, where ``lspci`` is missing or failed.
        """
        ids = (function.vendor, function.product)
        return self._names.get(ids) or ":".join(ids)


_NAME_AND_ID = re.compile(r"(.*?) ?\[([0-9a-f]{4})\]")


def parse_names(text: str) -> dict[tuple[str, str], str]:
    """Return names by vendor and product from ``lspci -D -vmm -nn``.

    Records end in an empty line, and have lines such as
    ``Device:<tab>TU104GL [Tesla T4] [1eb8]``. Unknown names are printed as
    ``Vendor`` and ``Device``; the first is dropped, as lspci itself does in
    its one-line form.
    """
    found = {}
    for record in text.split("\n\n"):
        fields: dict[str, Any] = {}
        for line in record.splitlines():
            key, _colon, value = line.partition(":")
            # Slot comes first, and its key appears twice with -k.
            fields.setdefault(key.strip(), value.strip())
        vendor = _NAME_AND_ID.fullmatch(fields.get("Vendor", ""))
        product = _NAME_AND_ID.fullmatch(fields.get("Device", ""))
        if vendor is None or product is None:
            continue
        words = [product.group(1) or "Device"]
        if vendor.group(1) not in ("", "Vendor"):
            words.insert(0, vendor.group(1))
        found[vendor.group(2), product.group(2)] = " ".join(words)
    return found
