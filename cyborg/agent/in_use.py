"""What of this host is in use, as the conductor said last.

``$state_path/agent/in_use.json``::

    {"hostname": "cn1.example.org", "digest": "9f86...",
     "handles": [{"uuid": "...", "attach_type": "MDEV",
                  "attach_info": {"domain": "0000", "bus": "af", ...,
                                  "asked_type": "nvidia-223"},
                  "device": "<uuid>", "arq": "<uuid>" or null,
                  "state": "Bound" or null, "instance": "<uuid>" or null}]}

The file lets an agent know it at once after a restart. It is never right for
certain: requests come and go while an answer is under way.
"""

from collections.abc import Callable
import dataclasses
import json
import pathlib
import threading
import time
from typing import Any

from oslo_log import log as logging

from cyborg.agent import report
from cyborg.agent import store
from cyborg.common import constants
from cyborg.common import states

LOG = logging.getLogger(__name__)

_ADDRESS = frozenset(("domain", "bus", "device", "function"))


@dataclasses.dataclass(frozen=True)
class Handle:
    """An attach handle that a request has, or that is being cleaned up.

    :ivar device: uuid of the device
    :ivar arq: uuid of the request, None once it is gone: the handle then is
        in use only until the host is cleaned up
    :ivar state: of the request
    :ivar instance: uuid of the server
    """

    uuid: str
    attach_type: str
    attach_info: dict[str, str]
    device: str
    arq: str | None = None
    state: str | None = None
    instance: str | None = None

    @property
    def address(self) -> str | None:
        """Where it is: 0000:af:00.0; None of what has no PCI address."""
        if self.attach_info.keys() >= _ADDRESS:
            return report.pci_address(self.attach_info)
        return None

    @property
    def info_text(self) -> str:
        """``attach_info`` in the form that drivers report."""
        return json.dumps(self.attach_info, sort_keys=True)

    @property
    def asked_type(self) -> str | None:
        """The type of what has to be made for it, None if nothing has."""
        return self.attach_info.get("asked_type")

    @property
    def is_mdev(self) -> bool:
        return self.attach_type == constants.AttachHandleType.MDEV

    @property
    def is_bound(self) -> bool:
        """Whether a guest may count on it."""
        return self.state == states.ARQState.BOUND


class InUse:
    """The handles of this host that are in use.

    :param path: the file
    :param changed: called after the conductor said something new
    """

    VERSION = 1

    def __init__(
        self,
        path: pathlib.Path,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        # When handles were prepared and given back here: what was asked
        # before knows less.
        self._touched: dict[str, float] = {}
        self._struck: dict[str, float] = {}
        self._confirmed_at: float | None = None
        # Set once a conductor has answered this process.
        self.answered = threading.Event()
        content = store.read(path)
        if content.get("version") != self.VERSION:
            content = {}
        self._hostname: str | None = content.get("hostname")
        self._digest: str = content.get("digest", "")
        self._handles: dict[str, Handle] | None = None
        if self._hostname is not None:
            self._handles = _handles(content["handles"])

    @property
    def is_known(self) -> bool:
        """Whether a conductor has ever said it."""
        return self._handles is not None

    def handles(self) -> list[Handle]:
        """Return them; none if no conductor has ever said."""
        return list((self._handles or {}).values())

    def get(self, uuid: str) -> Handle | None:
        return (self._handles or {}).get(uuid)

    def addresses(self) -> set[str]:
        """Return the PCI addresses at which something is in use."""
        return {
            handle.address
            for handle in self.handles()
            if handle.address is not None
        }

    def digest(self, hostname: str | None) -> str:
        """Return what the conductor called its last answer, "" of none."""
        return self._digest if hostname == self._hostname else ""

    def take(
        self, hostname: str, answer: dict[str, Any] | None, asked_at: float
    ) -> None:
        """Remember a conductor's answer.

        :param answer: ``{"digest", "handles"}``; None = nothing is new
        :param asked_at: ``time.monotonic()`` before the conductor was asked
        """
        self.answered.set()
        if answer is None:
            with self._lock:
                if self._digest and hostname == self._hostname:
                    self._confirmed_at = asked_at
            return
        with self._lock:
            self._confirmed_at = asked_at
            handles = _handles(answer["handles"])
            digest = answer["digest"]
            self._touched = {
                uuid: at
                for uuid, at in self._touched.items()
                if at >= asked_at
            }
            for uuid, at in list(self._struck.items()):
                if at < asked_at:
                    del self._struck[uuid]
                elif handles.pop(uuid, None) is not None:
                    # It is to be asked again.
                    digest = ""
            self._keep(hostname, digest, handles)
        LOG.info("%d attach handles of this host are in use", len(handles))
        self._changed()

    def expect(self, uuid: str) -> None:
        """Note that a handle is being prepared, known to be in use or not."""
        with self._lock:
            self._touched[uuid] = time.monotonic()

    def is_nobodys(self, uuid: str) -> bool:
        """Tell whether a handle is surely not in use.

        Only a conductor of this day can say so, asked after the handle was
        prepared; a file that was left on the disk says nothing.
        """
        with self._lock:
            confirmed_at = self._confirmed_at
            if confirmed_at is None or uuid in (self._handles or {}):
                return False
            return self._touched.get(uuid, 0.0) < confirmed_at

    def strike(self, uuid: str) -> None:
        """Note that a handle is given back, whatever was said before."""
        with self._lock:
            self._struck[uuid] = time.monotonic()
            if self._handles is None or uuid not in self._handles:
                return
            others = {
                key: handle
                for key, handle in self._handles.items()
                if key != uuid
            }
            self._keep(self._hostname, "", others)

    def _keep(
        self, hostname: str | None, digest: str, handles: dict[str, Handle]
    ) -> None:
        self._hostname, self._digest = hostname, digest
        self._handles = handles
        content = {
            "version": self.VERSION,
            "hostname": hostname,
            "digest": digest,
            "handles": [
                dataclasses.asdict(handle) for handle in handles.values()
            ],
        }
        try:
            store.write(self._path, content)
        except OSError as error:
            LOG.error("Cannot write %s: %s", self._path, error)


def _handles(values: list[dict[str, Any]]) -> dict[str, Handle]:
    """Return handles by uuid; fields of later conductors are left out."""
    names = [field.name for field in dataclasses.fields(Handle)]
    return {
        value["uuid"]: Handle(**{n: value[n] for n in names if n in value})
        for value in values
    }
