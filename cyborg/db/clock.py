"""The database's clock, which all processes share; theirs may differ."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from cyborg.context import RequestContext
from cyborg.db import engine


class Now(functions.FunctionElement[datetime.datetime]):
    """The time by the database, UTC, in whole seconds, as columns hold it."""

    inherit_cache = True
    type = sa.DateTime()


@compiler.compiles(Now, "mysql")
def _mysql(element: Any, compiling: Any, **options: Any) -> str:
    return "UTC_TIMESTAMP()"


@compiler.compiles(Now, "postgresql")
def _postgresql(element: Any, compiling: Any, **options: Any) -> str:
    return "date_trunc('second', CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"


@compiler.compiles(Now, "sqlite")
def _sqlite(element: Any, compiling: Any, **options: Any) -> str:
    # Times are text there, and compared as such.
    return "strftime('%Y-%m-%d %H:%M:%S.000000', 'now')"


@engine.reader
def read(context: RequestContext) -> datetime.datetime:
    """Return the time by the database, UTC."""
    return context.connection.execute(sa.select(Now())).scalar_one()
