"""A card and its parts, as stored."""

from typing import Any

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from cyborg.common import constants
from cyborg.objects import base
from cyborg.objects import fields as cyborg_fields


def _values(enumeration: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in enumeration)


@base.CyborgObjectRegistry.register
class Device(base.CyborgObject):
    """One physical card in one host."""

    # Versions up to 1.5 are those of OpenStack Cyborg. 1.2: status; 1.3:
    # type may be MDEV, PCI; 1.4: NVME; 1.5: device_state; 1.6: type may be
    # PMEM.
    VERSION = "1.6"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "type": cyborg_fields.DeviceTypeField(),
        "vendor": fields.StringField(),
        "model": fields.StringField(),
        "std_board_info": fields.StringField(nullable=True),
        "vendor_board_info": fields.StringField(nullable=True),
        "hostname": fields.StringField(),
        "status": fields.EnumField(
            valid_values=_values(constants.DeviceStatus),
            default=constants.DeviceStatus.ENABLED.value,
        ),
        "device_state": cyborg_fields.DeviceStateField(nullable=True),
    }

    def obj_make_compatible(
        self, primitive: dict[str, Any], target_version: str
    ) -> None:
        """Write it for a peer of an earlier version of OpenStack Cyborg.

        :raises ObjectActionError: it has no word for the type
        """
        super().obj_make_compatible(primitive, target_version)
        cyborg_fields.refuse_newer(
            self.obj_name(), target_version, "type", self.type, _SINCE
        )
        target = versionutils.convert_version_to_tuple(target_version)
        for name, since in (("device_state", (1, 5)), ("status", (1, 2))):
            if target < since:
                primitive.pop(name, None)


# Device: since which version a type is known.
_SINCE = {
    "AICHIP": "1.1",
    "MDEV": "1.3",
    "PCI": "1.3",
    "NVME": "1.4",
    "PMEM": "1.6",
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
