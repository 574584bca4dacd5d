"""Services: agents and conductors, and when they were last seen."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

HOSTS = models.Host.__table__
CONDUCTORS = models.Conductor.__table__

# Both tables as one; the ids of one are even, of the other odd.
_AGENTS = sa.select(
    (HOSTS.c.id * 2).label("id"),
    HOSTS.c.uuid,
    sa.literal(constants.AGENT_TOPIC).label("binary"),
    HOSTS.c.hostname.label("host"),
    HOSTS.c.forced_down,
    HOSTS.c.last_seen_at,
    HOSTS.c.drivers,
    HOSTS.c.sync_error.label("last_error"),
)
SERVICES = _AGENTS.union_all(
    sa.select(
        (CONDUCTORS.c.id * 2 + 1).label("id"),
        CONDUCTORS.c.uuid,
        sa.literal(constants.CONDUCTOR_TOPIC).label("binary"),
        CONDUCTORS.c.host,
        sa.false().label("forced_down"),
        CONDUCTORS.c.last_seen_at,
        sa.literal(None, sa.Text).label("drivers"),
        sa.literal(None, sa.Text).label("last_error"),
    )
).subquery("services")


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    binary: str | None = None,
    host: str | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return agents and conductors.

    Columns: id, uuid, binary, host, forced_down, last_seen_at, drivers (JSON
    text or None), last_error.
    """
    query = sa.select(SERVICES)
    if binary is not None:
        query = query.where(
            paging.is_exactly(context, SERVICES.c.binary, [binary])
        )
    if host is not None:
        query = query.where(
            paging.is_exactly(context, SERVICES.c.host, [host])
        )
    return paging.fetch(context, query, page, SERVICES.c)


@engine.reader
def get(context: RequestContext, uuid: str) -> sa.Row[Any] | None:
    """Return a service as :func:`find` does, or None."""
    return context.connection.execute(
        sa.select(SERVICES).where(SERVICES.c.uuid == uuid)
    ).one_or_none()
