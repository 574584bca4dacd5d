"""``/v2/attributes`` and ``/v2/deployables/{uuid}/attributes``."""

from typing import Any

from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import attribute as schemas
from cyborg.api.types import attribute as types
from cyborg.api.types import base
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import attribute as attribute_db
from cyborg.db import deployable as deployable_db
from cyborg.policies import attribute as policies

# What the column of a deployable's number holds.
_LARGEST_ID = 2**31 - 1


def _number(value: str | int) -> int | None:
    """Return the number of a deployable, None if it is a uuid."""
    # A uuid may be all digits, but no number is that long.
    if isinstance(value, str) and text.canonical_uuid(value) is not None:
        return None
    # No number of so many digits is one of a deployable.
    return int(value) if len(str(value)) < 20 else -1


def _deployable(request: Request, value: str | int) -> Any:
    """Return a deployable by uuid or by its number."""
    number = _number(value)
    row = None
    if number is None:
        row = deployable_db.get(request.context, text.as_uuid(str(value)))
    elif 0 < number <= _LARGEST_ID:
        row = deployable_db.get_by_id(request.context, number)
    if row is None:
        raise exception.DeployableNotFound(uuid=value)
    return row


def _respond(
    request: Request, query: dict[str, str], filters: dict[str, Any]
) -> bytes:
    return lists.respond(
        request,
        "attributes",
        query,
        schemas.SORT_KEYS,
        lambda page: attribute_db.find(request.context, page, **filters),
        lambda rows: base.show_all(types.Attribute, request, rows),
    )


