"""Shows what happened to devices, cleans and frees them."""

from collections.abc import Callable
from collections.abc import Sequence

from cyborg import manage
from cyborg.common import exception
from cyborg.conductor.work import cleaning
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import device_event as event_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import paging
from cyborg.manage import output

_WHO = "cyborg-manage"
COLUMNS = ("at", "kind", "who", "why", "detail")


def release(
    context: RequestContext,
    uuids: Sequence[str],
    use_json: bool,
    force: bool = False,
) -> int:
    """Let devices be given out again; whoever says so answers for it.

    :param force: also those that their agents may be cleaning
    :raises DeviceNotFound: one does not exist; nothing was changed
    :raises Conflict: one is not held back; nothing was changed
    """
    states = _all(
        context,
        uuids,
        lambda uuid: cleaning.release(context, uuid, force=force, who=_WHO),
    )
    return _show(states, use_json)


def clean(
    context: RequestContext, uuids: Sequence[str], use_json: bool
) -> int:
    """Have devices cleaned; their agents do it.

    :raises DeviceNotFound: one does not exist; nothing was changed
    :raises Conflict: one is in use, or being cleaned; nothing was changed
    """
    states = _all(
        context, uuids, lambda uuid: cleaning.clean(context, uuid, who=_WHO)
    )
    return _show(states, use_json)


@engine.use_case
def _all(
    context: RequestContext,
    uuids: Sequence[str],
    change: Callable[[str], str],
) -> dict[str, str]:
    """Change all of the devices, or none; returns their states."""
    uuids = list(dict.fromkeys(uuids))
    hosts = set()
    for uuid in uuids:
        device = device_db.get(context, uuid)
        if device is None:
            raise exception.DeviceNotFound(uuid=uuid)
        hosts.add(device.hostname)
    # Those of several are always locked in this order.
    for hostname in sorted(hosts):
        host_db.lock_or_create(context, hostname)
    return {uuid: change(uuid) for uuid in uuids}


def history(
    context: RequestContext, uuid: str, limit: int, use_json: bool
) -> int:
    """List what happened to a device, the latest last.

    :param limit: how many events, the latest; 0 = all
    :raises DeviceNotFound: nothing is known of it
    """
    cards = identity_db.ids_of_device(context, uuid)
    if not cards and device_db.get(context, uuid) is None:
        raise exception.DeviceNotFound(uuid=uuid)
    page = paging.Page(limit=limit or None, descending=True)
    rows = event_db.find(context, cards, page)
    output.table(
        COLUMNS,
        [
            {name: getattr(row, name) for name in COLUMNS}
            for row in reversed(rows)
        ],
        use_json,
    )
    return manage.CLEAN


def _show(states: dict[str, str], use_json: bool) -> int:
    if use_json:
        output.as_json(
            [
                {"uuid": uuid, "device_state": state}
                for uuid, state in states.items()
            ]
        )
        return manage.CLEAN
    for uuid, state in states.items():
        output.line(f"Device {uuid} is {state}.")
    return manage.CLEAN
