"""Counts again what projects use of their quotas."""

from cyborg import manage
from cyborg.conductor import quota
from cyborg.context import RequestContext
from cyborg.manage import output

COLUMNS = (
    "project_id",
    "resource",
    "in_use",
    "counted_in_use",
    "reserved",
    "counted_reserved",
)


def recount(context: RequestContext, use_json: bool, dry_run: bool) -> int:
    """Show what was counted wrong, and correct it unless ``dry_run``."""
    rows = [
        dict(
            zip(
                COLUMNS,
                (*key, before[0], after[0], before[1], after[1]),
                strict=True,
            )
        )
        for key, (before, after) in quota.recount(context, dry_run).items()
    ]
    if rows or use_json:
        output.table(COLUMNS, rows, use_json)
    else:
        output.line("All usages are right.")
    return manage.FINDINGS if rows and dry_run else manage.CLEAN
