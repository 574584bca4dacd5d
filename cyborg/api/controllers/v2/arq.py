"""``/v2/accelerator_requests``."""

import json
from typing import Any

from cyborg.api import groups
from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import arq as schemas
from cyborg.api.types import arq as types
from cyborg.api.types import base
from cyborg.common import exception
from cyborg.common import states
from cyborg.common.i18n import _
from cyborg.db import arq as arq_db
from cyborg.db import device_profile as profile_db
from cyborg.db import paging
from cyborg.policies import arq as policies

_PROJECT = "/project_id"
_REQUIRED = ("/hostname", "/device_rp_uuid", "/instance_uuid")
_UNRESOLVED = tuple(
    state for state in states.ARQState if state not in states.RESOLVED
)


def _read_scope(request: Request) -> str | None:
    """Return the project whose ARQs the caller may see; None = all."""
    if request.permits(policies.ALL_PROJECTS):
        return None
    return request.project_id


def _write_scope(request: Request) -> str | None:
    """Return the project whose ARQs the caller may touch; None = all."""
    context = request.context
    if context.is_admin or context.is_service_request:
        return None
    return request.project_id


def _uuids(value: str | None, name: str) -> list[str] | None:
    """Return the uuids in a filter.

    :raises Invalid: one of them is none
    """
    items = lists.split(value, name)
    if items is None:
        return None
    uuids = []
    for item in items:
        uuid = text.canonical_uuid(item)
        if uuid is None:
            raise exception.Invalid(
                _("query.%(name)s: %(item)s is not a UUID.")
                % {"name": name, "item": item}
            )
        uuids.append(uuid)
    if not uuids:
        raise exception.Invalid(_("query.%s: names nothing.") % name)
    return uuids


