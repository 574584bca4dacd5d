"""Base, registry and serializer of the versioned objects."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """What arrives in place of a device that cannot be read.

    :ivar cpid_info: the device's identity, if even that can be read
    """

    cpid_info: str | None
    reason: str


class CyborgObjectSerializer(base.VersionedObjectSerializer):
    """Turns objects into what RPC sends, and back."""

    OBJ_BASE_CLASS = CyborgObject

    def deserialize_entity(self, context: Any, entity: Any) -> Any:
        """Return what a peer sent.

        A device that is none arrives as :class:`Unreadable`, so that it does
        not cost the host the rest of its report. One of a version that is
        not known here costs it: the report is to come again.
        """
        try:
            return super().deserialize_entity(context, entity)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if not _is_named(entity, "DriverDevice"):
                raise
            reason = str(error) or type(error).__name__
            return Unreadable(_cpid_info(entity), reason)


def _is_named(entity: Any, name: str) -> bool:
    return (
        isinstance(entity, dict)
        and entity.get(f"{CyborgObject.OBJ_SERIAL_NAMESPACE}.name") == name
    )


def _cpid_info(device: dict[str, Any]) -> str | None:
    """Return the identity of a device as it was sent, if it has one."""
    data = f"{CyborgObject.OBJ_SERIAL_NAMESPACE}.data"
    try:
        info = device[data]["controlpath_id"][data]["cpid_info"]
    except (KeyError, TypeError):
        return None
    return info if isinstance(info, str) else None
