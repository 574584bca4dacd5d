"""Tells which machine this is, and since when it has been running."""

import dataclasses
import pathlib
import re
import uuid

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.accelerator import namespaces
from cyborg.agent import rpcapi

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

_DMI = "sys/class/dmi/id/product_uuid"
_MACHINE_ID = "etc/machine-id"
_BOOT_ID = "proc/sys/kernel/random/boot_id"
# Files that container engines make in every container.
_CONTAINER = (".dockerenv", "run/.containerenv", "run/systemd/container")

# What firmware says whose maker filled in nothing; many boards share them.
_MEANINGLESS = frozenset(
    {
        uuid.UUID(int=0),
        uuid.UUID(int=2**128 - 1),
        uuid.UUID("03000200-0400-0500-0006-000700080009"),
        uuid.UUID("12345678-1234-5678-90ab-cddeefaabbcc"),
    }
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Which machine an agent runs on.

    :ivar id: ``dmi:4c4c4544-...`` or ``machine-id:4c4c4544-...``, None if
        nothing here says it
    :ivar boot_id: differs after every boot of the kernel
    """

    id: str | None
    boot_id: str

    def speaker(self) -> dict[str, str | None]:
        """Return who speaks, as conductors are told with every message."""
        return {
            "machine_id": self.id,
            "boot_id": self.boot_id,
            "rpc_version": rpcapi.VERSION,
        }


def read(root: pathlib.Path | None = None) -> Machine:
    """Return what the files under ``root`` say of the machine.

    :param root: None = ``[agent] filesystem_root``
    """
    root = root or pathlib.Path(CONF.agent.filesystem_root)
    found = _dmi(root)
    identity = f"dmi:{found}" if found else None
    if identity is None:
        found = _machine_id(root)
        identity = f"machine-id:{found}" if found else None
    if identity is None:
        LOG.warning(
            "Nothing says which machine this is: %s cannot be read or is "
            "meaningless, and [agent] machine_id_file names no file of the "
            "host",
            root / _DMI,
        )
    return Machine(identity, boot_id(root))


def boot_id(root: pathlib.Path) -> str:
    """Return the text that differs after every boot of the kernel.

    A recorded machine may have none; it was booted with this one.
    """
    found = _text(root / _BOOT_ID) or _text(pathlib.Path("/", _BOOT_ID))
    return found or "unknown"


def _text(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _dmi(root: pathlib.Path) -> str | None:
    """Return the uuid that the firmware gives the machine; root may read."""
    try:
        found = uuid.UUID(_text(root / _DMI) or "")
    except ValueError:
        return None
    return None if found in _MEANINGLESS else str(found)


def _machine_id(root: pathlib.Path) -> str | None:
    """Return the machine-id(5) of the host, not one that an image brought."""
    configured = CONF.agent.machine_id_file
    if configured:
        path = pathlib.Path(configured)
    elif _in_container(root):
        return None
    else:
        path = root / _MACHINE_ID
    text = (_text(path) or "").replace("-", "").lower()
    if not _HEXADECIMAL.fullmatch(text):
        if configured:
            LOG.error(
                "[agent] machine_id_file: %s holds no machine-id, 32 "
                "hexadecimal digits",
                path,
            )
        return None
    found = uuid.UUID(text)
    return None if found in _MEANINGLESS else str(found)


def _in_container(root: pathlib.Path) -> bool:
    if any((root / name).exists() for name in _CONTAINER):
        return True
    return namespaces.Namespaces(root).is_contained
