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

    :ivar found: as the drivers said, ``withheld`` set on each deployable
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

    def judge(
        self,
        found: Sequence[report.Found],
        in_use: Collection[str] | None = None,
    ) -> Judged:
        """Return what was found, with the reasons to withhold some of it.

        :param in_use: ``attach_info`` texts of the handles that guests have;
            None if that is not known
        """
        view = core.View(
            self._root, self._conf, found, in_use, self._given.has
        )
        view.overridden = self._overridden
        self._given.add(view.used_whole)
        marks = core.judge(view, rules.ALL)
        self._say(view, marks)
        by_deployable = {
            id(offer.deployable): [mark.to_dict() for mark in reasons]
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
                    "%s of driver %s is not offered: %s",
                    *key,
                    "; ".join(
                        f"{each.text} ({each.rule})" for each in reasons
                    ),
                )
            else:
                LOG.info("%s of driver %s is offered again", *key)
        self._said = said
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


def _marked(
    driver: report.Found, marks: dict[int, list[dict[str, str]]]
) -> report.Found:
    devices = [
        {
            **device,
            "deployable_list": [
                {**each, "withheld": marks.get(id(each), [])}
                for each in device["deployable_list"]
            ],
        }
        for device in driver.devices
    ]
    return dataclasses.replace(driver, devices=devices)
