"""Shows what hosts have, who holds it, and what is wrong with it."""

from collections.abc import Iterable
from collections.abc import Iterator
import datetime
from importlib import resources
import json
import pathlib
import re
import sys
from typing import Any

from cyborg import manage
from cyborg.common import clock
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import liveness
from cyborg.conductor.inventory import freezing
from cyborg.context import RequestContext
from cyborg.db import topology as topology_db
from cyborg.manage import output

Tree = dict[str, Any]

# How the branches of the tree look, where the terminal has the characters.
_BRANCHES = ("├─ ", "└─ ", "│  ", "   ")
_PLAIN_BRANCHES = ("|- ", "`- ", "|  ", "   ")


def show(
    context: RequestContext,
    hostname: str | None,
    use_json: bool,
    html: str | None,
) -> int:
    """Print the tree, as text or JSON, or write it into a page.

    :param hostname: this host alone
    :param html: name of the file to write
    :raises HostNotFound: nobody has reported the host
    """
    tree = build(topology_db.load(context, hostname), clock.utcnow())
    if hostname is not None and not tree["hosts"]:
        raise exception.HostNotFound(host=hostname)
    if html is not None:
        pathlib.Path(html).write_text(page(tree), encoding="utf-8")
        output.line(f"Wrote {html}: {_summary(tree['summary'])}.")
    if use_json:
        output.as_json(tree)
    elif html is None:
        for line in lines(tree, _branches()):
            output.line(line)
    return manage.CLEAN


# -- the tree


def build(rows: topology_db.Rows, now: datetime.datetime) -> Tree:
    """Return hosts, devices, deployables and handles, each in the other."""
    devices = _group(rows.devices, "hostname")
    index = _Index(rows)
    known = {row.hostname: row for row in rows.hosts}
    hosts = [
        _host(name, known.get(name), devices.get(name, []), index, now)
        for name in sorted({*known, *devices}, key=_natural)
    ]
    return {
        "generated_at": now.isoformat(timespec="seconds"),
        "summary": _count(hosts),
        "hosts": hosts,
    }


class _Index:
    def __init__(self, rows: topology_db.Rows) -> None:
        self.paths = _group(rows.control_paths, "device_id")
        self.deployables = _group(rows.deployables, "device_id")
        self.classes = {row.deployable_id: row.value for row in rows.classes}
        self.handles = _group(rows.handles, "deployable_id")
        self.arqs = {row.attach_handle_id: row for row in rows.arqs}
        self.conditions = _group(rows.conditions, "device_id")


def _group(rows: Iterable[Any], column: str) -> dict[Any, list[Any]]:
    grouped: dict[Any, list[Any]] = {}
    for row in rows:
        grouped.setdefault(getattr(row, column), []).append(row)
    return grouped


