"""What has to be loaded into a deployable before it can serve a request."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import functions
from cyborg.common import groups
from cyborg.common import states
from cyborg.conductor.work import images
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import deployable as deployable_db
from cyborg.db import engine
from cyborg.db import job as job_db

LOG = logging.getLogger(__name__)

Image = dict[str, str]


def group_of(row: Any) -> dict[str, str]:
    """Return the profile's group that an ARQ row stands for."""
    groups = json.loads(row.profile_json)["groups"]
    return dict(groups[row.device_profile_group_id])


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a deployable runs, as far as anybody can tell.

    :ivar image: id of what our last programming loaded
    :ivar programmed: traits of the functions that it gave
    :ivar found: those that the card's driver has found since
    """

    driver_name: str | None
    image: str | None
    programmed: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()

    def has(self, wanted: Image, meant: Collection[str] = ()) -> bool:
        """Tell whether a wanted image, or its function, is loaded.

        :param meant: ids of the images that a name means
        """
        if "function_id" in wanted:
            trait = functions.trait(self.driver_name, wanted["function_id"])
            return self._runs(trait)
        if "function" in wanted:
            return self._runs(wanted["function"])
        ids = [wanted["id"]] if "id" in wanted else meant
        return self._is_current and self.image in ids

    def _runs(self, trait: str) -> bool:
        known = {*self.found, *(self.programmed if self._is_current else ())}
        return any(functions.is_same(trait, other) for other in known)

    @property
    def _is_current(self) -> bool:
        """Whether nobody has loaded the card behind our back.

        The driver knows. Only what is written as cards do can be missed in
        what it finds: an operator may have given the function another id.
        """
        if self.image is None:
            return False
        told = [t for t in self.programmed if functions.is_uuid(t)]
        return not (self.found and told) or any(
            functions.is_same(one, other)
            for one in told
            for other in self.found
        )


def loaded(
    context: RequestContext, deployables: Iterable[Any]
) -> dict[int, Loaded]:
    """Return what locked deployables run, by their ids."""
    rows = {row.id: row for row in deployables}
    traits: dict[tuple[int, bool], set[str]] = {}
    for found in deployable_db.function_traits(context, list(rows)):
        key = found.deployable_id, bool(found.is_programmed)
        traits.setdefault(key, set()).add(found.value)
    return {
        id_: Loaded(
            row.driver_name,
            row.bitstream_id,
            frozenset(traits.get((id_, True), ())),
            frozenset(traits.get((id_, False), ())),
        )
        for id_, row in rows.items()
    }


def look_up(
    context: RequestContext, owners: Mapping[str, str | None]
) -> dict[str, set[str]]:
    """Return the images that ARQs ask for by a name; ids by ARQ uuid.

    It is Glance that tells, so a transaction is told beforehand. While Glance
    is away nobody knows, and what is loaded counts as something else.

    :param owners: projects that ARQs are to belong to; None = they stay
    """
    known: dict[tuple[str, str | None], set[str]] = {}
    meant: dict[str, set[str]] = {}
    for row in arq_db.find_by_uuids(context, list(owners)):
        try:
            image = groups.image(group_of(row))
        except exception.Invalid:
            # The bind says so.
            continue
        if image is None or not image.keys() & {"name", "function_name"}:
            continue
        key = json.dumps(image), owners[row.uuid] or row.project_id
        if key not in known:
            try:
                known[key] = images.matching(image, key[1])
            except exception.GlanceConnectionFailed as error:
                LOG.warning("%s", error.faultstring)
                return meant
        meant[row.uuid] = known[key]
    return meant


def plan(
    context: RequestContext,
    pending: Sequence[tuple[Any, Any]],
    deployables: Mapping[str, Sequence[Any]],
    meant: Mapping[str, Collection[str]],
) -> dict[tuple[str, int], Image]:
    """Say what has to be loaded, and lock the deployables concerned.

    A deployable that is to be programmed is locked exclusively, any other
    FPGA against being programmed, until the transaction ends.

    :param pending: pairs of an ARQ row and its binding
    :param deployables: by provider uuid
    :param meant: what :func:`look_up` returned
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
    return _loads(context, asked, to_load, current, meant)


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
    meant: Mapping[str, Collection[str]],
) -> dict[tuple[str, int], Image]:
    running = loaded(context, [current[id_] for id_ in to_load])
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
            and not running[deployable_id].has(image, meant.get(arq.uuid, ()))
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
