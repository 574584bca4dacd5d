"""Persistent memory: namespaces in mode devdax, grouped by a label.

The operator makes the namespaces with ``ndctl create-namespace -m devdax -n
ns0 -s 6G`` and says in ``[pmem_devices] pmem_namespaces`` which of them are
alike. Each label is one device with one resource class; its namespaces are
what guests are given.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import json
import re
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import command
from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import namespaces as process_namespaces
from cyborg.accelerator import privileged
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

LOG = logging.getLogger(__name__)

VENDOR_ID = "8086"

# -X adds the daxregion; never -u, which turns sizes into text.
LIST_NAMESPACES = ("ndctl", "list", "-X")

_LABEL = re.compile(r"[A-Za-z0-9_]+")
_OPTION = "[pmem_devices] pmem_namespaces"
# Width of the column attach_handles.attach_info.
_MAX_ATTACH_INFO = 255


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One entry of ``ndctl list -X``."""

    name: str  # "name", given when it was created
    mode: str  # "mode": devdax, fsdax, sector, raw
    size: int  # "size", bytes
    uuid: str  # "uuid"
    align: int  # "align", bytes; 0 where the mode has none
    chardevs: tuple[str, ...]  # "daxregion": {"devices": [{"chardev"}]}
    # "mode" and "state" of these devices, "badblock_count": why not, or None
    trouble: str | None = None


def parse_labels(entries: Sequence[str]) -> dict[str, list[str]]:
    """Return the namespaces of each label from ``6GB:ns0|ns1``.

    :raises ConfigInvalid: an entry has no name or label, a label would make
        no resource class, or something is named twice
    """
    labels: dict[str, list[str]] = {}
    seen: set[str] = set()
    for entry in entries:
        label, colon, text = entry.partition(":")
        label = label.strip()
        names = [name.strip() for name in text.split("|")]
        if not colon or not all(names):
            raise _invalid(f"{entry!r} is not <label>:<name>|<name>...")
        if not _LABEL.fullmatch(label):
            raise _invalid(f"label {label!r} is not [A-Za-z0-9_]+")
        # Resource classes are upper case, so 6gb and 6GB are one.
        if label.upper() in {known.upper() for known in labels}:
            raise _invalid(f"label {label!r} is given twice")
        for name in names:
            if name in seen:
                raise _invalid(f"namespace {name!r} is given twice")
            seen.add(name)
        labels[label] = names
    return labels


def _invalid(reason: str) -> exception.ConfigInvalid:
    return exception.ConfigInvalid(option=_OPTION, reason=reason)


def parse_namespaces(text: str) -> list[Namespace]:
    """Return the named namespaces that ``ndctl list -X`` printed.

    It prints an array, a bare object when there is exactly one namespace,
    and nothing when there is none.

    :raises DriverError: it printed something else
    """
    if not text.strip():
        return []
    try:
        entries = json.loads(text)
        if isinstance(entries, dict):
            entries = [entries]
        return [_namespace(entry) for entry in entries if "name" in entry]
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise exception.DriverError(
            reason=f"ndctl list printed what cannot be understood: {error!r}"
        ) from error


def _namespace(entry: dict[str, Any]) -> Namespace:
    region = entry.get("daxregion", {})
    return Namespace(
        trouble=_trouble(entry),
        name=entry["name"],
        mode=entry["mode"],
        size=int(entry["size"]),
        uuid=entry.get("uuid", ""),
        align=int(entry.get("align", 0)),
        chardevs=tuple(
            device["chardev"]
            for device in region.get("devices", [])
            if "chardev" in device
        ),
    )


def _trouble(entry: dict[str, Any]) -> str | None:
    """Return why a namespace must not be given away, None if it may.

    The memory of one in mode ``system-ram`` is the host's own.
    """
    name = entry["name"]
    for device in entry.get("daxregion", {}).get("devices", []):
        if device.get("mode", "devdax") not in ("devdax", "dax"):
            return f"the device of namespace {name} has mode {device['mode']}"
        if device.get("state", "enabled") != "enabled":
            return f"the device of namespace {name} is {device['state']}"
    if entry.get("state", "enabled") != "enabled":
        return f"namespace {name} is {entry['state']}"
    bad = int(entry.get("badblock_count", 0))
    return f"namespace {name} has {bad} bad blocks" if bad else None


def choose(
    names: Sequence[str], namespaces: Sequence[Namespace]
) -> list[Namespace]:
    """Return the namespaces of one label.

    :raises DriverError: one is missing, or they cannot be given to guests as
        equals
    """
    chosen = []
    for name in names:
        # The kernel lets two namespaces have one name.
        found = [each for each in namespaces if each.name == name]
        if len(found) != 1:
            raise exception.DriverError(
                reason=f"{len(found)} namespaces are called {name}, not one"
            )
        namespace = found[0]
        if namespace.mode != "devdax":
            raise exception.DriverError(
                reason=f"namespace {name} has mode {namespace.mode}, "
                "not devdax"
            )
        if len(namespace.chardevs) != 1:
            raise exception.DriverError(
                reason=f"namespace {name} has {len(namespace.chardevs)} "
                "character devices, not one"
            )
        chosen.append(namespace)
    if len({namespace.size for namespace in chosen}) > 1:
        sizes = ", ".join(f"{ns.name} {ns.size}" for ns in chosen)
        raise exception.DriverError(reason=f"the sizes differ: {sizes}")
    return chosen


