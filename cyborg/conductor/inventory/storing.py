"""Writes what a report changes, under the lock of its host."""

from collections.abc import Sequence

from cyborg.common import clock
from cyborg.common import constants
from cyborg.conductor.inventory import comparing
from cyborg.context import RequestContext
from cyborg.db import device_state
from cyborg.db import inventory as inventory_db
from cyborg.objects import report


def apply(
    context: RequestContext, hostname: str, changes: comparing.Changes
) -> None:
    """Write changes; the number of statements depends on the tables only."""
    now = clock.utcnow()
    deployables = _insert_devices(context, hostname, changes.devices)
    deployables += changes.deployables
    _insert_deployables(context, deployables, changes)
    tables = {
        "device": inventory_db.DEVICES,
        "deployable": inventory_db.DEPLOYABLES,
        "handle": inventory_db.HANDLES,
    }
    inventory_db.update(context, tables["device"], changes.device_values)
    inventory_db.update(
        context, tables["deployable"], changes.deployable_values
    )
    inventory_db.update(context, tables["handle"], changes.handle_values)
    inventory_db.delete_attributes(context, changes.dropped_attributes)
    for name, table in tables.items():
        inventory_db.set_missing(context, table, changes.missing[name], now)
        inventory_db.set_missing(context, table, changes.back[name], None)
    if changes.moved:
        # Guests have handles of other devices now.
        device_state.follow(context, inventory_db.ids(context, hostname))


def _insert_devices(
    context: RequestContext,
    hostname: str,
    devices: Sequence[comparing.NewDevice],
) -> list[comparing.NewDeployable]:
    device_ids = inventory_db.insert(
        context,
        inventory_db.DEVICES,
        [device.values | {"hostname": hostname} for device in devices],
    )
    path_ids = inventory_db.insert(
        context,
        inventory_db.CONTROL_PATHS,
        [
            {
                "device_id": device_id,
                "cpid_type": device.reported.controlpath_id.cpid_type,
                "cpid_info": device.reported.controlpath_id.cpid_info,
            }
            for device, device_id in zip(devices, device_ids, strict=True)
        ],
    )
    deployables = []
    for device, device_id, path_id in zip(
        devices, device_ids, path_ids, strict=True
    ):
        for deployable in device.deployables:
            deployable.device_id = device_id
            deployable.control_path_id = path_id
            deployables.append(deployable)
    return deployables


def _insert_deployables(
    context: RequestContext,
    deployables: Sequence[comparing.NewDeployable],
    changes: comparing.Changes,
) -> None:
    ids = inventory_db.insert(
        context,
        inventory_db.DEPLOYABLES,
        [d.values | {"device_id": d.device_id} for d in deployables],
    )
    attributes = list(changes.attributes)
    handles: list[tuple[int, int | None, report.DriverAttachHandle]] = [
        *changes.handles
    ]
    for deployable, deployable_id in zip(deployables, ids, strict=True):
        attributes += [
            (deployable_id, key, value) for key, value in deployable.attributes
        ]
        handles += [
            (deployable_id, deployable.control_path_id, handle)
            for handle in deployable.handles
        ]
    inventory_db.insert(
        context,
        inventory_db.ATTRIBUTES,
        [
            {
                "deployable_id": deployable_id,
                "key": key,
                "value": value,
                "origin": constants.AttributeOrigin.DRIVER.value,
            }
            for deployable_id, key, value in attributes
        ],
    )
    _insert_handles(context, handles, changes.moved)


def _insert_handles(
    context: RequestContext,
    handles: Sequence[tuple[int, int | None, report.DriverAttachHandle]],
    moved: dict[str, int],
) -> None:
    """Insert handles, or let them come from elsewhere.

    :param moved: ids of those that do, by place
    """
    left = dict(moved)
    new, updates = [], {}
    for deployable_id, path_id, handle in handles:
        values = {
            "deployable_id": deployable_id,
            "cpid_id": path_id,
            "attach_type": handle.attach_type,
            "attach_info": handle.attach_info,
        }
        stored_id = left.pop(comparing.place_of(handle.attach_info), None)
        if stored_id is None:
            new.append(values | {"in_use": False})
        else:
            updates[stored_id] = values | {"missing_since": None}
    inventory_db.insert(context, inventory_db.HANDLES, new)
    inventory_db.update(context, inventory_db.HANDLES, updates)
