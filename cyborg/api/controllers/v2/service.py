"""``/v2/services``."""

from typing import Any

from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import service as schemas
from cyborg.api.types import base
from cyborg.api.types import service as types
from cyborg.common import exception
from cyborg.db import service as service_db
from cyborg.policies import service as policies


class ServicesController:
    @routing.operation(
        "GET",
        "/v2/services",
        rule=policies.GET_ALL,
        since=versions.RESOURCES,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> bytes:
        """List agents and conductors."""
        query = lists.merge_filters(request.query)
        filters = {
            name: query[name] for name in ("binary", "host") if query.get(name)
        }
        return lists.respond(
            request,
            "services",
            query,
            schemas.SORT_KEYS,
            lambda page: service_db.find(request.context, page, **filters),
            lambda rows: base.show_all(types.Service, request, rows),
        )

    @routing.operation(
        "PUT",
        "/v2/services/{id}",
        rule=policies.UPDATE,
        since=versions.RESOURCES,
        body=schemas.UPDATE,
        answer=types.SHOWN,
        refuses=(409,),
    )
    def update(
        self, request: Request, id_: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Force an agent's host down, or lift that."""
        uuid = text.canonical_uuid(id_)
        if uuid is None:
            raise exception.ServiceNotFound(uuid=id_)
        request.conductor.service_update(
            request.context, uuid, body["forced_down"]
        )
        row = service_db.get(request.context, uuid)
        if row is None:
            # Removed just now, by cyborg-manage.
            raise exception.ServiceNotFound(uuid=id_)
        return base.show(types.Service, request, row)

    @routing.operation(
        "POST",
        "/v2/services/{id}/discover",
        rule=policies.DISCOVER,
        since=versions.LIFE,
        status=202,
        refuses=(409,),
    )
    def discover(self, request: Request, id_: str) -> None:
        """Have an agent look at its host's hardware now."""
        uuid = text.canonical_uuid(id_)
        if uuid is None:
            raise exception.ServiceNotFound(uuid=id_)
        request.conductor.service_discover(request.context, uuid)
