"""Will agents of this release offer what is offered now?"""

from collections.abc import Iterable
from collections.abc import Iterator
import json
from typing import Any

import sqlalchemy as sa

from cyborg.manage.checks import base

_NVIDIA = ("10de", "0x10de")
_ADVICE = (
    "See 'What is offered, and why not' in the manual; 'cyborg-agent "
    "--dry-run' shows on each host what will be withheld, and why."
)


class OfferChecks(base.Checks):
    """Look at what hosts reported."""

    @base.on_database
    def offers(self, connection: sa.Connection) -> base.Result:
        """Is there what agents of this release withhold?

        As far as rows tell; the machine tells more.
        """
        details = [
            f"{len(found)} {what}: {base.shown(found)}."
            for what, found in _withheld(connection)
            if found
        ]
        if details:
            return base.Result(
                base.Code.WARNING, " ".join([*details, _ADVICE])
            )
        return base.Result(base.Code.SUCCESS)


def _withheld(
    connection: sa.Connection,
) -> Iterator[tuple[str, list[str]]]:
    """Yield what will be withheld, and which it is."""
    devices = _table("devices", "id", "hostname", "vendor", "type")
    paths = _table("controlpath_ids", "device_id", "cpid_info")
    deployables = _table("deployables", "id", "device_id", "name")
    handles = _table("attach_handles", "deployable_id", "attach_info")
    cards = connection.execute(
        sa.select(devices.c.hostname, paths.c.cpid_info)
        .join(paths, paths.c.device_id == devices.c.id)
        .where(
            devices.c.vendor.in_(_NVIDIA),
            sa.cast(devices.c.type, sa.String(32)) == "GPU",
        )
        .order_by(devices.c.id)
    )
    yield (
        "NVIDIA GPU(s) are virtual functions; without a type in "
        "[gpu_devices] enabled_vgpu_types nobody is given them",
        [
            f"{row.hostname} {place}"
            for row in cards
            if (place := _part(row.cpid_info))
        ],
    )
    several = connection.execute(
        sa.select(devices.c.hostname, handles.c.attach_info)
        .select_from(handles)
        .join(deployables, deployables.c.id == handles.c.deployable_id)
        .join(devices, devices.c.id == deployables.c.device_id)
        .where(~handles.c.attach_info.like('%"asked_type"%'))
        .group_by(devices.c.hostname, handles.c.attach_info)
        .having(sa.func.count() > 1)
        .order_by(devices.c.hostname, handles.c.attach_info)
    )
    yield (
        "function(s) are offered by two drivers; the one that is enabled "
        "first has them",
        [f"{row.hostname} {_address(row.attach_info)}" for row in several],
    )
    columns = sa.inspect(connection).get_columns("deployables")
    if "withheld" in {item["name"] for item in columns}:
        rows = connection.execute(
            sa.select(deployables.c.name)
            .where(sa.column("withheld").is_not(None))
            .order_by(deployables.c.id)
        )
        yield "deployable(s) are withheld", list(rows.scalars())


def _table(name: str, *columns: str) -> Any:
    return sa.table(name, *(sa.column(column) for column in columns))


def _fields(info: str) -> dict[str, str]:
    try:
        return {**json.loads(info)}
    except (TypeError, ValueError):
        return {}


def _address(info: str) -> str:
    fields = _fields(info)
    names: Iterable[str] = ("domain", "bus", "device", "function")
    if not fields.keys() >= set(names):
        return info
    return "{domain}:{bus}:{device}.{function}".format(**fields)


def _part(info: str) -> str | None:
    """Return the address of a GPU that is no whole card, else None.

    Those are the first function of their slot, and virtual ones are not.
    """
    fields = _fields(info)
    whole = {"device": "00", "function": "0"}
    if not fields.keys() >= whole.keys() or whole.items() <= fields.items():
        return None
    return _address(info)