def _natural(name: str) -> list[Any]:
    """Return the key that sorts cn2 before cn10."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in re.split(r"(\d+)", name)
    ]


def _host(
    name: str,
    row: Any,
    devices: list[Any],
    index: _Index,
    now: datetime.datetime,
) -> Tree:
    problems = []
    state = "unknown"
    if row is not None:
        silent = liveness.is_silent(row.last_seen_at, now)
        state = "down" if silent or row.forced_down else "up"
        if row.forced_down:
            problems.append("forced down")
        elif silent:
            problems.append(
                "its agent is silent"
                + (
                    f" since {row.last_seen_at.isoformat(timespec='seconds')}"
                    if row.last_seen_at
                    else ""
                )
            )
        problems += [
            f"driver {driver['name']}: {driver['error']}"
            for driver in json.loads(row.drivers or "[]")
            if driver.get("error")
        ]
        if row.refused_at is not None:
            problems.append(
                "somebody without its key spoke in its name at "
                + _time(row.refused_at)
            )
        if row.sync_error:
            problems.append(f"Placement: {row.sync_error}")
        elif row.sync_done != row.sync_wanted:
            problems.append("Placement is behind")
    return {
        "host": name,
        "state": state,
        "problems": problems,
        "devices": [_device(device, index) for device in devices],
    }


def _device(row: Any, index: _Index) -> Tree:
    problems = []
    if row.missing_since is not None:
        problems.append(f"missing since {_time(row.missing_since)}")
    if row.status == constants.DeviceStatus.MAINTAINING:
        reason = f": {row.status_reason}" if row.status_reason else ""
        problems.append(f"disabled{reason}")
    problems += freezing.differences(row.seen)
    problems += [
        f"{item.key}: {item.reason or 'no reason given'} ({item.source})"
        for item in index.conditions.get(row.id, [])
        # That is what was said just now.
        if item.key
        not in (constants.CONDITION_MAINTAINING, constants.CONDITION_DRIFT)
    ]
    paths = index.paths.get(row.id, [])
    return {
        "uuid": row.uuid,
        "type": row.type,
        "vendor": row.vendor,
        "model": row.model,
        "address": address(paths[0].cpid_info) if paths else None,
        "driver": row.driver,
        "status": row.status,
        "problems": problems,
        "deployables": [
            _deployable(deployable, index)
            for deployable in index.deployables.get(row.id, [])
        ],
    }


def _deployable(row: Any, index: _Index) -> Tree:
    problems = []
    if row.missing_since is not None:
        problems.append(f"missing since {_time(row.missing_since)}")
    problems += [
        f"withheld: {each['text']} ({each['rule']})"
        for each in json.loads(row.withheld or "[]")
    ]
    if row.rp_uuid is None and row.num_accelerators:
        problems.append("has no provider in Placement")
    handles = [
        _handle(handle, index.arqs.get(handle.id))
        for handle in index.handles.get(row.id, [])
    ]
    return {
        "uuid": row.uuid,
        "name": row.name,
        "provider": row.rp_uuid,
        "resource_class": index.classes.get(row.id),
        "accelerators": row.num_accelerators,
        "in_use": sum(handle["in_use"] for handle in handles),
        "problems": problems,
        "handles": handles,
    }


def _handle(row: Any, arq: Any) -> Tree:
    problems = []
    if row.missing_since is not None:
        problems.append(f"missing since {_time(row.missing_since)}")
    if row.in_use and arq is None:
        problems.append("in use by no request")
    request = None
    if arq is not None:
        request = {
            "uuid": arq.uuid,
            "state": arq.state,
            "instance": arq.instance_uuid,
            "project": arq.project_id,
        }
    return {
        "uuid": row.uuid,
        "type": row.attach_type,
        "address": address(row.attach_info),
        "in_use": bool(row.in_use),
        "problems": problems,
        "request": request,
    }


def address(info: str) -> str:
    """Return a PCI address where the text is one in JSON, else the text."""
    try:
        return "{domain}:{bus}:{device}.{function}".format(**json.loads(info))
    except (KeyError, TypeError, ValueError):
        return info


def _time(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _count(hosts: list[Tree]) -> dict[str, int]:
    counts = dict.fromkeys(
        ("hosts", "devices", "deployables", "handles", "in_use", "problems"),
        0,
    )
    for host in hosts:
        counts["hosts"] += 1
        counts["problems"] += len(host["problems"])
        for device in host["devices"]:
            counts["devices"] += 1
            counts["problems"] += len(device["problems"])
            for deployable in device["deployables"]:
                counts["deployables"] += 1
                counts["problems"] += len(deployable["problems"])
                counts["in_use"] += deployable["in_use"]
                for handle in deployable["handles"]:
                    counts["handles"] += 1
                    counts["problems"] += len(handle["problems"])
    return counts


# -- text


def _branches() -> tuple[str, str, str, str]:
    try:
        "".join(_BRANCHES).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _PLAIN_BRANCHES
    return _BRANCHES


def lines(
    tree: Tree, branches: tuple[str, str, str, str] = _BRANCHES
) -> Iterator[str]:
    """Return the tree as lines for a terminal."""
    for host in tree["hosts"]:
        yield _marked(f"{host['host']}: {host['state']}", host)
        yield from _below(
            [
                (_device_text(device), _device_parts(device))
                for device in host["devices"]
            ],
            "",
            branches,
        )
    yield _summary(tree["summary"])


Part = tuple[str, list[Any]]


def _below(
    parts: list[Part], indent: str, branches: tuple[str, str, str, str]
) -> Iterator[str]:
    middle, last, through, blank = branches
    for number, (text, inner) in enumerate(parts, 1):
        ends = number == len(parts)
        yield f"{indent}{last if ends else middle}{text}"
        yield from _below(
            inner, indent + (blank if ends else through), branches
        )


def _marked(text: str, node: Tree) -> str:
    return "; ".join([text, *(f"! {text}" for text in node["problems"])])


def _device_text(device: Tree) -> str:
    return _marked(
        f"{device['type']} {device['vendor']} {device['model']} "
        f"{device['address'] or '-'}, {device['uuid']}",
        device,
    )


def _device_parts(device: Tree) -> list[Part]:
    return [
        (
            _marked(
                f"{deployable['name']}: "
                f"{deployable['resource_class'] or 'no resource class'}, "
                f"{deployable['in_use']} of {deployable['accelerators']} "
                "in use",
                deployable,
            ),
            [(_handle_text(handle), []) for handle in deployable["handles"]],
        )
        for deployable in device["deployables"]
    ]


def _handle_text(handle: Tree) -> str:
    request = handle["request"]
    holder = "free" if not handle["in_use"] else "in use"
    if request is not None:
        holder = (
            f"{request['state']}, server {request['instance'] or '-'}, "
            f"project {request['project'] or '-'}"
        )
    return _marked(f"{handle['type']} {handle['address']}: {holder}", handle)


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(
        [
            _number(counts["hosts"], "host"),
            _number(counts["devices"], "device"),
            _number(counts["handles"], "handle"),
            f"{counts['in_use']} in use",
            _number(counts["problems"], "problem"),
        ]
    )


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


# -- page


def page(tree: Tree) -> str:
    """Return an HTML page that needs nothing but itself."""
    template = (
        resources.files("cyborg.manage")
        .joinpath("topology.html")
        .read_text(encoding="utf-8")
    )
    text = json.dumps(_compact(tree), separators=(",", ":"))
    # Inside a script element nothing else ends it, or begins a comment.
    return template.replace("@DATA@", text.replace("<", "\\u003c"))


def _compact(tree: Tree) -> Tree:
    """Return what the page draws: ``[kind, text, detail, problems, below]``.

    Lists, because a large cloud has hundreds of thousands of handles.
    """
    return {
        "generated_at": tree["generated_at"],
        "summary": tree["summary"],
        "nodes": [
            [
                "host",
                host["host"],
                host["state"],
                host["problems"],
                [_compact_device(device) for device in host["devices"]],
            ]
            for host in tree["hosts"]
        ],
    }


def _compact_device(device: Tree) -> list[Any]:
    return [
        "device",
        f"{device['type']} {device['vendor']} {device['model']}",
        f"{device['address'] or ''} {device['uuid']}".strip(),
        device["problems"],
        [
            [
                "deployable",
                deployable["name"],
                f"{deployable['resource_class'] or 'no resource class'} "
                f"{deployable['provider'] or ''}".strip(),
                deployable["problems"],
                [_compact_handle(handle) for handle in deployable["handles"]],
            ]
            for deployable in device["deployables"]
        ],
    ]


def _compact_handle(handle: Tree) -> list[Any]:
    request = handle["request"]
    detail = "in use" if handle["in_use"] else "free"
    if request is not None:
        detail = (
            f"{request['state']} server {request['instance'] or '-'} "
            f"project {request['project'] or '-'} request {request['uuid']}"
        )
    return [
        "used" if handle["in_use"] else "free",
        f"{handle['type']} {handle['address']}",
        detail,
        handle["problems"],
        [],
    ]
