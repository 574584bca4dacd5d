"""Stores what sensors see of devices, and decides what is reserved for it."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.common import exception
from cyborg.common import health
from cyborg.common.i18n import _
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import device_condition as condition_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import host as host_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Effect = conditions.Effect

# Most signs of one host, and characters of one.
_MOST = 16384
_LONGEST = 1000

_SOFT = [
    sign.key
    for sign in health.SIGNS.values()
    if sign.weight == health.Weight.SOFT
]
_HELD_BACK = "not reserved: [health] max_fenced_percent is reached"


def check(whole: Any, bad: Any, well: Any) -> None:
    """Pass if this is what an agent can say of its devices' health.

    :raises Invalid: it is not
    """
    if not isinstance(whole, bool):
        raise exception.Invalid(_("whole is not true or false."))
    for name, items, texts in (
        ("bad", bad, ("place", "key", "text")),
        ("well", well, ("place", "key")),
    ):
        if not isinstance(items, list) or len(items) > _MOST:
            raise exception.Invalid(_("%s is not a list of signs.") % name)
        for item in items:
            if not isinstance(item, dict) or not all(
                isinstance(item.get(text), str) for text in texts
            ):
                raise exception.Invalid(
                    _("A sign in %(list)s lacks one of %(texts)s.")
                    % {"list": name, "texts": ", ".join(texts)}
                )


@dataclasses.dataclass
class Stored:
    """What became of it.

    :ivar is_known: whether the host is; if not, nothing is stored
    :ivar again: some of it could not be used, and may be later
    :ivar fences: whether Placement has to be told
    """

    is_known: bool
    again: bool = False
    fences: bool = False


class _Budget:
    """How many devices may be reserved because they may be sick.

    Whoever asks is alone with the numbers until its transaction ends.
    """

    def __init__(self, context: RequestContext, hostname: str) -> None:
        identity_db.lock_first(context)
        self._all = device_db.count_by_type(context)
        fenced = condition_db.fenced(
            context, conditions.Source.AGENT.value, _SOFT
        )
        self._fenced: dict[str, int] = {}
        for row in fenced:
            self._count(row.type)
        self._here = {row.id for row in fenced if row.hostname == hostname}

    def _count(self, kind: str) -> None:
        self._fenced[kind] = self._fenced.get(kind, 0) + 1

    def allows(self, device: Any) -> bool:
        """Reserve a device, if it may be; one of each host always may."""
        if device.id in self._here:
            return True
        if self._here and not (
            self._fits(sum(self._fenced.values()), sum(self._all.values()))
            and self._fits(
                self._fenced.get(device.type, 0),
                self._all.get(device.type, 0),
            )
        ):
            return False
        self._here.add(device.id)
        self._count(device.type)
        return True

    @staticmethod
    def _fits(fenced: int, all_: int) -> bool:
        return (fenced + 1) * 100 <= CONF.health.max_fenced_percent * all_


@engine.use_case
def store(
    context: RequestContext,
    hostname: str,
    agent: dict[str, Any],
    whole: bool,
    bad: list[dict[str, Any]],
    well: list[dict[str, Any]],
) -> Stored:
    """Have devices say what is wrong with them.

    See ``ConductorAPI.report_health``. Costs the same number of statements,
    however many devices there are.
    """
    host = host_db.get(context, hostname)
    if host is None or host.boot_id != agent["boot_id"]:
        # It has to report itself first, or is another machine.
        return Stored(is_known=False)
    host_db.lock_or_create(context, hostname)
    devices = device_db.by_place(context, hostname)
    who = events.agent(hostname)
    over = {(item["place"], item["key"]) for item in well}
    if whole:
        over |= _not_seen(context, devices, bad)
    stored = Stored(is_known=True)
    stored.fences = conditions.withdraw(
        context,
        [
            (devices[place], key)
            for place, key in sorted(over)
            if place in devices and key in health.SIGNS
        ],
        source=conditions.Source.AGENT,
        why="its sensor is well",
        who=who,
    )
    wanted = []
    budget: _Budget | None = None
    for item in bad:
        device, sign = (
            devices.get(item["place"]),
            health.SIGNS.get(item["key"]),
        )
        if device is None or sign is None:
            # It was found after the last report, or means more to others.
            stored.again |= device is None
            continue
        effect, reason = _effect(sign, item), _reason(sign, item)
        if effect and sign.weight == health.Weight.SOFT:
            budget = budget or _Budget(context, hostname)
            if not budget.allows(device):
                effect, reason = False, f"{reason} ({_HELD_BACK})"
                stored.again = True
        wanted.append(
            conditions.Condition(
                device,
                sign.key,
                conditions.Source.AGENT,
                Effect.NO_SCHEDULE if effect else Effect.NONE,
                reason,
            )
        )
        LOG.warning("Device %s of host %s: %s", device.uuid, hostname, reason)
    stored.fences |= conditions.put(context, wanted, who)
    return stored


def _not_seen(
    context: RequestContext,
    devices: Mapping[str, Any],
    bad: list[dict[str, Any]],
) -> set[tuple[str, str]]:
    """Return what is said of a host's devices and no longer seen."""
    places = {row.id: place for place, row in devices.items()}
    seen = {(item["place"], item["key"]) for item in bad}
    return {
        (places[row.device_id], row.key)
        for row in condition_db.of_devices(context, list(places))
        if row.source == conditions.Source.AGENT
        and row.key in health.SIGNS
        and not health.SIGNS[row.key].needs_reset
    } - seen


def _effect(sign: health.Sign, item: dict[str, Any]) -> bool:
    """Tell whether a device is to be reserved, if the budget allows it."""
    if item.get("unknown"):
        return False
    return (
        sign.weight
        in {
            "none": (),
            "hard": (health.Weight.HARD,),
            "all": (health.Weight.HARD, health.Weight.SOFT),
        }[CONF.health.fence]
    )


def _reason(sign: health.Sign, item: dict[str, Any]) -> str:
    text = item["text"][:_LONGEST]
    if item.get("unknown"):
        text = f"not known now, and was: {text}"
    return f"{sign.text} {text}"
