"""Quota usage: how much of a resource a project has."""

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


@engine.reader
def find(context: RequestContext, project_id: str) -> Sequence[sa.Row[Any]]:
    """Return what a project uses, one row for each resource."""
    return context.connection.execute(
        sa.select(USAGES)
        .where(USAGES.c.project_id == project_id)
        .order_by(USAGES.c.resource)
    ).all()


# -- counting again


def _is_counted() -> Any:
    # Other rows are of earlier releases, and mean something else.
    return sa.or_(
        USAGES.c.resource == constants.QUOTA_REQUESTS,
        USAGES.c.resource.startswith(constants.QUOTA_CLASS, autoescape=True),
    )


@engine.reader
def counted(context: RequestContext) -> Sequence[sa.Row[Any]]:
    """Return what is stored of all projects."""
    return context.connection.execute(
        sa.select(USAGES).where(_is_counted())
    ).all()


@engine.writer
def lock_counted(context: RequestContext) -> None:
    """Keep what is stored from being changed until the transaction ends."""
    context.connection.execute(
        sa.select(USAGES.c.id)
        .where(_is_counted())
        .order_by(USAGES.c.id)
        .with_for_update()
    ).all()


@engine.writer
def store(
    context: RequestContext,
    project_id: str,
    resource: str,
    in_use: int,
    reserved: int,
) -> None:
    """Write what a project uses of a resource."""
    values = {"in_use": in_use, "reserved": reserved}
    updated = context.connection.execute(
        sa.update(USAGES)
        .where(
            USAGES.c.project_id == project_id, USAGES.c.resource == resource
        )
        .values(**values)
    ).rowcount
    if not updated:
        context.connection.execute(
            sa.insert(USAGES).values(
                project_id=project_id, resource=resource, **values
            )
        )


@engine.reader
def arqs_by_group(context: RequestContext) -> Sequence[sa.Row[Any]]:
    """Count ARQs by project, group of a profile, and state.

    Columns: project_id, profile_json, device_profile_group_id, state, count.
    """
    columns = (
        ARQS.c.project_id,
        ARQS.c.device_profile_id,
        ARQS.c.device_profile_group_id,
        ARQS.c.state,
    )
    groups = (
        sa.select(*columns, sa.func.count().label("count"))
        .where(ARQS.c.project_id.is_not(None))
        .group_by(*columns)
        .subquery()
    )
    return context.connection.execute(
        sa.select(groups, PROFILES.c.profile_json).join(
            PROFILES, PROFILES.c.id == groups.c.device_profile_id
        )
    ).all()
