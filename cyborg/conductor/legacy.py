"""Methods of RPC 1.0, for the APIs of earlier releases.

They go when RPC 2.0 comes. Each says what it asks for in the terms of 1.1.
"""

import json
from typing import Any

from oslo_utils import uuidutils

from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor import quota
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import engine
from cyborg.objects import arq as arq_objects

_ADD = "add"


def to_arq(row: Any) -> arq_objects.ARQ:
    """Return a row of :func:`cyborg.db.arq.find` as an object."""
    bound = row.state == states.ARQState.BOUND
    return arq_objects.ARQ(
        id=row.id,
        uuid=row.uuid,
        state=row.state,
        device_profile_name=row.device_profile_name,
        device_profile_group_id=row.device_profile_group_id,
        hostname=row.hostname,
        device_rp_uuid=row.device_rp_uuid,
        instance_uuid=row.instance_uuid,
        project_id=row.project_id,
        attach_handle_type=row.attach_handle_type if bound else "",
        attach_handle_uuid=row.attach_handle_uuid if bound else None,
        attach_handle_info=(
            json.loads(row.attach_handle_info) if bound else {}
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class Methods:
    """Mixed into the manager, whose methods of 1.1 these call."""

    def device_profile_create(
        self, context: RequestContext, obj_devprof: Any
    ) -> Any:
        values = {
            "uuid": obj_devprof.uuid,
            "name": obj_devprof.name,
            "description": obj_devprof.description,
            "groups": obj_devprof.groups,
        }
        (profile,) = self.device_profiles_create(  # type: ignore[attr-defined]
            context, [values]
        )
        return profile

    def device_profile_delete(
        self, context: RequestContext, obj_devprof: Any
    ) -> None:
        self.device_profiles_delete(  # type: ignore[attr-defined]
            context, [obj_devprof.uuid]
        )

    def arq_create(
        self, context: RequestContext, obj_extarq: Any, devprof_id: int
    ) -> Any:
        arq = obj_extarq.arq
        uuid = (
            arq.uuid
            if arq.obj_attr_is_set("uuid")
            else uuidutils.generate_uuid()
        )
        project_id = arq.project_id or context.project_id
        _insert(
            context,
            {
                "uuid": uuid,
                "project_id": project_id,
                "device_profile_id": devprof_id,
                "device_profile_group_id": arq.device_profile_group_id,
            },
            quota.limits_to_add(project_id, [], 1),
        )
        row = arq_db.get(context, uuid)
        notifications.arqs(context, notifications.Event.ARQ_CREATED, [row])
        return arq_objects.ExtARQ(
            arq=to_arq(row), substate="Initial", deployable_uuid=None
        )

    def arq_delete_by_uuid(self, context: RequestContext, arqs: str) -> None:
        uuids = [uuid.strip() for uuid in arqs.split(",") if uuid.strip()]
        self.arqs_delete(  # type: ignore[attr-defined]
            context, uuids=uuids, scope=_scope(context)
        )

    def arq_delete_by_instance_uuid(
        self, context: RequestContext, instance: str
    ) -> None:
        self.arqs_delete(  # type: ignore[attr-defined]
            context, instance=instance, scope=_scope(context)
        )

    def arq_apply_patch(
        self,
        context: RequestContext,
        patch_list: dict[str, list[dict[str, Any]]],
        valid_fields: dict[str, dict[str, Any]],
    ) -> None:
        if not patch_list or not all(patch_list.values()):
            raise exception.Invalid()
        binds = {
            uuid
            for uuid, operations in patch_list.items()
            if operations[0]["op"] == _ADD
        }
        if binds and binds != set(patch_list):
            raise exception.Invalid()
        scope = _scope(context)
        if not binds:
            self.arqs_unbind(  # type: ignore[attr-defined]
                context, list(patch_list), scope
            )
            return
        names = ("hostname", "device_rp_uuid", "instance_uuid")
        bindings = [
            {"uuid": uuid} | {n: valid_fields[uuid][n] for n in names}
            for uuid in patch_list
        ]
        self.arqs_bind(  # type: ignore[attr-defined]
            context, bindings, scope
        )


@engine.use_case
def _insert(
    context: RequestContext, row: dict[str, Any], limits: quota.Limits | None
) -> None:
    if not arq_db.find_by_uuids(context, [row["uuid"]]):
        arq_db.create(context, [row])
        # Which unit of its group it is, only a count of all can tell.
        quota.created(context, row["project_id"], [""], limits)


def _scope(context: RequestContext) -> str | None:
    """Return whose ARQs the caller may touch.

    An API of RPC 1.0 does not say whether a service token came along; it
    has checked that itself.
    """
    return None if context.is_admin else context.project_id
