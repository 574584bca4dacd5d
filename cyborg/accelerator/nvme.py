"""Erases NVMe drives, by whatever way a drive has.

Sanitize erases all of a drive, whatever a guest did to its namespaces, and
goes on by itself after a power cut. Format erases the namespaces that are
there. Overwriting is for drives that have neither. See the NVM Express base
specification (SANICAP, OACS, FNA, the sanitize status log) and the manual
pages of nvme-cli and blkdiscard.
"""

from collections.abc import Callable
import json
import re
import time
from typing import Any

from cyborg.accelerator import command
from cyborg.accelerator import disks
from cyborg.accelerator import driver
from cyborg.accelerator import namespaces
from cyborg.accelerator import nvme_spec
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.common import exception

CLASS = "0108"
_DRIVER = "nvme"
_NAMESPACE = re.compile(r"nvme\d+n\d+")

# Identify controller: SANICAP, OACS and FNA.
_CAN_CRYPTO, _CAN_BLOCK = 0x1, 0x2
_CAN_FORMAT = 0x2
_CAN_CRYPTO_FORMAT = 0x4

# Sanitize actions, and the state of the last in bits 2:0 of its log.
BLOCK_ERASE, CRYPTO_ERASE = 2, 4
_STATE = 0x7
_GOES_ON, _FAILED = 2, 3
# As it was asked for, and with blocks that are deallocated all the same.
_DONE = (1, 4)
# Nothing was written since the last that succeeded.
_ERASED = 0x100
_STATUS = re.compile(r"\(SSTAT\)\s*:\s*(0x[0-9a-fA-F]+|\d+)")

# Format: secure erase settings.
USER_DATA, CRYPTO = 1, 2

SANITIZE, FORMAT, ZERO = (
    "nvme-sanitize",
    "nvme-format",
    "nvme-zero",
)
_POLL = 2.0
_READ = 30.0
_ATTACH = 60.0

Action = nvme_spec.ClearAction
Strategy = nvme_spec.ClearStrategy


