"""Keyset paging: a page begins after the record that ``marker`` names.

What a page costs does not depend on how far down the list it is.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import sqlalchemy as sa

from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.context import RequestContext
from cyborg.db import models


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list is wanted, and in what order.

    :ivar limit: most records; None = all
    :ivar marker: uuid of the record before the page; None = from the start
    :ivar after: the row before the page, where the caller has it: other than
        a marker, it may be gone
    :ivar sort_key: name of a column that the list can be sorted by; records
        that have no value come last, equal ones in the order they were made
    """

    limit: int | None = None
    marker: str | None = None
    after: Any = None
    sort_key: str = "id"
    descending: bool = False


ALL = Page()


def fetch(
    context: RequestContext,
    query: sa.Select[Any],
    page: Page,
    columns: Any,
    visible: sa.ColumnElement[bool] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Sequence[sa.Row[Any]]:
    """Run ``query`` for a page: one statement, and one more for a marker.

    :param columns: the columns of a table, or a mapping, by name: what can be
        sorted by; has ``id`` and ``uuid``
    :param visible: records whose existence the caller may learn of; None =
        all
    :param values: of the parameters of ``query``, which then usually is one
        that lasts, so that what is made of it for a page is kept
    :raises Invalid: no such record has the marker's uuid
    """
    key, unique = columns[page.sort_key], columns["id"]
    arrange = _arrange if values is None else _arrange_once
    if page.marker is not None or page.after is not None:
        query = query.where(
            _after(context, page, _comparable(key), columns, visible)
        )
        arrange = _arrange
    query = arrange(
        query, key, unique, page.descending, page.limit is not None
    )
    return context.connection.execute(
        query, {**(values or {}), "page_limit": page.limit}
    ).all()


def given(**values: Collection[str] | None) -> dict[str, Any]:
    """Return the values that there are, as statements take them."""
    return {
        name: value if isinstance(value, str) else list(value)
        for name, value in values.items()
        if value is not None
    }


def _comparable(key: Any) -> Any:
    # Each engine orders an enumeration in its own way.
    return (
        sa.cast(key, sa.String(64))
        if isinstance(key.type, models.Label)
        else key
    )


def _arrange(
    query: sa.Select[Any], key: Any, unique: Any, descending: bool, cut: bool
) -> sa.Select[Any]:
    """Return ``query`` in order, cut to ``page_limit`` records."""
    order = [unique.desc() if descending else unique.asc()]
    if key is not unique:
        key = _comparable(key)
        order = [
            key.is_(None),
            key.desc() if descending else key.asc(),
            *order,
        ]
    query = query.order_by(*order)
    return query.limit(sa.bindparam("page_limit")) if cut else query


_arrange_once = functools.lru_cache(maxsize=256)(_arrange)


def _after(
    context: RequestContext,
    page: Page,
    key: Any,
    columns: Any,
    visible: sa.ColumnElement[bool] | None,
) -> sa.ColumnElement[bool]:
    """Return the condition for what is listed after the record before."""
    unique = columns["id"]
    if page.after is not None:
        value, last = getattr(page.after, page.sort_key), page.after.id
    else:
        value, last = _marked(context, page.marker, key, columns, visible)
    later = unique < last if page.descending else unique > last
    if page.sort_key == "id":
        return later
    if value is None:
        return sa.and_(key.is_(None), later)
    beyond = key < value if page.descending else key > value
    return sa.or_(beyond, sa.and_(key == value, later), key.is_(None))


def _marked(
    context: RequestContext,
    marker: str | None,
    key: Any,
    columns: Any,
    visible: sa.ColumnElement[bool] | None,
) -> tuple[Any, int]:
    """Return what a marker's record is sorted by, and its id."""
    # Not restricted by the filters: a record that has changed since the
    # last page still says where that page ended.
    query = sa.select(key.label("value"), columns["id"].label("id")).where(
        columns["uuid"] == marker
    )
    if visible is not None:
        query = query.where(visible)
    marked = context.connection.execute(query).one_or_none()
    if marked is None:
        raise exception.Invalid(
            _("No record has the uuid %s (marker).") % marker
        )
    return marked.value, marked.id


def is_one_of(column: Any, values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition ``column IN values``.

    What an enumeration does not have matches nothing: PostgreSQL would
    refuse to compare it.
    """
    if isinstance(column.type, models.Label):
        values = [value for value in values if value in column.type.labels]
    return column.in_(values)


def is_exactly(
    context: RequestContext, column: Any, values: Sequence[str]
) -> sa.ColumnElement[bool]:
    """Return the condition ``column IN values`` for texts that users chose.

    MySQL compares texts without regard to case, accents and spaces at the
    end. There the first condition is for the index, the second for the rest.
    """
    found = is_one_of(column, values)
    if context.connection.dialect.name != "mysql":
        return found
    encoded = [value.encode() for value in values]
    return sa.and_(found, sa.cast(column, sa.BINARY).in_(encoded))
