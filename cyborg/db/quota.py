"""Quota usage: how much of a resource a project has."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

USAGES = models.QuotaUsage.__table__


@engine.reader
def find(context: RequestContext, project_id: str) -> Sequence[sa.Row[Any]]:
    """Return what a project uses, one row for each resource."""
    return context.connection.execute(
        sa.select(USAGES)
        .where(USAGES.c.project_id == project_id)
        .order_by(USAGES.c.resource)
    ).all()
