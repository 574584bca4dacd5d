"""Device profiles: named requests."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

PROFILES = models.DeviceProfile.__table__

_NAMED = sa.select(PROFILES).where(PROFILES.c.name == sa.bindparam("name"))
_TAKEN = (
    sa.select(PROFILES)
    .where(
        sa.or_(
            PROFILES.c.uuid.in_(sa.bindparam("uuids")),
            PROFILES.c.name.in_(sa.bindparam("names")),
        )
    )
    .order_by(PROFILES.c.id)
)


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    names: Collection[str] | None = None,
    uuids: Collection[str] | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return profiles, those that have one of the names and uuids given."""
    query = sa.select(PROFILES)
    if names is not None:
        query = query.where(
            paging.is_exactly(context, PROFILES.c.name, list(names))
        )
    if uuids is not None:
        query = query.where(PROFILES.c.uuid.in_(uuids))
    return paging.fetch(context, query, page, PROFILES.c)


@engine.reader
def find_taken(
    context: RequestContext, uuids: Collection[str], names: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return profiles that keep others from having these uuids and names.

    To MySQL's indexes names are the same that differ in case only.
    """
    return context.connection.execute(
        _TAKEN, {"uuids": list(uuids), "names": list(names)}
    ).all()


@engine.reader
def get_named(context: RequestContext, name: str) -> sa.Row[Any] | None:
    """Return the profile with exactly this name, or None."""
    for row in context.connection.execute(_NAMED, {"name": name}):
        # MySQL finds what differs in case only, too.
        if row.name == name:
            return row
    return None


@engine.reader
def get(context: RequestContext, name: str) -> sa.Row[Any] | None:
    """Return the profile with this uuid, else with this name, or None."""
    rows = find_taken(context, [name], [name])
    for field in ("uuid", "name"):
        for row in rows:
            if getattr(row, field) == name:
                return row
    return None


@engine.writer
def create(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert profiles.

    :raises oslo_db.exception.DBDuplicateEntry: a name or uuid is taken
    """
    context.connection.execute(sa.insert(PROFILES), rows)


@engine.writer
def update(context: RequestContext, id_: int, values: dict[str, Any]) -> None:
    """Change columns of a profile.

    :raises oslo_db.exception.DBDuplicateEntry: the name is taken
    """
    context.connection.execute(
        sa.update(PROFILES).where(PROFILES.c.id == id_).values(**values)
    )


@engine.writer
def lock(
    context: RequestContext, ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Lock profiles, so that no ARQ is made from them meanwhile."""
    return context.connection.execute(
        sa.select(PROFILES)
        .where(PROFILES.c.id.in_(ids))
        .order_by(PROFILES.c.id)
        .with_for_update()
    ).all()


@engine.reader
def in_use(context: RequestContext, ids: Collection[int]) -> set[int]:
    """Return which of the profiles ARQs were made from."""
    return {
        row.id
        for row in context.connection.execute(
            sa.select(PROFILES.c.id).where(
                PROFILES.c.id.in_(ids),
                sa.exists().where(
                    models.ARQ.device_profile_id == PROFILES.c.id
                ),
            )
        )
    }


@engine.writer
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Remove profiles.

    :raises oslo_db.exception.DBReferenceError: ARQs were made from one
    """
    context.connection.execute(
        sa.delete(PROFILES).where(PROFILES.c.id.in_(ids))
    )
