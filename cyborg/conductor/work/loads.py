"""What has to be loaded into a deployable before it can serve a request."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import functions
from cyborg.common import groups
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import deployable as deployable_db
from cyborg.db import engine
from cyborg.db import job as job_db

Image = dict[str, str]


def group_of(row: Any) -> dict[str, str]:
    """Return the profile's group that an ARQ row stands for."""
    groups = json.loads(row.profile_json)["groups"]
    return dict(groups[row.device_profile_group_id])


def is_loaded(deployable: Any, traits: set[str], image: Image) -> bool:
    """Tell whether our own last programming loaded this image.

    :param traits: traits of the deployable that programming gave it
    """
    if "id" in image:
        return bool(image["id"] == deployable.bitstream_id)
    if "function_id" in image and deployable.bitstream_id is not None:
        trait = functions.trait(deployable.driver_name, image["function_id"])
        return trait in traits
    # A name says nothing about what is loaded until it is looked up.
    return False


def plan(
    context: RequestContext,
    pending: Sequence[tuple[Any, Any]],
    deployables: Mapping[str, Sequence[Any]],
) -> dict[tuple[str, int], Image]:
    """Say what has to be loaded, and lock the deployables concerned.

    A deployable that is to be programmed is locked exclusively, any other
    FPGA against being programmed, until the transaction ends.

    :param pending: pairs of an ARQ row and its binding
    :param deployables: by provider uuid
    :returns: image by ARQ uuid and deployable id; absent = nothing to load
    :raises OtherImageInUse: an ARQ uses another image there
    :raises DeployableInUse: it is being programmed
    """
    concerned = {
        row.id: row
        for rows in deployables.values()
        for row in rows
        if row.device_type == constants.DeviceType.FPGA
    }
    if not concerned:
        return {}
    asked: dict[int, list[tuple[Any, Image | None]]] = {}
    for arq, binding in pending:
        image = groups.image(group_of(arq))
        for row in deployables[binding.device_rp_uuid]:
            if row.id in concerned:
                asked.setdefault(row.id, []).append((arq, image))
    to_load = {
        deployable_id
        for deployable_id, arqs in asked.items()
        if any(image for _arq, image in arqs)
    }
    # A lock of its own statement: what is loaded is read behind it.
    current = {
        row.id: row
        for row in deployable_db.lock_for_programming(
            context, sorted(to_load), sorted(asked.keys() - to_load)
        )
    }
    if len(current) < len(asked):
        # One was removed from the host meanwhile.
        raise engine.Collision()
    _refuse_running_jobs(context, asked, concerned)
    if not to_load:
        return {}
    return _loads(context, asked, to_load, current)


def _refuse_running_jobs(
    context: RequestContext,
    asked: Mapping[int, Sequence[tuple[Any, Image | None]]],
    deployables: Mapping[int, Any],
) -> None:
    for job in job_db.unfinished_for_deployables(context, list(asked)):
        loading = json.loads(job.payload).get("image")
        if loading is None:
            continue
        uuid = deployables[job.deployable_id].uuid
        if job.kind == constants.JobKind.PROGRAM:
            raise exception.DeployableInUse(uuid=uuid)
        if any(image != loading for _arq, image in asked[job.deployable_id]):
            raise exception.OtherImageInUse(uuid=uuid)


def _loads(
    context: RequestContext,
    asked: Mapping[int, Sequence[tuple[Any, Image | None]]],
    to_load: set[int],
    current: Mapping[int, Any],
) -> dict[tuple[str, int], Image]:
    traits = deployable_db.programmed_traits(context, to_load)
    users: dict[int, list[Any]] = {}
    for row in arq_db.holding_handles_of(context, to_load):
        users.setdefault(row.deployable_id, []).append(row)
    loads: dict[tuple[str, int], Image] = {}
    for deployable_id in to_load:
        row = current[deployable_id]
        missing = [
            (arq, image)
            for arq, image in asked[deployable_id]
            if image is not None
            and not is_loaded(row, traits.get(deployable_id, set()), image)
        ]
        if not missing:
            continue
        images = {json.dumps(image) for _arq, image in missing}
        shared = len(images) == 1 and len(missing) == len(asked[deployable_id])
        # Loading would pull the card from under whoever uses it.
        waiting = all(
            user.state == states.ARQState.BIND_STARTED
            and json.dumps(groups.image(group_of(user))) in images
            for user in users.get(deployable_id, [])
        )
        if not (shared and waiting):
            raise exception.OtherImageInUse(uuid=row.uuid)
        for arq, image in missing:
            loads[arq.uuid, deployable_id] = image
    return loads
