"""Shows handles that were given twice, and leaves each with one request."""

from collections.abc import Sequence
import json
from typing import Any

from cyborg import manage
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import repair as repair_db
from cyborg.manage import output

State = states.ARQState

# What the operator does about the server of a request that loses its handle.
_TO_DO = {
    State.BOUND: (
        "Server {instance} may be running with the device, which is not its "
        "any more: stop it now. Then delete it, or shelve and unshelve it, "
        "which asks for another device. Do not start it before."
    ),
    State.BIND_STARTED: (
        "Its bind never ended, so server {instance} did not get the device: "
        "delete the server if it is there."
    ),
    State.BIND_FAILED: (
        "Its bind had failed, so server {instance} does not have the device: "
        "delete the server if it is there."
    ),
}
_NOTHING_TO_DO = "No server has the device through it; nothing is to be done."


def audit(context: RequestContext, use_json: bool) -> int:
    """Show each handle that more than one request has."""
    shared = repair_db.shared_handles(context)
    if use_json:
        output.as_json([_to_dict(handle) for handle in shared])
        return manage.FINDINGS if shared else manage.CLEAN
    for handle in shared:
        _show(handle)
        output.line(f"  {_undecided(handle)}")
    if not shared:
        output.line("No attach handle is given to more than one request.")
        return manage.CLEAN
    return manage.FINDINGS


def repair(
    context: RequestContext,
    keep: Sequence[str],
    use_json: bool,
    dry_run: bool = False,
) -> int:
    """Leave each handle with one request; show who loses, and what to do.

    :param keep: requests that keep theirs, by uuid
    :raises Invalid: that cannot be; nothing was changed
    """
    if dry_run:
        parted, left = _foresee(context, keep)
    else:
        parted, left = repair_db.part_handles(context, keep)
    if use_json:
        output.as_json(
            {
                "repaired": [_outcome(*pair) for pair in parted],
                "left": [
                    _to_dict(handle) | {"to_do": _undecided(handle)}
                    for handle in left
                ],
            }
        )
    else:
        for handle, kept in parted:
            _show_parted(handle, kept, dry_run)
        for handle in left:
            _show(handle)
            output.line(f"  Left as it is. {_undecided(handle)}")
        if not (parted or left):
            output.line("No attach handle is given to more than one request.")
    return manage.FINDINGS if left or (dry_run and parted) else manage.CLEAN


def _foresee(
    context: RequestContext, keep: Sequence[str]
) -> tuple[
    list[tuple[repair_db.SharedHandle, repair_db.Claim]],
    list[repair_db.SharedHandle],
]:
    shared = repair_db.shared_handles(context)
    repair_db.check_keep(shared, keep)
    parted, left = [], []
    for handle in shared:
        kept = handle.choose(keep)
        if kept is None:
            left.append(handle)
        else:
            parted.append((handle, kept))
    return parted, left


# -- words


def _device(handle: repair_db.SharedHandle) -> str:
    """Return a handle as its host knows it: ``PCI 0000:5e:00.1``."""
    try:
        info = json.loads(handle.attach_info)
        address = "{domain}:{bus}:{device}.{function}".format(**info)
    except (KeyError, TypeError, ValueError):
        address = handle.attach_info
    return f"{handle.attach_type} {address}"


def _claim(claim: repair_db.Claim) -> str:
    return (
        f"accelerator request {claim.uuid}: {claim.state}, "
        f"server {claim.instance_uuid or '-'}, host {claim.hostname or '-'}, "
        f"project {claim.project_id or '-'}"
    )


def _show(handle: repair_db.SharedHandle) -> None:
    output.line(f"Attach handle {handle.uuid} ({_device(handle)}) is given to")
    for claim in handle.claims:
        output.line(f"  {_claim(claim)}")


def _undecided(handle: repair_db.SharedHandle) -> str:
    kept = handle.choose(())
    if kept is not None:
        return (
            f"'cyborg-manage handle repair' leaves it with {kept.uuid}, the "
            "only one that is Bound."
        )
    options = handle.bound or handle.claims
    uuids = " or ".join(claim.uuid for claim in options)
    if not handle.bound:
        return (
            "None of them is Bound, so no server has the device: 'cyborg-"
            f"manage handle repair --keep' with any of {uuids}."
        )
    hosts = sorted({claim.hostname or "?" for claim in handle.bound})
    return (
        f"See on host {' and '.join(hosts)} which server has "
        f"{_device(handle)} ('virsh dumpxml <server>'), and run 'cyborg-"
        f"manage handle repair --keep' with its request: {uuids}."
    )


def _to_do(claim: repair_db.Claim) -> str:
    text = _TO_DO.get(State(claim.state), _NOTHING_TO_DO)
    if claim.instance_uuid is None:
        return _NOTHING_TO_DO
    return text.format(instance=claim.instance_uuid)


def _show_parted(
    handle: repair_db.SharedHandle, kept: repair_db.Claim, dry_run: bool
) -> None:
    would = "would be " if dry_run else ""
    output.line(f"Attach handle {handle.uuid} ({_device(handle)})")
    output.line(f"  {would}kept by {_claim(kept)}")
    for claim in handle.losers(kept):
        output.line(f"  {would}taken from {_claim(claim)}")
        if claim.state_after_loss != claim.state:
            verb = "would become" if dry_run else "is now"
            output.line(f"    It {verb} {claim.state_after_loss}.")
        output.line(f"    {_to_do(claim)}")


# -- JSON


def _to_dict(handle: repair_db.SharedHandle) -> dict[str, Any]:
    return {
        "handle": handle.uuid,
        "attach_type": handle.attach_type,
        "attach_info": handle.attach_info,
        "requests": [_claim_to_dict(claim) for claim in handle.claims],
    }


def _claim_to_dict(claim: repair_db.Claim) -> dict[str, Any]:
    return {
        "uuid": claim.uuid,
        "state": claim.state,
        "instance_uuid": claim.instance_uuid,
        "hostname": claim.hostname,
        "project_id": claim.project_id,
    }


def _outcome(
    handle: repair_db.SharedHandle, kept: repair_db.Claim
) -> dict[str, Any]:
    return {
        "handle": handle.uuid,
        "kept": _claim_to_dict(kept),
        "taken_from": [
            _claim_to_dict(claim)
            | {
                "state": claim.state_after_loss,
                "state_before": claim.state,
                "to_do": _to_do(claim),
            }
            for claim in handle.losers(kept)
        ],
    }
