"""What a driver found on a host: fields only, no database.

Every field is set when an object is made, so a driver may leave out what it
has nothing to say about.
"""

from typing import Any
from typing import ClassVar

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from cyborg.common import constants
from cyborg.objects import base
from cyborg.objects import fields as cyborg_fields

# Versions of the parts of a device that conductors read which do not know what
# is withheld.
_BEFORE_WITHHELD = {
    "DriverAttachHandle": "1.0",
    "DriverAttribute": "1.0",
    "DriverDeployable": "1.0",
}


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
    """What Placement counts; ``name`` is unique in the cloud.

    ``withheld`` says why it must not be given to anybody, as ``{"rule",
    "text"}``; nothing if it is offered.
    """

    # 1.0: first; 1.1: withheld
    VERSION = "1.1"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "attribute_list": [],
        "attach_handle_list": [],
        "driver_name": None,
        "withheld": [],
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
        "withheld": fields.ListOfDictOfNullableStringsField(default=[]),
    }

    def obj_to_primitive(
        self, target_version: str | None = None, version_manifest: Any = None
    ) -> dict[str, Any]:
        """Return what peers read, in the oldest form that says all of it."""
        if target_version is None and not self.withheld:
            target_version, version_manifest = "1.0", _BEFORE_WITHHELD
        primitive: dict[str, Any] = super().obj_to_primitive(
            target_version, version_manifest
        )
        return primitive

    def obj_make_compatible(
        self, primitive: dict[str, Any], target_version: str
    ) -> None:
        """Leave nothing to schedule of what an older peer would offer."""
        super().obj_make_compatible(primitive, target_version)
        if target_version == "1.0" and primitive.pop("withheld", None):
            primitive["num_accelerators"] = 0


@base.CyborgObjectRegistry.register
class DriverDevice(DriverObject):
    """One card. ``stub`` means: it is there, leave its records as they are."""

    # Versions up to 1.4 are those of OpenStack Cyborg. 1.1: type may be
    # AICHIP; 1.2: MDEV, PCI; 1.3: NVME; 1.4: device_state; 1.5: type may be
    # PMEM. Before it knew of them, this project had a 1.1 that is 1.0 with
    # PMEM.
    VERSION = "1.5"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "std_board_info": None,
        "vendor_board_info": None,
        "deployable_list": [],
        "stub": False,
    }
    fields = {
        "vendor": fields.StringField(),
        "model": fields.StringField(),
        "type": cyborg_fields.DeviceTypeField(),
        "std_board_info": fields.StringField(nullable=True),
        "vendor_board_info": fields.StringField(nullable=True),
        "controlpath_id": fields.ObjectField("DriverControlPathID"),
        "deployable_list": fields.ListOfObjectsField(
            "DriverDeployable", default=[]
        ),
        "stub": fields.BooleanField(default=False),
        # What a driver that cleans says of a new card; None = nothing.
        "device_state": cyborg_fields.DeviceStateField(nullable=True),
    }
    obj_relationships = {
        "controlpath_id": [("1.0", "1.0")],
        "deployable_list": [("1.0", "1.0")],
    }

    def obj_to_primitive(
        self, target_version: str | None = None, version_manifest: Any = None
    ) -> dict[str, Any]:
        """Return what peers read, in the oldest form that says all of it.

        So conductors of this project's first versions read it as well.
        """
        primitive: dict[str, Any] = super().obj_to_primitive(
            target_version, version_manifest
        )
        if (
            target_version is None
            and self.device_state is None
            and self._has_type_of(_BEFORE_17)
        ):
            return _without_state(primitive)
        return primitive

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
        if target < (1, 4):
            primitive.pop("device_state", None)

    def to_1_0(self) -> dict[str, Any] | None:
        """Return what a conductor of RPC 1.0 reads; None if it cannot.

        It would offer whatever it gets, and cannot be told to count nothing:
        what is withheld is left out.
        """
        offered = [each for each in self.deployable_list if not each.withheld]
        if not self._has_type_of(_IN_1_0) or (
            self.deployable_list and not offered
        ):
            return None
        device = self.obj_clone()
        device.deployable_list = offered
        return _without_state(device.to_1_2()) | {
            "cyborg_object.version": "1.0"
        }

    def to_1_2(self) -> dict[str, Any]:
        """Return what conductors of RPC 1.1 and 1.2 read."""
        primitive = self.obj_to_primitive()
        primitive["cyborg_object.data"]["deployable_list"] = [
            each.obj_to_primitive("1.0", _BEFORE_WITHHELD)
            for each in self.deployable_list
        ]
        return primitive

    def _has_type_of(self, types: frozenset[str]) -> bool:
        return self.obj_attr_is_set("type") and self.type in types


# DriverDevice: since which version a type is known.
_SINCE = {
    "AICHIP": "1.1",
    "MDEV": "1.2",
    "PCI": "1.2",
    "NVME": "1.3",
    "PMEM": "1.5",
}
# Conductors of RPC 1.0 take AICHIP, whatever the version says.
_IN_1_0 = frozenset(
    str(kind) for kind in constants.DeviceType if kind not in _SINCE
) | {"AICHIP"}
# What this project's first conductors know.
_BEFORE_17 = _IN_1_0 | {"PMEM"}


def _without_state(primitive: dict[str, Any]) -> dict[str, Any]:
    data = dict(primitive["cyborg_object.data"])
    data.pop("device_state", None)
    without = primitive | {
        "cyborg_object.version": "1.1",
        "cyborg_object.data": data,
    }
    changes = primitive.get("cyborg_object.changes")
    if changes is not None:
        without["cyborg_object.changes"] = [
            name for name in changes if name != "device_state"
        ]
    return without
