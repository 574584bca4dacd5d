"""Compares hosts with Placement, and repairs what differs there."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from cyborg import manage
from cyborg.common import exception
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import moving
from cyborg.conductor.placement import sync
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.manage import output


@dataclasses.dataclass
class Finding:
    """What is wrong with a host's providers.

    :ivar changes: what would make Placement right
    :ivar orphans: providers Cyborg made for what it no longer knows
    :ivar problems: what the database has to say otherwise first
    :ivar moving: devices that another provider will count; nothing is wrong
    """

    host: str
    changes: list[desired.Change] = dataclasses.field(default_factory=list)
    orphans: list[desired.Change] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    moving: list[str] = dataclasses.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.orphans or self.problems)

    def lines(self) -> list[str]:
        return (
            [str(change) for change in self.changes]
            + [f"{orphan} (orphan)" for orphan in self.orphans]
            + self.problems
            + self.moving
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [_to_dict(change) for change in self.changes],
            "orphans": [_to_dict(orphan) for orphan in self.orphans],
            "problems": self.problems,
            "moving": self.moving,
        }


def _to_dict(change: desired.Change) -> dict[str, Any]:
    return {
        "action": change.action,
        "provider": change.uuid,
        "name": change.name,
        "before": change.before,
        "after": change.after,
        "text": str(change),
    }


def look(context: RequestContext, hostname: str) -> Finding:
    """Compare a host with Placement."""
    moves = _moves(context, hostname)
    try:
        changes, problems = sync.audit(context, hostname)
    except exception.PlacementResourceProviderNotFound as error:
        return Finding(hostname, problems=[error.faultstring], moving=moves)
    return Finding(
        hostname,
        [change for change in changes if change.action != "delete"],
        [change for change in changes if change.action == "delete"],
        problems,
        moves,
    )


def _moves(context: RequestContext, hostname: str) -> list[str]:
    """Say how far a host is from the layout that it shall have."""
    rows = sync_db.load(context, hostname)
    if rows.host is None:
        return []
    return [
        f"{each.part.row.name}: moves from provider {each.part.row.rp_name} "
        + (f"when it is free: {each.why}" if each.why else "soon")
        for each in moving.waiting(rows)
    ]


def lay_out(
    context: RequestContext, hostname: str, layout: str, use_json: bool
) -> int:
    """Say which providers count a host's devices from now on.

    :raises HostNotFound: nobody has reported it
    """
    sync_db.set_layout(context, hostname, layout)
    moves = _moves(context, hostname)
    if use_json:
        output.as_json({"host": hostname, "layout": layout, "moving": moves})
        return manage.CLEAN
    output.line(f"{hostname}: {layout}")
    for text in moves:
        output.line(f"  {text}")
    return manage.CLEAN


def _hosts(context: RequestContext, named: Sequence[str]) -> Sequence[str]:
    return named or host_db.all_hostnames(context)


def audit(
    context: RequestContext, named: Sequence[str], use_json: bool
) -> int:
    """Show how the providers of hosts differ from the database."""
    findings = [look(context, host) for host in _hosts(context, named)]
    _show(findings, use_json)
    return manage.FINDINGS if any(findings) else manage.CLEAN


def heal(
    context: RequestContext,
    named: Sequence[str],
    use_json: bool,
    orphans: bool = False,
) -> int:
    """Repair the providers of hosts, and show what was wrong.

    What is wrong may be the database: hosts that something is wrong with, and
    those that are named, have to report everything again.

    :param orphans: delete those that nothing is allocated from, too
    """
    before, after = [], []
    for host in _hosts(context, named):
        found = look(context, host)
        before.append(found)
        if found or named:
            host_db.ask_for_report(context, host)
        if not found:
            continue
        if orphans:
            for orphan in found.orphans:
                sync.delete_orphan(context, orphan)
        if found.changes:
            errors = sync.sync_host(context, host, full=True)
        else:
            errors = {}
        left = look(context, host)
        left.problems = sorted({*left.problems, *errors.values()})
        after.append(left)
    if use_json:
        output.as_json({"found": _by_host(before), "left": _by_host(after)})
    else:
        _show(before, False)
        if any(before):
            output.line("Left after the repair:")
            _show(after, False)
    return manage.FINDINGS if any(after) else manage.CLEAN


def _by_host(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        found.host: found.to_dict()
        for found in findings
        if found or found.moving
    }


def _show(findings: Sequence[Finding], use_json: bool) -> None:
    if use_json:
        output.as_json(_by_host(findings))
        return
    for found in findings:
        if found or found.moving:
            output.line(f"{found.host}:")
            for text in found.lines():
                output.line(f"  {text}")
    if not any(findings):
        output.line("Placement agrees with the database.")