class ARQsController:
    @routing.operation(
        "GET",
        "/v2/accelerator_requests",
        rule=policies.GET_ALL,
        query=schemas.INDEX,
        answer=types.LISTED,
        refuses=(423,),
    )
    def index(self, request: Request) -> bytes:
        """List accelerator requests."""
        context = request.context
        query = lists.merge_filters(request.query)
        instances = _uuids(query.get("instance"), "instance")
        # Nova asks for a server, whoever owns that.
        for_nova = instances is not None and context.is_service_request
        scope = None if for_nova else _read_scope(request)
        wanted = None if not query.get("state") else [query["state"]]
        if query.get("bind_state"):
            if instances is not None:
                self._refuse_unresolved(request, instances, scope)
            elif wanted is None:
                wanted = list(states.RESOLVED)
            else:
                wanted = [s for s in wanted if s in states.RESOLVED]
        project_id = query.get("project_id") or None
        if project_id and scope is not None and project_id != scope:
            raise exception.Forbidden(
                _("query.project_id: only administrators see other projects.")
            )
        uuids = _uuids(query.get("arqs"), "arqs")
        return lists.respond(
            request,
            "arqs",
            query,
            schemas.SORT_KEYS,
            lambda page: arq_db.find(
                context,
                page,
                scope=scope,
                uuids=uuids,
                instances=instances,
                states=wanted,
                device_profile_name=query.get("device_profile_name") or None,
                hostname=query.get("hostname") or None,
                project_id=project_id,
            ),
            lambda rows: base.show_all(
                types.AcceleratorRequest, request, rows
            ),
        )

    def _refuse_unresolved(
        self, request: Request, instances: list[str], scope: str | None
    ) -> None:
        pending = arq_db.find(
            request.context,
            paging.Page(limit=20),
            scope=scope,
            instances=instances,
            states=_UNRESOLVED,
        )
        if pending:
            raise exception.Unresolved(
                instance=", ".join(instances),
                arqs=", ".join(row.uuid for row in pending),
            )

    @routing.operation(
        "GET",
        "/v2/accelerator_requests/{uuid}",
        rule=policies.GET_ONE,
        answer=types.SHOWN,
    )
    def show(self, request: Request, uuid: str) -> dict[str, Any]:
        """Show an accelerator request."""
        canonical = text.canonical_uuid(uuid)
        if canonical is None:
            raise exception.InvalidUUID(uuid=uuid)
        row = arq_db.get(request.context, canonical, _read_scope(request))
        if row is None:
            raise exception.ARQNotFound(uuids=uuid)
        return base.show(types.AcceleratorRequest, request, row)

    @routing.operation(
        "POST",
        "/v2/accelerator_requests/{uuid}/fault",
        rule=policies.REPORT_FAULT,
        since=versions.LIFE,
        status=204,
        body=schemas.FAULT,
        refuses=(404, 409),
    )
    def fault(self, request: Request, uuid: str, body: dict[str, Any]) -> None:
        """Say that the device of an accelerator request is faulty."""
        canonical = text.canonical_uuid(uuid)
        if canonical is None:
            raise exception.ARQNotFound(uuids=uuid)
        request.conductor.arq_report_fault(
            request.context, canonical, body["reason"], _write_scope(request)
        )

    @routing.operation(
        "POST",
        "/v2/accelerator_requests",
        rule=policies.CREATE,
        status=201,
        body=schemas.CREATE,
        answer=types.CREATED,
        stores=False,
        refuses=(404,),
    )
    def create(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create the accelerator requests of a device profile."""
        name = text.to_find(body["device_profile_name"])
        found = profile_db.get_named(request.context, name)
        if found is None:
            raise exception.DeviceProfileNotFound(name=name)
        profile = json.loads(found.profile_json)
        # Releases that checked less may have stored what is checked here.
        groups.check_size(profile["groups"], f"device profile {name}")
        arqs = request.conductor.arqs_create(
            request.context, found.uuid, request.project_id
        )
        return {"arqs": base.show_all(types.AcceleratorRequest, request, arqs)}

    # -- bind and unbind

    @routing.operation(
        "PATCH",
        "/v2/accelerator_requests",
        rule=policies.UPDATE,
        status=202,
        body=schemas.UPDATE,
        refuses=(404, 409),
    )
    def update(self, request: Request, body: dict[str, Any]) -> None:
        """Bind or unbind accelerator requests."""
        self._update(request, body)

    def _update(self, request: Request, body: dict[str, Any]) -> None:
        operations = self._by_uuid(body)
        added = {
            operation["op"] == "add"
            for changes in operations.values()
            for operation in changes
        }
        if len(added) > 1:
            raise exception.Invalid(
                _("body: either all operations are add, or all are remove.")
            )
        bindings = None
        if added == {True}:
            bindings = [
                self._binding(request, uuid, changes)
                for uuid, changes in operations.items()
            ]
        if not request.context.is_service_request:
            raise exception.ServiceTokenRequired(
                operation=_("Binding or unbinding accelerator requests")
            )
        scope = _write_scope(request)
        if bindings is None:
            request.conductor.arqs_unbind(
                request.context, list(operations), scope
            )
        else:
            request.conductor.arqs_bind(request.context, bindings, scope)

    @routing.operation(
        "PATCH",
        "/v2/accelerator_requests/{uuid}",
        rule=policies.UPDATE,
        status=202,
        body=schemas.UPDATE,
        refuses=(409,),
    )
    def update_one(
        self, request: Request, uuid: str, body: dict[str, Any]
    ) -> None:
        """Bind or unbind one accelerator request."""
        canonical = text.canonical_uuid(uuid)
        for key in body:
            if canonical is None or text.canonical_uuid(key) != canonical:
                raise exception.Invalid(
                    _("body.%(key)s: the path names %(uuid)s.")
                    % {"key": key, "uuid": uuid}
                )
        self._update(request, body)

    def _by_uuid(self, body: dict[str, Any]) -> dict[str, list[Any]]:
        operations: dict[str, list[Any]] = {}
        for key, changes in body.items():
            uuid = text.as_uuid(key)
            if uuid in operations:
                raise exception.Invalid(_("body: %s is given twice.") % uuid)
            operations[uuid] = changes
        return operations

    def _binding(
        self, request: Request, uuid: str, operations: list[dict[str, Any]]
    ) -> dict[str, Any]:
        values = {
            operation["path"]: operation["value"] for operation in operations
        }
        if len(values) < len(operations):
            raise exception.Invalid(
                _("body.%s: a path is given twice.") % uuid
            )
        for path in _REQUIRED:
            if path not in values:
                raise exception.Invalid(
                    _("body.%(uuid)s: %(path)s is missing.")
                    % {"uuid": uuid, "path": path}
                )
        binding = {
            "uuid": uuid,
            "hostname": values["/hostname"],
            "device_rp_uuid": text.as_uuid(values["/device_rp_uuid"]),
            "instance_uuid": text.as_uuid(values["/instance_uuid"]),
        }
        if _PROJECT in values:
            if request.version < versions.PROJECT_ID:
                raise versions.TooOld(
                    what=f"body.{uuid}: {_PROJECT}",
                    minimum=versions.PROJECT_ID,
                )
            if not request.context.is_admin:
                raise exception.Forbidden(
                    _("body.%(uuid)s: only administrators may add %(path)s.")
                    % {"uuid": uuid, "path": _PROJECT}
                )
            binding["project_id"] = values[_PROJECT]
        return binding

    # -- delete

    @routing.operation(
        "DELETE",
        "/v2/accelerator_requests",
        rule=policies.DELETE,
        status=204,
        query=schemas.DELETE,
        refuses=(404,),
    )
    def delete_many(self, request: Request) -> None:
        """Delete accelerator requests, by uuid or of an instance."""
        instance = request.argument("instance")
        uuids = lists.split(request.argument("arqs"), "arqs")
        if (instance is None) == (not uuids):
            raise exception.Invalid(
                _("query: exactly one of arqs and instance is needed.")
            )
        if uuids:
            self._delete(request, uuids)
            return
        if not request.context.is_service_request:
            raise exception.ServiceTokenRequired(
                operation=_("Deleting the accelerator requests of an instance")
            )
        request.conductor.arqs_delete(
            request.context, instance=text.canonical_uuid(instance)
        )

    @routing.operation(
        "DELETE",
        "/v2/accelerator_requests/{uuid}",
        rule=policies.DELETE,
        status=204,
    )
    def delete(self, request: Request, uuid: str) -> None:
        """Delete an accelerator request."""
        self._delete(request, [uuid])

    def _delete(self, request: Request, items: list[str]) -> None:
        """Delete those that exist, then name those that do not."""
        uuids = {item: text.canonical_uuid(item) for item in items}
        missing = [item for item, uuid in uuids.items() if uuid is None]
        wanted = list(dict.fromkeys(u for u in uuids.values() if u))
        if wanted:
            try:
                request.conductor.arqs_delete(
                    request.context, uuids=wanted, scope=_write_scope(request)
                )
            except exception.ARQNotFound as error:
                missing.append(error.kwargs["uuids"])
        if missing:
            raise exception.ARQNotFound(uuids=", ".join(missing))
