"""Attributes: keys and values on deployables."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.common import constants
from cyborg.common.constants import AttributeOrigin
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

ATTRIBUTES = models.Attribute.__table__
DEPLOYABLES = models.Deployable.__table__


def _query() -> sa.Select[Any]:
    return sa.select(
        ATTRIBUTES, DEPLOYABLES.c.uuid.label("deployable_uuid")
    ).join_from(
        ATTRIBUTES,
        DEPLOYABLES,
        DEPLOYABLES.c.id == ATTRIBUTES.c.deployable_id,
    )


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    key: str | None = None,
    deployable_id: int | None = None,
    deployable_uuid: str | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return attributes, each with the uuid of its deployable."""
    query = _query()
    if key is not None:
        query = query.where(
            paging.is_exactly(context, ATTRIBUTES.c.key, [key])
        )
    if deployable_id is not None:
        query = query.where(ATTRIBUTES.c.deployable_id == deployable_id)
    if deployable_uuid is not None:
        query = query.where(DEPLOYABLES.c.uuid == deployable_uuid)
    return paging.fetch(context, query, page, ATTRIBUTES.c)


@engine.reader
def get(context: RequestContext, uuid: str) -> sa.Row[Any] | None:
    """Return an attribute with the uuid of its deployable, or None."""
    return context.connection.execute(
        _query().where(ATTRIBUTES.c.uuid == uuid)
    ).one_or_none()


@engine.reader
def find_of(
    context: RequestContext, deployable_ids: Collection[int]
) -> Sequence[Any]:
    """Return (deployable_id, key, value) of all attributes, in order."""
    return context.connection.execute(
        sa.select(
            ATTRIBUTES.c.deployable_id, ATTRIBUTES.c.key, ATTRIBUTES.c.value
        )
        .where(ATTRIBUTES.c.deployable_id.in_(deployable_ids))
        .order_by(ATTRIBUTES.c.id)
    ).all()


@engine.writer
def create(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert attributes.

    :raises oslo_db.exception.DBDuplicateEntry: a uuid is taken
    """
    context.connection.execute(sa.insert(ATTRIBUTES), rows)


@engine.writer
def set_value(context: RequestContext, uuid: str, value: str) -> bool:
    """Give an attribute a value that reports leave alone; False if gone."""
    of_driver = (AttributeOrigin.DRIVER.value, AttributeOrigin.CHANGED.value)
    origin = sa.case(
        (
            sa.func.coalesce(ATTRIBUTES.c.origin, of_driver[0]).in_(of_driver),
            AttributeOrigin.CHANGED.value,
        ),
        else_=AttributeOrigin.API.value,
    )
    return (
        context.connection.execute(
            sa.update(ATTRIBUTES)
            .where(ATTRIBUTES.c.uuid == uuid)
            .values(value=value, origin=origin)
        ).rowcount
        == 1
    )


@engine.writer
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Remove attributes."""
    if ids:
        context.connection.execute(
            sa.delete(ATTRIBUTES).where(ATTRIBUTES.c.id.in_(ids))
        )


@engine.reader
def find_by_uuids(
    context: RequestContext, uuids: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return those of the attributes that exist."""
    return context.connection.execute(
        _query().where(ATTRIBUTES.c.uuid.in_(uuids)).order_by(ATTRIBUTES.c.id)
    ).all()


def is_found_function() -> sa.ColumnElement[bool]:
    """Select the traits of functions that drivers have found on cards."""
    driver = AttributeOrigin.DRIVER.value
    return sa.and_(
        # Earlier releases did not say where an attribute is from.
        sa.func.coalesce(ATTRIBUTES.c.origin, driver) == driver,
        ATTRIBUTES.c.key.startswith(constants.ATTR_TRAIT_PREFIX),
        ATTRIBUTES.c.value.startswith(
            constants.FUNCTION_TRAIT_PREFIX, autoescape=True
        ),
    )


@engine.writer
def forget_functions(context: RequestContext, deployable_id: int) -> None:
    """Remove what programming gave a deployable, and what was found on it."""
    context.connection.execute(
        sa.delete(ATTRIBUTES).where(
            ATTRIBUTES.c.deployable_id == deployable_id,
            sa.or_(
                ATTRIBUTES.c.origin == AttributeOrigin.BIND.value,
                is_found_function(),
            ),
        )
    )


@engine.writer
def set_programmed_traits(
    context: RequestContext, deployable_id: int, traits: Sequence[str]
) -> None:
    """Make ``traits`` the ones that programming gave a deployable."""
    context.connection.execute(
        sa.delete(ATTRIBUTES).where(
            ATTRIBUTES.c.deployable_id == deployable_id,
            ATTRIBUTES.c.origin == AttributeOrigin.BIND.value,
        )
    )
    if traits:
        create(
            context,
            [
                {
                    "uuid": uuidutils.generate_uuid(),
                    "deployable_id": deployable_id,
                    "key": f"{constants.ATTR_TRAIT_PREFIX}_function{index}",
                    "value": trait,
                    "origin": AttributeOrigin.BIND.value,
                }
                for index, trait in enumerate(traits)
            ],
        )
