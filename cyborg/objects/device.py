"""A card and its parts, as stored."""

from typing import Any

from oslo_versionedobjects import fields

from cyborg.common import constants
from cyborg.objects import base


def _values(enumeration: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in enumeration)


@base.CyborgObjectRegistry.register
class Device(base.CyborgObject):
    """One physical card in one host."""

    # 1.2: status; 1.3: type may be PMEM
    VERSION = "1.3"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "type": fields.EnumField(valid_values=_values(constants.DeviceType)),
        "vendor": fields.StringField(),
        "model": fields.StringField(),
        "std_board_info": fields.StringField(nullable=True),
        "vendor_board_info": fields.StringField(nullable=True),
        "hostname": fields.StringField(),
        "status": fields.EnumField(
            valid_values=_values(constants.DeviceStatus),
            default=constants.DeviceStatus.ENABLED.value,
        ),
    }


@base.CyborgObjectRegistry.register
class Deployable(base.CyborgObject):
    """The part of a device Placement counts."""

    VERSION = "1.1"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "parent_id": fields.IntegerField(nullable=True),
        "root_id": fields.IntegerField(nullable=True),
        "name": fields.StringField(),
        "num_accelerators": fields.IntegerField(),
        "device_id": fields.IntegerField(),
        "driver_name": fields.StringField(nullable=True),
        "rp_uuid": fields.UUIDField(nullable=True),
        "bitstream_id": fields.UUIDField(nullable=True),
    }


@base.CyborgObjectRegistry.register
class Attribute(base.CyborgObject):
    """A key and value on a deployable."""

    VERSION = "1.0"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "deployable_id": fields.IntegerField(),
        "key": fields.StringField(),
        "value": fields.StringField(),
    }


@base.CyborgObjectRegistry.register
class ControlpathID(base.CyborgObject):
    """Where the host manages a device."""

    # 1.2: cpid_type may be PMEM
    VERSION = "1.2"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "device_id": fields.IntegerField(),
        "cpid_type": fields.EnumField(
            valid_values=_values(constants.ControlPathIDType)
        ),
        "cpid_info": fields.StringField(),
    }


@base.CyborgObjectRegistry.register
class AttachHandle(base.CyborgObject):
    """What a guest is given."""

    # 1.1: attach_type may be PMEM
    VERSION = "1.1"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "deployable_id": fields.IntegerField(),
        "cpid_id": fields.IntegerField(),
        "attach_type": fields.EnumField(
            valid_values=_values(constants.AttachHandleType)
        ),
        "attach_info": fields.StringField(),
        "in_use": fields.BooleanField(default=False),
    }