class IntelPMEMDriver(driver.Driver, driver.Cleanable):
    """Reports one device for each label.

    :param list_privileged: what to ask where ``ndctl`` fails as the agent's
        own user: ``/dev/ndctl0`` may be closed to it
    :param zero: overwrites a device
    """

    VENDOR = "intel"
    TYPE = constants.DeviceType.PMEM

    def __init__(
        self,
        *,
        list_privileged: Callable[[float], str] = privileged.ndctl_list,
        zero: Callable[[str, float], str] = privileged.daxio_zero,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._labels = parse_labels(self.conf.pmem_devices.pmem_namespaces)
        self._list_privileged = list_privileged
        self._zero = zero
        self._broken: dict[str, str] = {}

    def broken(self) -> dict[str, str]:
        return self._broken

    def discover(self) -> list[report.DriverDevice]:
        if not self._labels:
            return []
        self._broken = {}
        namespaces = parse_namespaces(self._list())
        return [
            self._device(label, names, namespaces)
            for label, names in self._labels.items()
        ]

    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[driver.Step]:
        """Have the namespace overwritten that a guest had.

        :raises CannotClean: there is no such namespace any more
        """
        info = handle["attach_info"]
        return [
            driver.Step(
                "pmem-zero",
                f"all data of namespace {info['namespace']}",
                float(self.conf.nvme.cleanup_timeout),
            )
        ]

    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: driver.Step,
    ) -> None:
        """Overwrite it with zeroes, by ``daxio``.

        :raises CommandFailed: it did not; with what the tool said
        """
        try:
            self._zero(self._chardev(handle), step.timeout)
        except exception.CommandFailed as error:
            if command.is_missing(error):
                raise driver.CannotClean(
                    reason="daxio is not installed"
                ) from error
            raise

    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        """Return who has its device open, or may have."""
        device = self._chardev(handle)
        spaces = process_namespaces.Namespaces(self.root)
        if not spaces.has_host_pids:
            return f"it cannot be seen whether a process has {device} open"
        holders = privileged.vfio_holders(self.root).get(device)
        if not holders:
            return None
        number, name = holders[0]
        return f"{device} is open in process {number}, {name}"

    def _chardev(self, handle: dict[str, Any]) -> str:
        """Return the device of a namespace now: a boot may renumber them.

        :raises CannotClean: there is no such namespace any more
        """
        wanted = handle["attach_info"]
        for namespace in parse_namespaces(self._list()):
            if namespace.uuid == wanted["uuid"] and namespace.chardevs:
                return f"/dev/{namespace.chardevs[0]}"
        raise driver.CannotClean(
            reason=f"there is no namespace {wanted['namespace']} with uuid "
            f"{wanted['uuid']}"
        )

    def _list(self) -> str:
        try:
            return self.run(list(LIST_NAMESPACES))
        except exception.CommandFailed as error:
            LOG.debug("Trying again with privileges: %s", error)
            return self._list_privileged(self.conf.agent.command_timeout)

    def _device(
        self,
        label: str,
        names: list[str],
        namespaces: list[Namespace],
    ) -> report.DriverDevice:
        cpid = report.DriverControlPathID(
            cpid_type=str(constants.ControlPathIDType.PMEM),
            cpid_info=_text(label=label),
        )
        device = report.DriverDevice(
            vendor=VENDOR_ID,
            model=label,
            type=str(self.TYPE),
            controlpath_id=cpid,
        )
        try:
            chosen = choose(names, namespaces)
            handles = [_handle(label, namespace) for namespace in chosen]
        except exception.DriverError as error:
            LOG.error("Label %s keeps its records: %s", label, error)
            device.stub = True
            return device
        for namespace, handle in zip(chosen, handles, strict=True):
            if namespace.trouble:
                self._broken[handle.attach_info] = namespace.trouble
        device.std_board_info = _text(label=label, size=str(chosen[0].size))
        name = f"{constants.RC_PMEM_PREFIX}{label.upper()}"
        device.deployable_list = [
            report.DriverDeployable(
                name=f"{self.host}_pmem_{label.upper()}",
                num_accelerators=len(handles),
                attribute_list=describe.attributes(name, [name]),
                attach_handle_list=handles,
                driver_name=self.VENDOR,
            )
        ]
        return device


def _handle(label: str, namespace: Namespace) -> report.DriverAttachHandle:
    info = _text(
        align=str(namespace.align),
        device=f"/dev/{namespace.chardevs[0]}",
        label=label,
        namespace=namespace.name,
        size=str(namespace.size),
        uuid=namespace.uuid,
    )
    if len(info) > _MAX_ATTACH_INFO:
        raise exception.DriverError(
            reason=f"what describes namespace {namespace.name} is longer "
            f"than {_MAX_ATTACH_INFO} characters; give it a shorter name"
        )
    return report.DriverAttachHandle(
        attach_type=str(constants.AttachHandleType.PMEM), attach_info=info
    )


def _text(**fields: str) -> str:
    """Return JSON text that is the same in every report."""
    return json.dumps(fields, sort_keys=True)
