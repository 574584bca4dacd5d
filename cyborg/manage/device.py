"""Shows what happened to devices, and frees those that are kept back.

An interrupted cleaning keeps a device from being given out.
"""

from collections.abc import Sequence

from cyborg import manage
from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import device_event as event_db
from cyborg.db import device_identity as identity_db
from cyborg.db import device_state as state_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import paging
from cyborg.manage import output

COLUMNS = ("at", "kind", "who", "why", "detail")


def release(
    context: RequestContext, uuids: Sequence[str], use_json: bool
) -> int:
    """Let devices be given out again; whoever says so answers for it.

    :raises DeviceNotFound: one does not exist; nothing was changed
    :raises Conflict: one is not held back; nothing was changed
    """
    released = _release(context, list(dict.fromkeys(uuids)))
    if use_json:
        output.as_json(
            [{"uuid": uuid, "device_state": state} for uuid, state in released]
        )
        return manage.CLEAN
    for uuid, state in released:
        output.line(f"Device {uuid} is {state}.")
    return manage.CLEAN


@engine.use_case
def _release(
    context: RequestContext, uuids: Sequence[str]
) -> list[tuple[str, str]]:
    devices = []
    for uuid in uuids:
        device = device_db.get(context, uuid)
        if device is None:
            raise exception.DeviceNotFound(uuid=uuid)
        devices.append(device)
    for hostname in sorted({device.hostname for device in devices}):
        host_db.lock_or_create(context, hostname)
    for device in devices:
        now = device_db.get(context, device.uuid)
        if now is None or now.device_state not in list(states.UNFIT):
            raise exception.Conflict(
                f"Device {device.uuid} is "
                f"{now.device_state if now else 'gone'}; only one that is "
                f"{', '.join(states.UNFIT)} can be released."
            )
    state_db.release(context, [device.id for device in devices])
    events.record(
        context,
        [
            events.of(
                device, events.Kind.OFFERED, "an operator answers for it"
            )
            for device in devices
        ],
        "cyborg-manage",
    )
    for hostname in sorted({device.hostname for device in devices}):
        # Placement has it reserved.
        sync_db.mark(context, hostname)
    found = [device_db.get(context, uuid) for uuid in uuids]
    return [(row.uuid, str(row.device_state)) for row in found if row]


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
