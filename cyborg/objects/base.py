"""Base, registry and serializer of the versioned objects."""

from typing import Any
from typing import ClassVar
from typing import Self

from oslo_versionedobjects import base
from oslo_versionedobjects import fields as ovo_fields


class CyborgObjectRegistry(base.VersionedObjectRegistry):
    """The objects of this package, by name."""


class CyborgObject(base.VersionedObject):
    """Base of all objects.

    On the wire: ``cyborg_object.name``, ``.namespace`` (``cyborg``),
    ``.version``, ``.data``, ``.changes``, as in every release.
    """

    OBJ_SERIAL_NAMESPACE = "cyborg_object"
    OBJ_PROJECT_NAMESPACE = "cyborg"

    # What a field reads as until it is set: peers may leave any field out.
    DEFAULTS: ClassVar[dict[str, Any]] = {}

    fields = {
        "created_at": ovo_fields.DateTimeField(nullable=True),
        "updated_at": ovo_fields.DateTimeField(nullable=True),
    }

    def obj_load_attr(self, attrname: str) -> None:
        """Give an unset field its default instead of an error."""
        field = self.fields[attrname]
        if attrname in self.DEFAULTS:
            value = self.DEFAULTS[attrname]
            value = list(value) if isinstance(value, list) else value
        elif field.default is not ovo_fields.UnspecifiedDefault:
            value = field.default
        elif field.nullable:
            value = None
        else:
            super().obj_load_attr(attrname)
            return
        setattr(self, attrname, value)

    @classmethod
    def from_row(cls, row: Any) -> Self:
        """Return an object with every field that ``row`` has."""
        mapping = row._mapping
        return cls(
            **{name: mapping[name] for name in cls.fields if name in mapping}
        )


class CyborgObjectSerializer(base.VersionedObjectSerializer):
    """Turns objects into what RPC sends, and back."""

    OBJ_BASE_CLASS = CyborgObject