class AttributesController:
    @routing.operation(
        "GET",
        "/v2/attributes",
        rule=policies.GET_ALL,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> bytes:
        """List attributes."""
        query = lists.merge_filters(request.query)
        filters: dict[str, Any] = {}
        if query.get("key"):
            filters["key"] = query["key"]
        if "deployable_id" in query:
            number = _number(query["deployable_id"])
            if number is None:
                filters["deployable_uuid"] = text.canonical_uuid(
                    query["deployable_id"]
                )
            else:
                # 0 is the number of none.
                filters["deployable_id"] = (
                    number if 0 < number <= _LARGEST_ID else 0
                )
        return _respond(request, query, filters)

    @routing.operation(
        "GET",
        "/v2/attributes/{uuid}",
        rule=policies.GET_ONE,
        answer=types.SHOWN,
    )
    def show(self, request: Request, uuid: str) -> dict[str, Any]:
        """Show an attribute."""
        canonical = text.canonical_uuid(uuid)
        if canonical is None:
            raise exception.InvalidUUID(uuid=uuid)
        row = attribute_db.get(request.context, canonical)
        if row is None:
            raise exception.AttributeNotFound(uuid=uuid)
        return base.show(types.Attribute, request, row)

    @routing.operation(
        "POST",
        "/v2/attributes",
        rule=policies.CREATE,
        status=201,
        body=schemas.CREATE,
        answer=types.SHOWN,
        refuses=(404, 409),
    )
    def create(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Add an attribute to a deployable."""
        given = body.get("attribute", body)
        deployable = _deployable(request, given["deployable_id"])
        created = request.conductor.attributes_create(
            request.context,
            deployable.uuid,
            [
                {
                    "uuid": text.canonical_uuid(given.get("uuid")),
                    "key": given["key"],
                    "value": given["value"],
                }
            ],
        )
        return base.show(types.Attribute, request, created[0], deployable.uuid)

    @routing.operation(
        "DELETE", "/v2/attributes/{uuid}", rule=policies.DELETE, status=204
    )
    def delete(self, request: Request, uuid: str) -> None:
        """Delete an attribute."""
        canonical = text.canonical_uuid(uuid)
        if canonical is None:
            raise exception.AttributeNotFound(uuid=uuid)
        request.conductor.attributes_delete(request.context, uuids=[canonical])

    @routing.operation(
        "DELETE", "/v2/attributes", rule=policies.DELETE, status=400
    )
    def delete_none(self, request: Request) -> None:
        """Refuse to delete what is not named."""
        raise exception.Invalid(_("The path has to name an attribute."))


def _of_deployable(method: str, path: str = "", **described: Any) -> Any:
    """Make an operation on the attributes of one deployable.

    The specification of the feature has the path in the singular.
    """
    return routing.operation(
        method,
        "/v2/deployables/{uuid}/attributes" + path,
        "/v2/deployable/{uuid}/attribute" + path,
        since=versions.RESOURCES,
        **described,
    )


class DeployableAttributesController:
    """The attributes of one deployable, named by uuid or by key."""

    @_of_deployable(
        "GET",
        rule=policies.GET_ALL,
        query=schemas.INDEX_OF_DEPLOYABLE,
        answer=types.LISTED_OF_DEPLOYABLE,
    )
    def index(self, request: Request, uuid: str) -> bytes:
        """List the attributes of a deployable."""
        query = lists.merge_filters(request.query)
        filters = {"deployable_uuid": self._deployable(request, uuid).uuid}
        if query.get("key"):
            filters["key"] = query["key"]
        return _respond(request, query, filters)

    @_of_deployable(
        "GET",
        "/{uuid_or_key}",
        rule=policies.GET_ONE,
        answer=types.SHOWN_OF_DEPLOYABLE,
        refuses=(409,),
    )
    def show(self, request: Request, uuid: str, name: str) -> dict[str, Any]:
        """Show an attribute of a deployable."""
        row = self._find(request, uuid, name)
        return {"attribute": base.show(types.Attribute, request, row)}

    @_of_deployable(
        "POST",
        rule=policies.CREATE,
        status=201,
        body=schemas.CREATE_OF_DEPLOYABLE,
        answer=types.CREATED_OF_DEPLOYABLE,
        refuses=(409,),
    )
    def create(
        self, request: Request, uuid: str, body: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Add attributes to a deployable."""
        deployable = self._deployable(request, uuid)
        created = request.conductor.attributes_create(
            request.context,
            deployable.uuid,
            [
                {
                    "uuid": text.canonical_uuid(given.get("uuid")),
                    "key": given["key"],
                    "value": given["value"],
                }
                for given in body
            ],
            unique_keys=True,
        )
        return {
            "attributes": base.show_all(
                types.Attribute, request, created, deployable.uuid
            )
        }

    @_of_deployable(
        "PUT",
        "/{uuid_or_key}",
        rule=policies.UPDATE,
        status=204,
        body=schemas.UPDATE,
        refuses=(409,),
    )
    def update(
        self, request: Request, uuid: str, name: str, body: dict[str, Any]
    ) -> None:
        """Give an attribute another value."""
        row = self._find(request, uuid, name)
        request.conductor.attribute_update(
            request.context, row.uuid, body["value"]
        )

    @_of_deployable(
        "DELETE",
        "/{uuid_or_key}",
        rule=policies.DELETE,
        status=204,
        refuses=(409,),
    )
    def delete(self, request: Request, uuid: str, name: str) -> None:
        """Delete an attribute of a deployable."""
        row = self._find(request, uuid, name)
        request.conductor.attributes_delete(request.context, uuids=[row.uuid])

    @_of_deployable("DELETE", rule=policies.DELETE_ALL, status=204)
    def delete_all(self, request: Request, uuid: str) -> None:
        """Delete all attributes of a deployable."""
        request.conductor.attributes_delete(
            request.context,
            deployable_uuid=self._deployable(request, uuid).uuid,
        )

    def _deployable(self, request: Request, uuid: str) -> Any:
        if text.canonical_uuid(uuid) is None:
            raise exception.InvalidUUID(uuid=uuid)
        return _deployable(request, uuid)

    def _find(self, request: Request, uuid: str, name: str) -> Any:
        """Return the attribute with this uuid, or the one with this key."""
        deployable = self._deployable(request, uuid)
        canonical = text.canonical_uuid(name)
        if canonical is not None:
            row = attribute_db.get(request.context, canonical)
            if row is not None and row.deployable_id == deployable.id:
                return row
        rows = attribute_db.find(
            request.context, deployable_id=deployable.id, key=name
        )
        if not rows:
            raise exception.AttributeNotFound(uuid=name)
        if len(rows) > 1:
            raise exception.Conflict(
                _(
                    "Deployable %(uuid)s has %(count)d attributes %(key)s; "
                    "name one by its uuid."
                )
                % {"uuid": uuid, "count": len(rows), "key": name}
            )
        return rows[0]
