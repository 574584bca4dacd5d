"""``/v2/deployables``."""

from collections.abc import Sequence
from typing import Any

from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import deployable as schemas
from cyborg.api.types import base
from cyborg.api.types import deployable as types
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import attribute as attribute_db
from cyborg.db import deployable as deployable_db
from cyborg.db import job as job_db
from cyborg.policies import deployable as policies

_FILTERS = (
    "name",
    "device_uuid",
    "rp_uuid",
    "driver_name",
    "bitstream_id",
    "type",
    "parent_uuid",
    "root_uuid",
)
_UUIDS = ("device_uuid", "rp_uuid", "parent_uuid", "root_uuid")


def _show(request: Request, rows: Sequence[Any]) -> list[dict[str, Any]]:
    ids = [row.id for row in rows]
    jobs = {}
    if request.version >= versions.RESOURCES:
        # Before the attributes, so that those of a job that is done show.
        jobs = job_db.last_of_deployables(request.context, ids)
    attributes: dict[int, list[Any]] = {}
    for attribute in attribute_db.find_of(request.context, ids):
        attributes.setdefault(attribute.deployable_id, []).append(attribute)
    return base.show_all(
        types.Deployable, request, rows, types.Related(attributes, jobs)
    )


def _get(request: Request, uuid: str) -> dict[str, Any]:
    row = deployable_db.get(request.context, _uuid(uuid))
    if row is None:
        raise exception.DeployableNotFound(uuid=uuid)
    return _show(request, [row])[0]


def _uuid(uuid: str) -> str:
    canonical = text.canonical_uuid(uuid)
    if canonical is None:
        raise exception.InvalidUUID(uuid=uuid)
    return canonical


def _filters(request: Request, query: dict[str, str]) -> dict[str, str | None]:
    filters: dict[str, str | None] = {
        name: query[name] for name in _FILTERS if query.get(name)
    }
    for name in _UUIDS:
        if name in filters:
            filters[name] = text.canonical_uuid(filters[name]) or filters[name]
    # As some clients write what they have no value for.
    nothing = {"none"}
    if request.version >= versions.LIFE:
        nothing |= {"None", "null"}
    if filters.get("bitstream_id") in nothing:
        filters["bitstream_id"] = None
    return filters


class DeployablesController:
    @routing.operation(
        "GET",
        "/v2/deployables",
        rule=policies.GET_ALL,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> bytes:
        """List deployables."""
        given = request.query
        attributes = []
        for pair in given.pop("attribute", []):
            key, _colon, value = pair.partition(":")
            attributes.append((key, value))
        query = lists.merge_filters(given)
        filters = _filters(request, query)
        return lists.respond(
            request,
            "deployables",
            query,
            schemas.SORT_KEYS,
            lambda page: deployable_db.find(
                request.context, page, attributes=attributes, **filters
            ),
            lambda rows: _show(request, rows),
        )

    @routing.operation(
        "GET",
        "/v2/deployables/{uuid}",
        rule=policies.GET_ONE,
        answer=types.SHOWN,
    )
    def show(self, request: Request, uuid: str) -> dict[str, Any]:
        """Show a deployable."""
        return _get(request, uuid)

    @routing.operation(
        "PATCH",
        "/v2/deployables/{uuid}/program",
        rule=policies.PROGRAM,
        body=schemas.PROGRAM,
        answer=types.SHOWN,
        refuses=(409, 500),
    )
    def program(
        self, request: Request, uuid: str, body: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Load a bitstream and wait for it."""
        return self._program(request, uuid, body)

    @routing.operation(
        "PATCH",
        "/v2/deployables/{uuid}/program/{same_uuid}",
        rule=policies.PROGRAM,
        body=schemas.PROGRAM,
        answer=types.SHOWN,
        refuses=(409, 500),
    )
    def program_again(
        self,
        request: Request,
        uuid: str,
        same_uuid: str,
        body: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Load a bitstream: the path that openstacksdk makes."""
        if _uuid(uuid) != _uuid(same_uuid):
            raise exception.Invalid(
                _("The path names two deployables: %(one)s and %(other)s.")
                % {"one": uuid, "other": same_uuid}
            )
        return self._program(request, uuid, body)

    def _program(
        self, request: Request, uuid: str, body: list[dict[str, Any]]
    ) -> dict[str, Any]:
        request.conductor.deployable_program(
            request.context,
            _uuid(uuid),
            text.as_uuid(body[0]["value"][0]["image_uuid"]),
            wait=True,
        )
        return _get(request, uuid)

    @routing.operation(
        "PATCH",
        "/v2/deployables/{uuid}",
        rule=policies.UPDATE,
        since=versions.RESOURCES,
        status=202,
        body=schemas.UPDATE,
        refuses=(409,),
    )
    def update(
        self, request: Request, uuid: str, body: list[dict[str, Any]]
    ) -> None:
        """Load a bitstream in the background."""
        request.conductor.deployable_program(
            request.context,
            _uuid(uuid),
            text.as_uuid(body[0]["value"]),
            wait=False,
        )
