"""What a driver found on a host: fields only, no database.

Every field is set when an object is made, so a driver may leave out what it
has nothing to say about.
"""

from typing import Any
from typing import ClassVar

from oslo_versionedobjects import fields

from cyborg.common import constants
from cyborg.objects import base


class DriverObject(base.CyborgObject):
    """Base of what drivers report; unset fields get their defaults."""

    def __init__(self, context: Any = None, **kwargs: Any) -> None:
        super().__init__(context, **kwargs)
        for name, default in self.DEFAULTS.items():
            if name not in kwargs:
                value = list(default) if isinstance(default, list) else default
                setattr(self, name, value)


@base.CyborgObjectRegistry.register
class DriverControlPathID(DriverObject):
    """Where the host manages a device.

    ``cpid_info`` is JSON text; it identifies the device on its host, so it
    has to be the same to the byte in every report.
    """

    VERSION = "1.0"
    fields = {
        "cpid_type": fields.StringField(),
        "cpid_info": fields.StringField(),
    }


@base.CyborgObjectRegistry.register
class DriverAttachHandle(DriverObject):
    """Something a guest can be given; ``attach_info`` is its identity.

    ``attach_info`` is JSON text of a flat object of strings.
    """

    VERSION = "1.0"
    DEFAULTS: ClassVar[dict[str, Any]] = {"in_use": False}
    fields = {
        "attach_type": fields.StringField(),
        "attach_info": fields.StringField(),
        "in_use": fields.BooleanField(default=False),
    }


@base.CyborgObjectRegistry.register
class DriverAttribute(DriverObject):
    """A key and value: ``rc`` (exactly one), ``trait0``, ``trait1`` ..."""

    VERSION = "1.0"
    fields = {
        "key": fields.StringField(),
        "value": fields.StringField(),
    }


@base.CyborgObjectRegistry.register
class DriverDeployable(DriverObject):
    """What Placement counts; ``name`` is unique in the cloud."""

    VERSION = "1.0"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "attribute_list": [],
        "attach_handle_list": [],
        "driver_name": None,
    }
    fields = {
        "name": fields.StringField(),
        "num_accelerators": fields.IntegerField(),
        "attribute_list": fields.ListOfObjectsField(
            "DriverAttribute", default=[], nullable=True
        ),
        "attach_handle_list": fields.ListOfObjectsField(
            "DriverAttachHandle", default=[], nullable=True
        ),
        "driver_name": fields.StringField(nullable=True),
    }


@base.CyborgObjectRegistry.register
class DriverDevice(DriverObject):
    """One card. ``stub`` means: it is there, leave its records as they are."""

    # 1.0: first; 1.1: type may be PMEM
    VERSION = "1.1"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "std_board_info": None,
        "vendor_board_info": None,
        "deployable_list": [],
        "stub": False,
    }
    fields = {
        "vendor": fields.StringField(),
        "model": fields.StringField(),
        "type": fields.EnumField(
            valid_values=tuple(str(t) for t in constants.DeviceType)
        ),
        "std_board_info": fields.StringField(nullable=True),
        "vendor_board_info": fields.StringField(nullable=True),
        "controlpath_id": fields.ObjectField("DriverControlPathID"),
        "deployable_list": fields.ListOfObjectsField(
            "DriverDeployable", default=[]
        ),
        "stub": fields.BooleanField(default=False),
    }

    def to_1_0(self) -> dict[str, Any] | None:
        """Return what a conductor of RPC 1.0 reads; None if it cannot."""
        if self.type == constants.DeviceType.PMEM:
            return None
        primitive: dict[str, Any] = self.obj_to_primitive()
        return primitive | {"cyborg_object.version": "1.0"}