class Drive:
    """One drive that no guest has any more.

    :param spec: what the operator wants of it, None = anything
    :param max_wear: percentage of its life used from which it is not erased
        by other means than its key
    :param tools: runs programs, see :mod:`cyborg.accelerator.privileged`
    :param sleep: waits
    """

    def __init__(
        self,
        root: sysfs.Path,
        function: pci.Function,
        *,
        spec: nvme_spec.Spec | None,
        timeout: float,
        max_wear: int,
        tools: Any = privileged,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = root
        self._function = function
        self._action = spec.clear_action if spec else Action.AUTO
        self._strategy = spec.clear_strategy if spec else Strategy.AUTO
        self._timeout = timeout
        self._max_wear = max_wear
        self._tools = tools
        self._sleep = sleep

    def steps(self) -> list[driver.Step]:
        """Return what has to be done.

        :raises CannotClean: it has no way that the operator allows
        :raises DriverError: it cannot be asked
        """
        if self._function.driver != _DRIVER:
            # What it can do is seen only then.
            self.attach()
        name, destroys = self._way()
        return [driver.Step(name, destroys, self._timeout)]

    def do(self, step: driver.Step) -> None:
        """Do one of them; see :meth:`cyborg.accelerator.driver.Cleanable`."""
        {SANITIZE: self._sanitize, FORMAT: self._format, ZERO: self._zero}[
            step.name
        ]()

    # -- which way

    def _way(self) -> tuple[str, str]:
        can = self._read("id-ctrl", self.controller)
        if self._action in (Action.AUTO, Action.SANITIZE):
            if self._sanitize_action(can):
                return SANITIZE, "all data, in all namespaces"
            if self._erase_setting(can):
                return FORMAT, "all data of the namespaces that are attached"
            if self._action == Action.SANITIZE:
                raise driver.CannotClean(
                    reason=f"{self.controller} cannot erase itself as "
                    f"clear_strategy {self._strategy} wants it"
                )
        self._check_wear()
        return ZERO, "all that the namespaces that are attached show"

    def _sanitize_action(self, can: dict[str, Any]) -> int | None:
        able = int(can.get("sanicap", 0))
        return self._prefer(
            CRYPTO_ERASE if able & _CAN_CRYPTO else None,
            BLOCK_ERASE if able & _CAN_BLOCK else None,
        )

    def _erase_setting(self, can: dict[str, Any]) -> int | None:
        if not int(can.get("oacs", 0)) & _CAN_FORMAT:
            return None
        with_key = int(can.get("fna", 0)) & _CAN_CRYPTO_FORMAT
        return self._prefer(CRYPTO if with_key else None, USER_DATA)

    def _prefer(self, crypto: int | None, block: int | None) -> int | None:
        if self._strategy == Strategy.CRYPTO:
            return crypto
        if self._strategy == Strategy.BLOCK or crypto is None:
            if block is not None:
                self._check_wear()
            return block
        return crypto

    def _check_wear(self) -> None:
        log = self._read("smart-log", self.controller)
        used = log.get("percent_used", log.get("percentage_used"))
        if used is not None and int(used) >= self._max_wear:
            raise driver.CannotClean(
                reason=f"{self.controller} has used {used} % of its life, "
                f"and [nvme] max_wear is {self._max_wear}"
            )

    # -- the ways

    def _sanitize(self) -> None:
        status = self._sanitize_status()
        if status & _ERASED and status & _STATE in _DONE:
            # So it is after it was cut short.
            return
        if status & _STATE != _GOES_ON:
            action = self._sanitize_action(
                self._read("id-ctrl", self.controller)
            )
            self._tools.nvme_sanitize(self.controller, action, _READ)
        deadline = time.monotonic() + self._timeout
        while True:
            state = self._sanitize_status() & _STATE
            if state in _DONE:
                return
            if state == _FAILED:
                raise exception.DriverError(
                    reason=f"{self.controller} says that sanitize failed"
                )
            if time.monotonic() >= deadline:
                raise exception.DriverError(
                    reason=f"{self.controller} was not sanitized in "
                    f"{self._timeout:.0f} s"
                )
            self._sleep(_POLL)

    def _sanitize_status(self) -> int:
        text = self._tools.nvme_sanitize_log(self.controller, _READ)
        found = _STATUS.search(text)
        if found is None:
            raise exception.DriverError(
                reason=f"the sanitize log of {self.controller} has no status"
            )
        return int(found[1], 0)

    def _format(self) -> None:
        setting = self._erase_setting(self._read("id-ctrl", self.controller))
        for name in self.namespaces():
            shape = self._read("id-ns", name)
            flbas, dps = int(shape["flbas"]), int(shape.get("dps", 0))
            # As it is now: the tool's own default is another.
            self._tools.nvme_format(
                name,
                setting,
                flbas & 0xF | (flbas >> 1) & 0x30,
                (flbas >> 4) & 1,
                dps & 7,
                (dps >> 3) & 1,
                self._timeout,
            )

    def _zero(self) -> None:
        for name in self.namespaces():
            try:
                self._tools.zero_out(name, self._timeout)
            except exception.CommandFailed as error:
                if not command.is_missing(error):
                    raise
                raise driver.CannotClean(
                    reason="blkdiscard is not installed"
                ) from error

    # -- what there is

    def attach(self) -> None:
        """Give the drive back to the host's driver.

        :raises DriverError: it does not take it
        """
        self._tools.reprobe(self._root, self._function.address)
        deadline = time.monotonic() + _ATTACH
        while not self._controllers():
            if time.monotonic() >= deadline:
                raise exception.DriverError(
                    reason=f"the driver nvme does not take "
                    f"{self._function.address}"
                )
            self._sleep(_POLL)

    @property
    def controller(self) -> str:
        """The drive's name: nvme0."""
        names = self._controllers()
        if not names:
            raise exception.DriverError(
                reason=f"{self._function.address} has no NVMe controller"
            )
        return names[0]

    def _controllers(self) -> list[str]:
        return sysfs.names_optional(self._function.path, "nvme")

    def namespaces(self) -> list[str]:
        """Return the names of its disks: nvme0n1.

        :raises DriverError: there are none: what it holds is not seen
        """
        spaces = namespaces.Namespaces(self._root)
        found = [
            name
            for name, _path in disks.Disks(self._root, spaces).of(
                self._function.path
            )
            if _NAMESPACE.fullmatch(name)
        ]
        if not found:
            raise exception.DriverError(
                reason=f"{self.controller} shows no namespaces"
            )
        return found

    def _read(self, what: str, name: str) -> dict[str, Any]:
        try:
            text = self._tools.nvme_read(what, name, _READ)
        except exception.CommandFailed as error:
            if not command.is_missing(error):
                raise
            raise driver.CannotClean(
                reason="nvme-cli is not installed"
            ) from error
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise exception.DriverError(
                reason=f"nvme {what} {name} printed no JSON"
            ) from error
