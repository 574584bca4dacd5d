"""Stores what an agent finds wrong between guests and devices."""

from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import inventory as inventory_db

LOG = logging.getLogger(__name__)

# Most findings of one host, and characters of one.
_MOST = 4096
_LONGEST = 1000

# What is lost is nobody else's; the rest would be given to a second guest.
_EFFECTS = {
    constants.CONDITION_GUEST_LOST: conditions.Effect.NONE,
    constants.CONDITION_GUEST_FOREIGN: conditions.Effect.NO_SCHEDULE,
    constants.CONDITION_GUEST_DOUBLE: conditions.Effect.NO_SCHEDULE,
    constants.CONDITION_GUEST_HELD: conditions.Effect.NO_SCHEDULE,
}


def check(findings: Any) -> None:
    """Pass if these are what an agent can find.

    :raises Invalid: they are not
    """
    if not isinstance(findings, list) or len(findings) > _MOST:
        raise exception.Invalid(_("findings is not a list of findings."))
    for finding in findings:
        if (
            not isinstance(finding, dict)
            or finding.get("kind") not in _EFFECTS
            or not isinstance(finding.get("text"), str)
        ):
            raise exception.Invalid(_("A finding has no kind, or no text."))


@engine.use_case
def store(
    context: RequestContext,
    hostname: str,
    agent: dict[str, Any],
    findings: list[dict[str, Any]],
) -> bool:
    """Have each device say what is wrong with it; all that is.

    Costs the same number of statements, however many devices there are.

    :param findings: see :class:`cyborg.agent.guests.Finding`
    :returns: whether Placement has to be told
    """
    host = host_db.get(context, hostname)
    if host is None or host.boot_id != agent["boot_id"]:
        # It has to report itself first, or is another machine.
        return False
    stored = inventory_db.load(context, hostname)
    devices = {row.id: row for row in stored.devices}
    by_uuid = {row.uuid: row.id for row in stored.devices}
    by_place = {
        path.cpid_info: path.device_id for path in stored.control_paths
    }
    texts: dict[tuple[int, str], list[str]] = {}
    for finding in findings:
        id_ = by_uuid.get(finding.get("device")) or by_place.get(
            finding.get("cpid_info")
        )
        if id_ is not None:
            texts.setdefault((id_, finding["kind"]), []).append(
                finding["text"][:_LONGEST]
            )
    who = events.agent(hostname)
    changed = conditions.put(
        context,
        [
            conditions.Condition(
                devices[id_],
                kind,
                conditions.Source.AGENT,
                _EFFECTS[kind],
                "; ".join(said),
            )
            for (id_, kind), said in texts.items()
        ],
        who,
    )
    for kind in _EFFECTS:
        well = [
            row for id_, row in devices.items() if (id_, kind) not in texts
        ]
        changed |= conditions.clear(
            context,
            well,
            source=conditions.Source.AGENT,
            keys=[kind],
            why="guests have what is theirs",
            who=who,
        )
    if changed:
        for said in texts.values():
            LOG.warning("Host %s: %s", hostname, "; ".join(said))
    return changed
