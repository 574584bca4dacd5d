"""Lets deployables move to the provider that they belong to now.

Which one that is follows from the rows (:mod:`.desired`), and changes with
the host's layout, traits or a carve. A deployable that is free leaves at
once, one in use when it is released: an allocation is never moved.

Each move can end after any step, and the next pass goes on:

1. The provider that counts it counts it no more, in one request that Placement
   refuses if anything was allocated meanwhile. Nobody can be given it now.
2. The rows say that it is counted nowhere, unless a bind was faster: then the
   provider is to count it again.
3. As any that is new, it is counted where it belongs.
"""

from collections.abc import Sequence
import dataclasses

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import passes
from cyborg.db import host_sync as sync_db

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Move:
    """A deployable that is not counted where it belongs.

    :ivar why: what keeps it where it is; None = it leaves with the next pass
    """

    part: desired.Part
    why: str | None


def waiting(rows: sync_db.Rows) -> list[Move]:
    """Return the deployables of a host that are not where they belong."""
    return [
        Move(part, _kept_by(part, rows))
        for part in desired.parts_of(rows)
        if not part.is_home
    ]


def _kept_by(part: desired.Part, rows: sync_db.Rows) -> str | None:
    held = rows.held.get(part.row.id)
    if held is None:
        return None
    return f"{held.allocated + held.idle} of its attach handles are in use"


def move(pass_: passes.Pass) -> bool:
    """Let what is free leave its provider.

    :returns: whether something free had to stay: what Placement has allocated
        of it is about to be bound, or to go
    """
    free: dict[str, list[desired.Part]] = {}
    for each in waiting(pass_.rows):
        if each.why is None and each.part.home is not None:
            free.setdefault(each.part.home, []).append(each.part)
    left: list[desired.Part] = []
    for home, parts in free.items():
        try:
            left += _leave(pass_, home, parts)
        except (exception.PlacementConflict, exception.PlacementStale):
            LOG.info(
                "Provider %s of host %s was allocated from meanwhile",
                home,
                pass_.hostname,
            )
    if left:
        faults.point("move-left")
        sync_db.leave(
            pass_.context,
            pass_.hostname,
            pass_.owner,
            [part.row.id for part in left],
        )
        faults.point("move-recorded")
        pass_.rows = sync_db.load(pass_.context, pass_.hostname)
        LOG.info(
            "Devices %s of host %s change their providers",
            ", ".join(part.row.name for part in left),
            pass_.hostname,
        )
    return len(left) < sum(len(parts) for parts in free.values())


def _leave(
    pass_: passes.Pass, home: str, parts: Sequence[desired.Part]
) -> Sequence[desired.Part]:
    """Have a provider count parts no more; returns those it lets go.

    :raises PlacementConflict, PlacementStale: something was allocated from it
        just now
    """
    there = pass_.tree.get(home)
    seen = there and pass_.look(there)
    usages = pass_.client.get_usages(home) if seen else None
    if seen is None or usages is None:
        # It has gone already.
        pass_.tree.pop(home, None)
        return parts
    leaving = {part.row.id for part in parts}
    staying = [
        part
        for part in desired.parts_of(pass_.rows)
        if part.home == home and part.row.id not in leaving
    ]
    going = list(parts)
    missing = sum(usages[1].values()) - sum(part.room for part in staying)
    while going and missing > 0:
        kept = going.pop()
        staying.append(kept)
        missing -= kept.room
    if not going:
        return going
    if not staying:
        if _is_marked(seen, going[0]):
            return []
        pass_.client.delete_provider(home)
        del pass_.tree[home]
        return going
    kept_ids = {part.row.id for part in staying}
    rows = dataclasses.replace(
        pass_.rows,
        deployables=[
            row
            for row in pass_.rows.deployables
            if row.id in kept_ids or row.rp_uuid != home
        ],
    )
    assert seen.inventories is not None
    generation = pass_.client.put_inventories(
        home,
        min(seen.generation, usages[0]),
        desired.merged_inventories(
            desired.desired(rows)[home], seen.inventories
        ),
    )
    pass_.tree[home] = dataclasses.replace(
        seen, generation=generation, inventories=None, traits=None
    )
    return going


def _is_marked(seen: desired.Actual, part: desired.Part) -> bool:
    """Tell whether others gave a provider what only it has.

    A deployable that somebody told from its like keeps its provider.
    """
    written = desired.Written.from_text(part.row.rp_traits)
    if written is None:
        return False
    assert seen.traits is not None and seen.inventories is not None
    return bool(
        seen.traits - written.traits - part.traits - {constants.OWNER_TRAIT}
        or seen.inventories.keys()
        - written.inventories.keys()
        - {part.resource_class}
    )
