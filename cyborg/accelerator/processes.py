"""Which processes of a host have a PCI function.

What drives a function from user space has its IOMMU group open
(``/dev/vfio/23``), or its own node (``/dev/vfio/devices/vfio0``). SPDK leaves
a file for each function it has, ``/var/tmp/spdk_pci_lock_0000:5e:00.0``, with
the number of its process in it.
"""

from collections.abc import Iterator
import dataclasses
import functools

from oslo_log import log

from cyborg.accelerator import namespaces
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs

LOG = log.getLogger(__name__)

_LOCKS = "var/tmp"
_LOCK = "spdk_pci_lock_"


@dataclasses.dataclass(frozen=True)
class Process:
    """One process that has a function."""

    number: int
    name: str

    @property
    def is_hypervisor(self) -> bool:
        """Whether a guest runs in it."""
        return self.name.startswith(("qemu", "kvm", "cloud-hyperviso"))


class Processes:
    """The processes of a machine that have functions, as of one time.

    :param root: directory taken for ``/``
    :param spaces: whether the agent sees the host's processes
    """

    def __init__(
        self, root: sysfs.Path, spaces: namespaces.Namespaces
    ) -> None:
        self._root = root
        self._spaces = spaces

    @property
    def is_evident(self) -> bool:
        """Whether it can be told which processes have functions."""
        return self._vfio is not None

    def holder(self, function: pci.Function) -> Process | None:
        """Return the process that has a function, None if none is known."""
        nodes = [f"/dev/vfio/{function.iommu_group}"]
        nodes += [
            f"/dev/vfio/devices/{name}"
            for name in sysfs.names_optional(function.path, "vfio-dev")
        ]
        for node in nodes:
            found = (self._vfio or {}).get(node)
            if found:
                return Process(*found[0])
        return None

    def spdk(self, address: str) -> Iterator[str]:
        """Yield that SPDK has a function, if it does."""
        if address not in self._locks:
            return
        number = self._owner(address)
        if number and self._spaces.has_host_pids:
            path = sysfs.resolve(self._root, "proc", str(number))
            if not sysfs.is_directory(path):
                # Left behind by a process that was killed.
                return
        yield "is driven by SPDK"

    @functools.cached_property
    def _vfio(self) -> dict[str, list[tuple[int, str]]] | None:
        """Number and name of who has each node of VFIO open."""
        if not self._spaces.has_host_pids:
            return None
        try:
            return privileged.vfio_holders(self._root)
        except Exception as error:
            LOG.warning("Who has functions open cannot be told: %s", error)
            return None

    @functools.cached_property
    def _locks(self) -> set[str]:
        directory = sysfs.resolve(self._root, _LOCKS)
        return {
            name.removeprefix(_LOCK).lower()
            for name in sysfs.names_optional(directory)
            if name.startswith(_LOCK)
        }

    def _owner(self, address: str) -> int | None:
        """Return the process a lock names: an int, as the machine has it."""
        path = sysfs.resolve(self._root, _LOCKS, _LOCK + address)
        try:
            with open(path, "rb") as file:
                return int.from_bytes(file.read(4), "little")
        except OSError:
            return None
