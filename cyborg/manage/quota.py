"""Counts again what projects use of their quotas."""

from collections.abc import Sequence
import json
from typing import Any

from cyborg import manage
from cyborg.common import constants
from cyborg.common import states
from cyborg.conductor import binding
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import quota as quota_db
from cyborg.manage import output

State = states.ARQState

# Requests that will be bound, and those that count as used: in number, and
# in what they hold of a resource class. Others are given back.
_RESERVED = (State.INITIAL, State.BIND_STARTED)
_COUNTED = (
    State.BOUND,
    State.BIND_FAILED,
    State.UNBOUND,
    State.UNBIND_FAILED,
)
_HOLDING = (State.BOUND,)

COLUMNS = (
    "project_id",
    "resource",
    "in_use",
    "counted_in_use",
    "reserved",
    "counted_reserved",
)

# (project, resource): (in use, reserved)
Usages = dict[tuple[str, str], tuple[int, int]]


def recount(context: RequestContext, use_json: bool, dry_run: bool) -> int:
    """Show what was counted wrong, and correct it unless ``dry_run``."""
    rows = _differences(context) if dry_run else _correct(context)
    if rows or use_json:
        output.table(COLUMNS, rows, use_json)
    else:
        output.line("All usages are right.")
    return manage.FINDINGS if rows and dry_run else manage.CLEAN


@engine.use_case
def _correct(context: RequestContext) -> list[dict[str, Any]]:
    quota_db.lock_counted(context)
    rows = _differences(context)
    for row in rows:
        quota_db.store(
            context,
            row["project_id"],
            row["resource"],
            row["counted_in_use"],
            row["counted_reserved"],
        )
    return rows


@engine.reader
def _differences(context: RequestContext) -> list[dict[str, Any]]:
    stored = {
        (row.project_id, row.resource): (row.in_use, row.reserved)
        for row in quota_db.counted(context)
    }
    found = counts(quota_db.arqs_by_group(context))
    rows = []
    for key in sorted(stored.keys() | found.keys()):
        before, after = stored.get(key, (0, 0)), found.get(key, (0, 0))
        if before != after:
            rows.append(
                dict(
                    zip(
                        COLUMNS,
                        (*key, before[0], after[0], before[1], after[1]),
                        strict=True,
                    )
                )
            )
    return rows


def counts(groups: Sequence[Any]) -> Usages:
    """Add up what projects use.

    :param groups: rows of project_id, profile_json, device_profile_group_id,
        state and count
    """
    usages: Usages = {}

    def add(key: tuple[str, str], in_use: int, reserved: int) -> None:
        before = usages.get(key, (0, 0))
        usages[key] = (before[0] + in_use, before[1] + reserved)

    for row in groups:
        reserved = row.state in _RESERVED
        if reserved or row.state in _COUNTED:
            key = (row.project_id, constants.QUOTA_REQUESTS)
            add(key, 0 if reserved else row.count, row.count * reserved)
        if not (reserved or row.state in _HOLDING):
            continue
        group = json.loads(row.profile_json)["groups"][
            row.device_profile_group_id
        ]
        for resource_class, units in _units(group, row.count).items():
            key = (row.project_id, constants.QUOTA_CLASS + resource_class)
            add(key, 0 if reserved else units, units * reserved)
    return usages


def _units(group: dict[str, str], arqs: int) -> dict[str, int]:
    """Return how much of each class a group's ARQs stand for.

    Two ARQs of a group may be one unit, as a Xilinx card's two functions.
    """
    size = binding.group_size(group)
    if size == 0:
        return {}
    amounts = {
        key.removeprefix(constants.GROUP_RESOURCES).strip(): int(value)
        for key, value in group.items()
        if key.startswith(constants.GROUP_RESOURCES)
    }
    return {
        name: -(-arqs * amount // size) for name, amount in amounts.items()
    }
