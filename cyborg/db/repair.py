"""Repairs rows of earlier releases that an upgrade refuses.

Tables are taken as they are in the database, and only columns are used that
they have had since 2023.2: a repair comes before the schema is upgraded.
"""

from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
from typing import Any

from oslo_log import log as logging
from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.common import clock
from cyborg.common import exception
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import engine

LOG = logging.getLogger(__name__)

State = states.ARQState

_HANDLE_COLUMNS = ("id", "updated_at", "uuid", "in_use", "attach_type")
_ARQ_COLUMNS = (
    "id",
    "updated_at",
    "uuid",
    "project_id",
    "state",
    "hostname",
    "instance_uuid",
    "attach_handle_id",
    "deployable_id",
)

# What one becomes that loses its handle; others stay as they are. With its
# instance it goes when the server is deleted.
_LOSING = {
    State.BOUND: State.BIND_FAILED,
    State.BIND_STARTED: State.BIND_FAILED,
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """An ARQ that has a handle."""

    uuid: str
    state: str
    instance_uuid: str | None
    hostname: str | None
    project_id: str | None

    @property
    def state_after_loss(self) -> str:
        return str(_LOSING.get(State(self.state), self.state))


@dataclasses.dataclass(frozen=True)
class SharedHandle:
    """A handle that more than one ARQ has."""

    uuid: str
    attach_type: str
    attach_info: str
    claims: tuple[Claim, ...]

    @property
    def bound(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.state == State.BOUND]

    def choose(self, keep: Collection[str]) -> Claim | None:
        """Return who keeps it: one of ``keep``, or the only one bound."""
        for claim in self.claims:
            if claim.uuid in keep:
                return claim
        return self.bound[0] if len(self.bound) == 1 else None

    def losers(self, kept: Claim) -> list[Claim]:
        return [claim for claim in self.claims if claim != kept]


def _table(
    context: RequestContext, name: str, columns: Collection[str]
) -> sa.Table:
    """Return a table as the database has it."""
    try:
        return sa.Table(
            name,
            sa.MetaData(),
            autoload_with=context.connection,
            include_columns=columns,
            resolve_fks=False,
        )
    except sa.exc.NoSuchTableError as error:
        raise exception.SchemaRefused(
            reason=f"The database has no table {name}."
        ) from error


def _arqs(context: RequestContext) -> sa.Table:
    return _table(context, "extended_accelerator_requests", _ARQ_COLUMNS)


def _handles(context: RequestContext) -> sa.Table:
    return _table(context, "attach_handles", (*_HANDLE_COLUMNS, "attach_info"))


# -- handles


@engine.reader
def shared_handles(context: RequestContext) -> list[SharedHandle]:
    """Return the handles that more than one ARQ has."""
    return list(_shared(context, _arqs(context), _handles(context)).values())


def _shared(
    context: RequestContext,
    arqs: sa.Table,
    handles: sa.Table,
    lock: bool = False,
) -> dict[int, SharedHandle]:
    connection = context.connection
    ids = (
        connection.execute(
            sa.select(arqs.c.attach_handle_id)
            .where(arqs.c.attach_handle_id.is_not(None))
            .group_by(arqs.c.attach_handle_id)
            .having(sa.func.count() > 1)
        )
        .scalars()
        .all()
    )
    query = (
        sa.select(arqs)
        .where(arqs.c.attach_handle_id.in_(ids))
        .order_by(arqs.c.id)
    )
    claims: dict[int, list[Claim]] = {}
    for row in connection.execute(query.with_for_update() if lock else query):
        claims.setdefault(row.attach_handle_id, []).append(
            Claim(
                uuid=row.uuid,
                state=row.state,
                instance_uuid=row.instance_uuid,
                hostname=row.hostname,
                project_id=row.project_id,
            )
        )
    rows = connection.execute(
        sa.select(handles).where(handles.c.id.in_(ids)).order_by(handles.c.id)
    )
    return {
        row.id: SharedHandle(
            uuid=row.uuid,
            attach_type=row.attach_type,
            attach_info=row.attach_info,
            claims=tuple(claims[row.id]),
        )
        for row in rows
        # One that was let go of meanwhile is not shared any more.
        if len(claims.get(row.id, ())) > 1
    }


@engine.use_case
def part_handles(
    context: RequestContext, keep: Collection[str]
) -> tuple[list[tuple[SharedHandle, Claim]], list[SharedHandle]]:
    """Leave each shared handle with one of its ARQs.

    :param keep: uuids of ARQs that keep theirs; where none is named the only
        one that is bound does
    :returns: what was repaired, with who has it now; and what was not,
        because nothing says who should
    :raises Invalid: ``keep`` cannot be followed; nothing was changed
    """
    arqs, handles = _arqs(context), _handles(context)
    shared = _shared(context, arqs, handles, lock=True)
    check_keep(list(shared.values()), keep)
    parted, left = [], []
    for handle_id, handle in shared.items():
        kept = handle.choose(keep)
        if kept is None:
            left.append(handle)
            continue
        for claim in handle.losers(kept):
            context.connection.execute(
                sa.update(arqs)
                .where(arqs.c.uuid == claim.uuid)
                .values(
                    attach_handle_id=None,
                    deployable_id=None,
                    state=claim.state_after_loss,
                    updated_at=clock.utcnow(),
                )
            )
            LOG.warning(
                "ARQ %s lost attach handle %s, which ARQ %s keeps",
                claim.uuid,
                handle.uuid,
                kept.uuid,
            )
        # Half an unbind may have marked it free, for anybody to take.
        context.connection.execute(
            sa.update(handles)
            .where(handles.c.id == handle_id)
            .values(in_use=True, updated_at=clock.utcnow())
        )
        parted.append((handle, kept))
    return parted, left


def check_keep(shared: Sequence[SharedHandle], keep: Collection[str]) -> None:
    """Refuse a choice that leaves a guest with what somebody else gets.

    :raises Invalid: says what is wrong with it
    """
    owners = {claim.uuid for handle in shared for claim in handle.claims}
    unknown = sorted(set(keep) - owners)
    if unknown:
        raise exception.Invalid(
            "No double-booked handle is of accelerator request "
            + ", ".join(unknown)
        )
    for handle in shared:
        chosen = [claim for claim in handle.claims if claim.uuid in keep]
        if len(chosen) > 1:
            raise exception.Invalid(
                f"Only one of {' and '.join(claim.uuid for claim in chosen)} "
                f"can keep attach handle {handle.uuid}"
            )
        if chosen and handle.bound and chosen[0] not in handle.bound:
            # It would be free as soon as that one goes, and still in use.
            raise exception.Invalid(
                f"Accelerator request {chosen[0].uuid} is "
                f"{chosen[0].state} and cannot keep attach handle "
                f"{handle.uuid}: "
                f"{' and '.join(claim.uuid for claim in handle.bound)} is "
                "Bound, and its server may be using the device"
            )


# -- device profiles


@engine.reader
def repeated_profiles(context: RequestContext) -> Sequence[Any]:
    """Return the profiles whose uuid an earlier one has: id, uuid, name."""
    return _repeated_profiles(context, _profiles(context))


def _profiles(context: RequestContext) -> sa.Table:
    return _table(
        context, "device_profiles", ("id", "updated_at", "uuid", "name")
    )


def _repeated_profiles(
    context: RequestContext, profiles: sa.Table
) -> Sequence[Any]:
    first = (
        sa.select(profiles.c.uuid, sa.func.min(profiles.c.id).label("id"))
        .group_by(profiles.c.uuid)
        .having(sa.func.count() > 1)
        .subquery()
    )
    return context.connection.execute(
        sa.select(profiles.c.id, profiles.c.uuid, profiles.c.name)
        .join(first, first.c.uuid == profiles.c.uuid)
        .where(profiles.c.id != first.c.id)
        .order_by(profiles.c.id)
    ).all()


@engine.use_case
def renew_profiles(context: RequestContext) -> dict[str, tuple[str, str]]:
    """Give each of them a uuid of its own; name: (old uuid, new uuid)."""
    profiles = _profiles(context)
    renewed = {}
    for row in _repeated_profiles(context, profiles):
        uuid = uuidutils.generate_uuid()
        context.connection.execute(
            sa.update(profiles)
            .where(profiles.c.id == row.id)
            .values(uuid=uuid, updated_at=clock.utcnow())
        )
        LOG.warning(
            "Device profile %s is %s now, not %s", row.name, uuid, row.uuid
        )
        renewed[row.name] = (row.uuid, uuid)
    return renewed
