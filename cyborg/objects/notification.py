"""What notifications say of a device or an accelerator request.

Programs of others read them: a field is only ever added, and that raises the
minor version.
"""

from typing import Any
from typing import Self

from oslo_versionedobjects import fields

from cyborg.objects import base


class Payload(base.CyborgObject):
    """Base of the payloads."""

    @classmethod
    def of(cls, row: Any, **values: Any) -> Self:
        """Return the payload for a row of which ``values`` have changed."""
        known = row._mapping
        return cls(
            **{name: values.get(name, known.get(name)) for name in cls.fields}
        )

    def to_message(self) -> dict[str, Any]:
        """Return what is sent."""
        self.obj_reset_changes()
        message: dict[str, Any] = self.obj_to_primitive()
        return message


@base.CyborgObjectRegistry.register
class ARQPayload(Payload):
    """An accelerator request.

    Where it was taken from an instance, ``instance_uuid``, ``hostname`` and
    ``device_rp_uuid`` say what it was bound to until then.
    """

    VERSION = "1.0"
    fields = {
        "uuid": fields.UUIDField(),
        "state": fields.StringField(),
        "project_id": fields.StringField(nullable=True),
        "instance_uuid": fields.StringField(nullable=True),
        "hostname": fields.StringField(nullable=True),
        "device_rp_uuid": fields.StringField(nullable=True),
        "device_profile_group_id": fields.IntegerField(),
        "resource_class": fields.StringField(nullable=True),
        # Why the bind failed.
        "reason": fields.StringField(nullable=True),
    }


@base.CyborgObjectRegistry.register
class DevicePayload(Payload):
    """A card."""

    VERSION = "1.0"
    fields = {
        "uuid": fields.UUIDField(),
        "type": fields.StringField(),
        "vendor": fields.StringField(),
        "model": fields.StringField(),
        "hostname": fields.StringField(),
        "driver": fields.StringField(nullable=True),
        "status": fields.StringField(),
        "status_reason": fields.StringField(nullable=True),
        "missing_since": fields.DateTimeField(nullable=True),
    }


@base.CyborgObjectRegistry.register
class DeviceEventPayload(Payload):
    """Something of a card's history."""

    VERSION = "1.0"
    fields = {
        "uuid": fields.UUIDField(),
        "device_uuid": fields.UUIDField(),
        "hostname": fields.StringField(nullable=True),
        "kind": fields.StringField(),
        "who": fields.StringField(),
        "why": fields.StringField(nullable=True),
        # A JSON object; what is in it depends on the kind.
        "detail": fields.StringField(),
        "at": fields.DateTimeField(),
    }
