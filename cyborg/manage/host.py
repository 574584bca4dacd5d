"""Shows hosts and services, and how they are; deletes hosts."""

import json
import pathlib
from typing import Any

from cyborg import manage
from cyborg.common import exception
from cyborg.common import liveness
from cyborg.conductor.inventory import discovering
from cyborg.conductor.inventory import keys
from cyborg.conductor.placement import removal
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.db import removal as removal_db
from cyborg.db import service as service_db
from cyborg.manage import output

HOST_COLUMNS = (
    "host",
    "rpc_host",
    "state",
    "forced_down",
    "last_seen_at",
    "placement",
    "placement_synced_at",
    "layout",
    "key",
    "refused_at",
    "error",
)
SERVICE_COLUMNS = ("id", "binary", "host", "state", "last_seen_at", "error")


def _state(row: Any) -> str:
    down = row.forced_down or liveness.is_silent(row.last_seen_at)
    return "down" if down else "up"


def list_hosts(context: RequestContext, use_json: bool) -> int:
    """List hosts, and whether Placement is in step with them."""
    rows = [
        {
            "host": row.hostname,
            "rpc_host": row.rpc_host,
            "state": _state(row),
            "forced_down": bool(row.forced_down),
            "last_seen_at": row.last_seen_at,
            "placement": "in step"
            if row.sync_done == row.sync_wanted
            else "behind",
            "placement_synced_at": row.placement_synced_at,
            "layout": row.provider_layout,
            "key": "known" if row.key_hash else "none",
            "refused_at": row.refused_at,
            "error": row.sync_error,
        }
        for row in host_db.find(context)
    ]
    output.table(HOST_COLUMNS, rows, use_json)
    return manage.CLEAN


def delete(context: RequestContext, hostname: str, use_json: bool) -> int:
    """Delete a host that is gone for good, or show what refers to it.

    :raises HostInUse: it goes on reporting, or something is allocated from
        its providers
    :raises HostNotFound: nobody has reported it
    """
    arqs, jobs = removal_db.users(context, hostname)
    rows = [
        {
            "kind": "accelerator request",
            "uuid": arq.uuid,
            "detail": f"{arq.state}, server {arq.instance_uuid or '-'}, "
            f"project {arq.project_id or '-'}",
        }
        for arq in arqs
    ]
    rows += [
        {
            "kind": "job",
            "uuid": job.uuid,
            "detail": f"{job.kind}, attempt {job.attempt}, "
            f"{job.last_error or 'no error yet'}",
        }
        for job in jobs
    ]
    if not rows:
        removal.remove_host(context, hostname)
    if rows or use_json:
        output.table(("kind", "uuid", "detail"), rows, use_json)
    if rows:
        return manage.FINDINGS
    if not use_json:
        output.line(f"{hostname}: deleted")
    return manage.CLEAN


def replace(context: RequestContext, hostname: str) -> int:
    """Let another machine take the place of a host that is gone for good.

    :raises HostNotFound: nobody has reported the host
    """
    host_db.forget_machine(context, hostname)
    output.line(f"{hostname}: the next machine that reports is this host")
    return manage.CLEAN


def discover(context: RequestContext, hostname: str) -> int:
    """Have the agent of a host look at its hardware now.

    :raises HostNotFound: nobody has reported it
    :raises AgentNotResponding: the agent is silent or down
    """
    discovering.ask(context, hostname)
    output.line(f"{hostname}: its agent looks at the hardware now")
    return manage.CLEAN


def rekey(context: RequestContext, hostname: str, key_file: str | None) -> int:
    """Forget the key that a host is known by, or lay another one down.

    :param key_file: has the key; None = the next one it shows is believed
    :raises HostNotFound: nobody has reported it
    :raises Invalid: the file cannot be read, or holds no key
    """
    key = None
    if key_file is not None:
        try:
            text = pathlib.Path(key_file).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise exception.Invalid(f"{key_file}: {error}") from error
        key = keys.shown_by({"key": text.strip()})
    host_db.rekey(context, hostname, key)
    output.line(
        f"{hostname}: known by the key in {key_file}"
        if key_file
        else f"{hostname}: the next key that its agent shows is believed"
    )
    return manage.CLEAN


def _errors(row: Any) -> str | None:
    errors = [
        f"{driver['name']}: {driver['error']}"
        for driver in json.loads(row.drivers or "[]")
        if driver.get("error")
    ]
    if row.last_error:
        errors.append(row.last_error)
    return "; ".join(errors) or None


def list_services(context: RequestContext, use_json: bool) -> int:
    """List agents and conductors."""
    rows = [
        {
            "id": row.uuid,
            "binary": row.binary,
            "host": row.host,
            "state": _state(row),
            "last_seen_at": row.last_seen_at,
            "error": _errors(row),
        }
        for row in service_db.find(context)
    ]
    output.table(SERVICE_COLUMNS, rows, use_json)
    return manage.CLEAN
