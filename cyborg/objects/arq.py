"""An accelerator request, and the part of it that only Cyborg sees."""

from typing import Any

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from cyborg.objects import base
from cyborg.objects import fields as cyborg_fields


@base.CyborgObjectRegistry.register
class ARQ(base.CyborgObject):
    """One device for one instance, as Nova sees it.

    The ``attach_handle_*`` fields are filled while the state is Bound.
    """

    VERSION = "1.1"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.UUIDField(),
        "state": cyborg_fields.ARQStateField(),
        "device_profile_name": fields.StringField(),
        "device_profile_group_id": fields.IntegerField(),
        "hostname": fields.StringField(nullable=True),
        "device_rp_uuid": fields.StringField(nullable=True),
        "instance_uuid": fields.StringField(nullable=True),
        "project_id": fields.StringField(nullable=True),
        "attach_handle_type": fields.StringField(nullable=True),
        "attach_handle_uuid": fields.StringField(nullable=True),
        "attach_handle_info": fields.DictOfStringsField(nullable=True),
    }


@base.CyborgObjectRegistry.register
class ExtARQ(base.CyborgObject):
    """An ARQ with what binding it needs."""

    # 1.1: deployable_uuid; 1.2: deployable_id
    VERSION = "1.2"
    fields = {
        "arq": fields.ObjectField("ARQ"),
        "substate": fields.StringField(),
        "deployable_uuid": fields.UUIDField(nullable=True),
        "device_profile_group": fields.DictOfStringsField(nullable=True),
        "attach_handle_id": fields.IntegerField(nullable=True),
        "deployable_id": fields.IntegerField(nullable=True),
    }

    def obj_make_compatible(
        self, primitive: dict[str, Any], target_version: str
    ) -> None:
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 2):
            primitive.pop("deployable_id", None)


@base.CyborgObjectRegistry.register
class FPGAExtARQ(ExtARQ):
    """An ExtARQ for an FPGA; earlier releases made the difference."""
