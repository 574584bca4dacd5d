"""Conductors: which there are, and which of them tidies up."""

from oslo_utils import uuidutils
from oslo_utils import versionutils
import sqlalchemy as sa

from cyborg.common import clock
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

CONDUCTORS = models.Conductor.__table__


@engine.use_case
def seen(context: RequestContext, host: str, rpc_version: str) -> None:
    """Note that a conductor is alive."""
    updated = context.connection.execute(
        sa.update(CONDUCTORS)
        .where(CONDUCTORS.c.host == host)
        .values(last_seen_at=clock.utcnow(), rpc_version=rpc_version)
    ).rowcount
    if not updated:
        context.connection.execute(
            sa.insert(CONDUCTORS).values(
                uuid=uuidutils.generate_uuid(),
                host=host,
                rpc_version=rpc_version,
                last_seen_at=clock.utcnow(),
            )
        )


@engine.reader
def lowest_rpc_version(
    context: RequestContext, down_time: float
) -> str | None:
    """Return the RPC version that every living conductor knows.

    None if none was seen within ``down_time`` seconds.
    """
    versions = context.connection.execute(
        sa.select(CONDUCTORS.c.rpc_version).where(
            CONDUCTORS.c.last_seen_at >= engine.ago(down_time),
            CONDUCTORS.c.rpc_version.is_not(None),
        )
    ).scalars()
    return min(
        versions, key=versionutils.convert_version_to_tuple, default=None
    )


@engine.reader
def is_first(context: RequestContext, host: str, down_time: float) -> bool:
    """Tell whether this is the oldest conductor of those that are alive.

    Two may think so for a moment; what depends on it is harmless twice.
    """
    first = context.connection.execute(
        sa.select(CONDUCTORS.c.host)
        .where(CONDUCTORS.c.last_seen_at >= engine.ago(down_time))
        .order_by(CONDUCTORS.c.id)
        .limit(1)
    ).scalar()
    return bool(first == host)
