"""A named request for accelerators."""

from typing import Any

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from cyborg.objects import base
from cyborg.objects import fields as cyborg_fields


@base.CyborgObjectRegistry.register
class DeviceProfile(base.CyborgObject):
    """A name and its groups, each a flat map of text to text."""

    # 1.1: description
    VERSION = "1.1"
    fields = {
        "id": fields.IntegerField(),
        "uuid": fields.StringField(),
        "name": fields.StringField(),
        "groups": cyborg_fields.ListOfDictOfNullableStringsField(),
        "description": fields.StringField(nullable=True),
    }

    def obj_make_compatible(
        self, primitive: dict[str, Any], target_version: str
    ) -> None:
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            primitive.pop("description", None)
