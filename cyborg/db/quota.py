"""Quota usage: how much of a resource a project has.

What is counted follows from the ARQs alone: from the project, the state and
the resource class of each.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

USAGES = models.QuotaUsage.__table__
ARQS = models.ARQ.__table__
PROFILES = models.DeviceProfile.__table__
RESERVATIONS = models.Reservation.__table__

# Most rows that one statement names.
_BATCH = 1000

# project, resource
Key = tuple[str, str]
# in use, reserved
Usage = tuple[int, int]


def _is_counted() -> Any:
    # Other rows are of earlier releases, and mean something else.
    return sa.or_(
        USAGES.c.resource == constants.QUOTA_REQUESTS,
        USAGES.c.resource.startswith(constants.QUOTA_CLASS, autoescape=True),
    )


@engine.reader
def find(context: RequestContext, project_id: str) -> Sequence[sa.Row[Any]]:
    """Return what a project uses, one row for each resource."""
    return context.connection.execute(
        sa.select(USAGES)
        .where(USAGES.c.project_id == project_id, _is_counted())
        .order_by(USAGES.c.resource)
    ).all()


# -- counting along


@engine.writer
def lock(
    context: RequestContext, keys: Collection[Key]
) -> dict[Key, sa.Row[Any]]:
    """Lock and return the usages that there are of these."""
    rows = context.connection.execute(
        sa.select(USAGES)
        .where(
            USAGES.c.project_id.in_({project for project, _ in keys}),
            USAGES.c.resource.in_({resource for _, resource in keys}),
        )
        .order_by(USAGES.c.id)
        .with_for_update()
    ).all()
    return {(row.project_id, row.resource): row for row in rows}


@engine.writer
def store(
    context: RequestContext,
    known: Mapping[Key, sa.Row[Any]],
    usages: Mapping[Key, Usage],
) -> None:
    """Write what projects use.

    :param known: the usages that are stored, and locked
    """
    changed = sorted(
        (known[key].id, *usage)
        for key, usage in usages.items()
        if key in known
    )
    if changed:
        context.connection.execute(
            sa.update(USAGES)
            .where(USAGES.c.id == sa.bindparam("usage_id"))
            .values(
                in_use=sa.bindparam("now_in_use"),
                reserved=sa.bindparam("now_reserved"),
            ),
            [
                {"usage_id": id_, "now_in_use": used, "now_reserved": reserved}
                for id_, used, reserved in changed
            ],
        )
    new = [
        {
            "project_id": project,
            "resource": resource,
            "in_use": usages[project, resource][0],
            "reserved": usages[project, resource][1],
        }
        for project, resource in sorted(usages.keys() - known.keys())
    ]
    if new:
        context.connection.execute(sa.insert(USAGES), new)


# -- counting again


@engine.reader
def find_counted(context: RequestContext) -> dict[Key, sa.Row[Any]]:
    """Return what is stored of all projects."""
    rows = context.connection.execute(
        sa.select(USAGES).where(
            _is_counted(), USAGES.c.project_id.is_not(None)
        )
    ).all()
    return {(row.project_id, row.resource): row for row in rows}


@engine.writer
def lock_counted(context: RequestContext) -> None:
    """Keep what is stored from being changed until the transaction ends."""
    context.connection.execute(
        sa.select(USAGES.c.id)
        .where(_is_counted())
        .order_by(USAGES.c.id)
        .with_for_update()
    ).all()


@engine.reader
def count_arqs(context: RequestContext) -> Sequence[sa.Row[Any]]:
    """Count ARQs whose resource class is known.

    Columns: project_id, resource_class, state, arqs.
    """
    columns = (ARQS.c.project_id, ARQS.c.resource_class, ARQS.c.state)
    return context.connection.execute(
        sa.select(*columns, sa.func.count().label("arqs"))
        .where(
            ARQS.c.project_id.is_not(None), ARQS.c.resource_class.is_not(None)
        )
        .group_by(*columns)
    ).all()


@engine.reader
def arqs_without_class(context: RequestContext) -> Sequence[Any]:
    """Return ARQs of earlier releases, with their profile, by id.

    Columns: id, project_id, state, device_profile_id,
    device_profile_group_id, profile_json.
    """
    return context.connection.execute(
        sa.select(
            ARQS.c.id,
            ARQS.c.project_id,
            ARQS.c.state,
            ARQS.c.device_profile_id,
            ARQS.c.device_profile_group_id,
            PROFILES.c.profile_json,
        )
        .join_from(ARQS, PROFILES, PROFILES.c.id == ARQS.c.device_profile_id)
        .where(ARQS.c.resource_class.is_(None))
        .order_by(ARQS.c.id)
    ).all()


@engine.writer
def set_class(
    context: RequestContext, ids: Sequence[int], resource_class: str
) -> None:
    """Store the resource class of ARQs that have none."""
    for begin in range(0, len(ids), _BATCH):
        context.connection.execute(
            sa.update(ARQS)
            .where(
                ARQS.c.id.in_(ids[begin : begin + _BATCH]),
                ARQS.c.resource_class.is_(None),
            )
            # Nothing happened to the request itself.
            .values(
                resource_class=resource_class, updated_at=ARQS.c.updated_at
            )
        )


@engine.use_case
def delete_expired(context: RequestContext) -> None:
    """Delete reservations of earlier releases that have expired."""
    context.connection.execute(
        sa.delete(RESERVATIONS).where(RESERVATIONS.c.expire <= engine.ago(0))
    )
