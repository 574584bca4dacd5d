"""The use case of a host's report: check, compare, store, tell."""

from collections.abc import Sequence
import dataclasses
import hashlib
import json
from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor.inventory import checking
from cyborg.conductor.inventory import comparing
from cyborg.conductor.inventory import identifying
from cyborg.conductor.inventory import keys
from cyborg.conductor.inventory import registration
from cyborg.conductor.inventory import storing
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import inventory as inventory_db
from cyborg.objects import base
from cyborg.objects import report

LOG = logging.getLogger(__name__)


def canonical_digest(
    devices: Sequence[report.DriverDevice | base.Unreadable],
) -> str:
    """Return the digest of a report that came without one.

    Agents of RPC 1.0 send none; equal reports have to be told apart from
    changed ones all the same.
    """
    payload = [
        dataclasses.asdict(device)
        if isinstance(device, base.Unreadable)
        else device.obj_to_primitive()
        for device in devices
    ]
    text = json.dumps(payload, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def heartbeat(
    context: RequestContext,
    hostname: str,
    rpc_host: str,
    digest: str | None,
    agent: dict[str, Any] | None,
    apart: bool,
) -> bool:
    """Note that a host is alive; False if it has to report in full.

    One statement where nothing has changed.

    :raises HostKeyRefused: it is not the host's agent that says so
    """
    key = keys.shown_by(agent)

    def beat() -> bool:
        return digest is not None and host_db.heartbeat(
            context, hostname, rpc_host, digest, agent, key, apart
        )

    if keys.may_be(key, apart) and beat():
        return True
    return keys.check(context, hostname, agent, apart) and beat()


def report_data(
    context: RequestContext, hostname: str, *args: Any, **kwargs: Any
) -> bool:
    """Store a report of a host, see :func:`_report_data`.

    :raises HostKeyRefused: it is not the host's agent that sends it
    """
    try:
        return _report_data(context, hostname, *args, **kwargs)
    except exception.HostKeyRefused:
        # The transaction it was refused in is gone.
        host_db.note_refusal(context, hostname)
        raise


@engine.use_case
def _report_data(
    context: RequestContext,
    hostname: str,
    devices: Sequence[report.DriverDevice | base.Unreadable],
    rpc_host: str | None,
    rpc_version: str,
    digest: str,
    drivers: Sequence[dict[str, Any]] | None,
    agent: dict[str, Any] | None = None,
    apart: bool = False,
) -> bool:
    """Store a report of a host; returns whether Placement has to be told.

    Reports of one host follow each other under the lock of its row.

    :param agent: ``{"machine_id", "boot_id"}`` and more; None = an agent that
        does not tell
    :raises HostTaken: another machine is that host
    :param apart: it came over the bus that agents have of their own
    :raises Invalid: the host's names, or what it says of its drivers, cannot
        be stored; what is wrong with one device costs only that one
    """
    checking.check_host(hostname, rpc_host, digest)
    devices = checking.checked_devices(devices)
    drivers = checking.checked_drivers(drivers)
    host = host_db.lock_or_create(context, hostname)
    keys.check_locked(context, host, agent, apart)
    registration.check_machine(context, host, agent)
    if host.report_digest == digest and not registration.is_other_machine(
        host, agent
    ):
        host_db.set_machine(context, host, agent)
        host_db.seen(context, hostname, rpc_host, rpc_version)
        return False
    stored = inventory_db.load(context, hostname)
    registration.check_cards(
        host,
        agent,
        {
            comparing.place_of(row.attach_info)
            for row in stored.handles
            if row.in_use
        },
        comparing.places(devices),
    )
    host_db.set_machine(context, host, agent)
    changes = comparing.compare(stored, devices, drivers)
    for cpid, problem in changes.problems.items():
        LOG.error("Device %s of host %s: %s", cpid, hostname, problem)
    # Before a device that is free becomes another card.
    _tell_seen(context, hostname, stored, changes)
    happened = identifying.identify(context, hostname, stored, changes)
    storing.apply(context, hostname, changes)
    events.record(context, happened, events.agent(hostname))
    host_db.store_report(
        context,
        hostname,
        rpc_host=rpc_host,
        rpc_version=rpc_version,
        # What has to wait until devices are free is looked for again.
        digest="" if changes.held else digest,
        drivers=_with_problems(drivers, changes.problems),
    )
    if changes:
        sync_db.mark(context, hostname)
        _log(hostname, changes)
        if notifications.is_on():
            _notify(context, hostname, changes, stored)
    return bool(changes)


def _tell_seen(
    context: RequestContext,
    hostname: str,
    stored: inventory_db.Stored,
    changes: comparing.Changes,
) -> None:
    """Say which devices are not what their holders were promised, or are.

    Such a device takes nobody else: what it is now will be known when it is
    free.
    """
    who = events.agent(hostname)
    wanted, well = [], []
    for row in stored.devices:
        seen = changes.seen.get(row.id)
        if seen is None:
            continue
        if not seen.differs:
            well.append(row)
            continue
        LOG.warning(
            "Device %s of host %s is held and stays as it is stored: %s",
            row.uuid,
            hostname,
            seen.text,
        )
        effect = conditions.Effect.NO_SCHEDULE
        wanted.append(
            conditions.Condition(
                row,
                constants.CONDITION_DRIFT,
                conditions.Source.AGENT,
                effect if seen.breaks else conditions.Effect.NONE,
                seen.text,
            )
        )
    conditions.put(context, wanted, who)
    conditions.clear(
        context,
        well,
        source=conditions.Source.AGENT,
        keys=[constants.CONDITION_DRIFT],
        why="it is what is stored of it",
        who=who,
    )


def _with_problems(
    drivers: Sequence[dict[str, Any]] | None, problems: dict[str, str]
) -> list[dict[str, Any]] | None:
    """Return what the services list shows of the drivers."""
    if drivers is None:
        return None
    shown = []
    for driver in drivers:
        errors = [driver.get("error")] + [
            f"{cpid}: {problem}"
            for cpid, problem in problems.items()
            if cpid in driver.get("cpids", [])
        ]
        text = "; ".join(error for error in errors if error)
        said = checking.shown(text, len(drivers))
        shown.append(
            {
                "name": driver["name"],
                "state": "ok" if driver["complete"] and not said else "failed",
                "error": said or None,
                "capabilities": driver.get("capabilities", []),
            }
        )
    return shown


def _log(hostname: str, changes: comparing.Changes) -> None:
    LOG.info(
        "Host %s: %d devices found, %d changed, %d missing, %d back",
        hostname,
        len(changes.devices),
        len(changes.device_values) + len(changes.deployable_values),
        len(changes.missing["device"]),
        len(changes.back["device"]),
    )


def _notify(
    context: RequestContext,
    hostname: str,
    changes: comparing.Changes,
    stored: inventory_db.Stored,
) -> None:
    known = {row.id for row in stored.devices}
    now = {row.id: row for row in device_db.find(context, hostname=hostname)}
    event = notifications.Event
    for kind, ids in (
        (event.DEVICE_CREATE, now.keys() - known),
        (event.DEVICE_UPDATE, _changed_devices(changes, stored)),
        (event.DEVICE_LOST, changes.missing["device"]),
        (event.DEVICE_FOUND, changes.back["device"]),
    ):
        notifications.devices(context, kind, [now[id_] for id_ in sorted(ids)])


def _changed_devices(
    changes: comparing.Changes, stored: inventory_db.Stored
) -> set[int]:
    """Return devices of which anything changed but that they came or went."""
    handles = {row.id: row.deployable_id for row in stored.handles}
    attributes = {row.id: row.deployable_id for row in stored.attributes}
    deployables = {
        *changes.deployable_values,
        *changes.missing["deployable"],
        *changes.back["deployable"],
        *(deployable_id for deployable_id, *_rest in changes.handles),
        *(deployable_id for deployable_id, *_rest in changes.attributes),
        *(attributes[id_] for id_ in changes.dropped_attributes),
        *(handles[id_] for id_ in changes.handle_values),
        *(handles[id_] for id_ in changes.missing["handle"]),
        *(handles[id_] for id_ in changes.back["handle"]),
    }
    devices = {
        row.device_id for row in stored.deployables if row.id in deployables
    }
    devices |= {new.device_id for new in changes.deployables if new.device_id}
    devices -= {*changes.missing["device"], *changes.back["device"]}
    return devices | set(changes.device_values)
