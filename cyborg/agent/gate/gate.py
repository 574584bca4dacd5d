"""The gate between the drivers and the report."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import sysfs
from cyborg.agent import report
from cyborg.agent.gate import core
from cyborg.agent.gate import memory
from cyborg.agent.gate import operator
from cyborg.agent.gate import rules

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the drivers found, with what is withheld of it.

    :ivar found: as the drivers said, ``withheld`` set on each deployable;
        what is withheld of one that is offered in part is left out of it
    :ivar unexpected: the reasons that somebody should look at
    """

    found: list[report.Found]
    unexpected: list[tuple[core.Offer, core.Mark]]


class Gate:
    """Marks what must not be offered, and says so once.

    :param root: directory taken for ``/``
    :param conf: configuration
    :param given: what guests had
    :raises ConfigInvalid: ``[agent] withhold`` or ``offer_anyway`` is wrong
    """

    def __init__(
        self, root: sysfs.Path, conf: Any, given: memory.Given
    ) -> None:
        self._root = root
        self._conf = conf
        self._given = given
        for text in conf.agent.withhold:
            operator.pattern(text)
        self._overridden = operator.overrides(
            conf.agent.offer_anyway, [each.name for each in rules.ALL]
        )
        for entry in conf.agent.offer_anyway:
            LOG.warning("[agent] offer_anyway: %s is not heeded", entry)
        # By deployable and driver.
        self._said: dict[tuple[str, str], list[core.Mark]] = {}
        self._has_said_no_iommu = False
        # Entries of the operator's that meant nothing last.
        self._idle: list[str] = []

    def judge(
        self,
        found: Sequence[report.Found],
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> Judged:
        """Return what was found, with the reasons to withhold some of it.

        :param in_use: ``attach_info`` texts of the handles that guests have;
            None if that is not known
        :param made: uuids of the mdevs that this agent made, or None
        """
        view = core.View(
            self._root, self._conf, found, in_use, self._given.has, made
        )
        view.overridden = self._overridden
        self._given.add(view.used_whole)
        marks = core.judge(view, rules.ALL)
        self._say(view, marks)
        by_deployable = {
            id(offer.deployable): _as_judged(offer, reasons, view)
            for offer, reasons in marks.items()
        }
        return Judged(
            found=[_marked(driver, by_deployable) for driver in found],
            unexpected=[
                (offer, mark)
                for offer, reasons in marks.items()
                for mark in reasons
                if not mark.is_expected
            ],
        )

    def _say(
        self, view: core.View, marks: dict[core.Offer, list[core.Mark]]
    ) -> None:
        """Log what changed."""
        said = {}
        for offer in view.offers:
            key = offer.name, offer.driver
            reasons = marks.get(offer, [])
            if reasons:
                said[key] = reasons
            if reasons == self._said.get(key, []):
                continue
            if reasons:
                LOG.warning(
                    "%s of driver %s is not offered%s: %s",
                    *key,
                    " in part" if _is_partial(offer, view) else "",
                    "; ".join(
                        f"{each.text} ({each.rule})" for each in reasons
                    ),
                )
            else:
                LOG.info("%s of driver %s is offered again", *key)
        self._said = said
        idle = list(operator.idle(self._conf, view.functions))
        for text in idle:
            if text not in self._idle:
                LOG.warning("%s", text)
        self._idle = idle
        if view.offers and view.functions and not view.groups:
            if not self._has_said_no_iommu:
                LOG.warning(
                    "No PCI function has an IOMMU group: without an IOMMU "
                    "no guest can be given one"
                )
            self._has_said_no_iommu = True


def make(
    root: sysfs.Path,
    conf: Any,
    devices: Iterable[dict[str, Any]],
    keep: bool = True,
) -> Gate:
    """Return the gate of an agent.

    :param devices: plain devices that were reported before
    :param keep: whether to keep what guests had on disk
    :raises ConfigInvalid: see :class:`Gate`
    """
    path = pathlib.Path(conf.state_path, "agent", "given.json")
    return Gate(root, conf, memory.Given(path, core.given(devices), keep))


def _is_partial(offer: core.Offer, view: core.View) -> bool:
    """Return whether handles are left of a deployable with reasons."""
    return offer.is_divisible and bool(
        offer.handles.keys() - view.closed(offer)
    )


def _as_judged(
    offer: core.Offer, reasons: list[core.Mark], view: core.View
) -> dict[str, Any]:
    """Return a deployable with its reasons, or without some handles.

    Those that nobody has go. What is left is offered, or somebody has it.
    """
    deployable = offer.deployable
    if not _is_partial(offer, view):
        return {
            **deployable,
            "withheld": [mark.to_dict() for mark in reasons],
        }
    closed = view.closed(offer)
    handles = [
        handle
        for handle in deployable["attach_handle_list"]
        if handle["attach_info"] not in closed
    ]
    return {
        **deployable,
        "attach_handle_list": handles,
        "num_accelerators": len(handles),
        "withheld": [],
    }


def _marked(
    driver: report.Found, judged: dict[int, dict[str, Any]]
) -> report.Found:
    devices = [
        {
            **device,
            # A stub says nothing: what is withheld of it has to be told.
            "stub": device["stub"]
            and not any(
                id(each) in judged for each in device["deployable_list"]
            ),
            "deployable_list": [
                judged.get(id(each)) or {**each, "withheld": []}
                for each in device["deployable_list"]
            ],
        }
        for device in driver.devices
    ]
    return dataclasses.replace(driver, devices=devices)
