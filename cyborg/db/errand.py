"""What conductors want agents to do that are on a bus of their own."""

from collections.abc import Sequence
import datetime
import json
from typing import Any

from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import engine
from cyborg.db import models

ERRANDS = models.Errand.__table__
HOSTS = models.Host.__table__


@engine.use_case
def create(
    context: RequestContext,
    hostname: str,
    method: str,
    arguments: dict[str, Any],
    timeout: float,
) -> str:
    """Have the agent of a host asked to do something; returns the uuid.

    Errands of a conductor that died go with the host's next one.

    :param timeout: seconds for which somebody waits for it
    """
    uuid = uuidutils.generate_uuid()
    context.connection.execute(
        sa.delete(ERRANDS).where(
            ERRANDS.c.hostname == hostname,
            ERRANDS.c.expires_at < clock.Now(),
        )
    )
    context.connection.execute(
        sa.insert(ERRANDS).values(
            uuid=uuid,
            hostname=hostname,
            method=method,
            arguments=json.dumps(arguments, sort_keys=True),
            expires_at=clock.read(context)
            + datetime.timedelta(seconds=round(timeout) + 1),
        )
    )
    return uuid


@engine.reader
def get(context: RequestContext, uuid: str) -> Any:
    """Return an errand with ``last_seen_at`` of its host; None once gone."""
    return context.connection.execute(
        sa.select(ERRANDS.c.taken, ERRANDS.c.result, HOSTS.c.last_seen_at)
        .select_from(
            ERRANDS.outerjoin(HOSTS, HOSTS.c.hostname == ERRANDS.c.hostname)
        )
        .where(ERRANDS.c.uuid == uuid)
    ).one_or_none()


def decoded(result: str) -> dict[str, Any]:
    """Return the ``result`` of a row."""
    return dict(json.loads(result))


@engine.use_case
def take(context: RequestContext, hostname: str) -> Sequence[sa.Row[Any]]:
    """Return what the agent of a host is to do, and has not done, in order."""
    wanted = (
        ERRANDS.c.hostname == hostname,
        ERRANDS.c.result.is_(None),
        ERRANDS.c.expires_at >= clock.Now(),
    )
    rows = context.connection.execute(
        sa.select(ERRANDS).where(*wanted).order_by(ERRANDS.c.id)
    ).all()
    fresh = [row.id for row in rows if not row.taken]
    if fresh:
        context.connection.execute(
            sa.update(ERRANDS)
            .where(ERRANDS.c.id.in_(fresh))
            .values(taken=True)
        )
    return rows


@engine.use_case
def finish(
    context: RequestContext, hostname: str, uuid: str, result: dict[str, Any]
) -> None:
    """Store what the agent of a host brings, the first time it does."""
    context.connection.execute(
        sa.update(ERRANDS)
        .where(
            ERRANDS.c.uuid == uuid,
            ERRANDS.c.hostname == hostname,
            ERRANDS.c.result.is_(None),
        )
        .values(result=json.dumps(result))
    )


@engine.use_case
def delete(context: RequestContext, uuid: str) -> None:
    """Forget an errand: nobody waits for it any more."""
    context.connection.execute(
        sa.delete(ERRANDS).where(ERRANDS.c.uuid == uuid)
    )
