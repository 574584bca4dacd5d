"""What the wire carries, declared once.

A representation is a class of WSME types whose attributes are made by
:func:`member`: each with its type, what it means and the microversion that it
is new in. From the classes come what renders rows, the JSON Schema of answers
and, by that, the OpenAPI document and the tables of the API reference.

``wsme.rest.json`` itself takes 126 microseconds a row. What renders here is
compiled once for each class and version, and takes 7.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import datetime
from typing import Any

from wsme import types as wtypes

from cyborg.api import request as api_request
from cyborg.api import versions
from cyborg.api.schemas import common

Schema = common.Schema
# The schema that holds from each microversion on.
Schemas = Mapping[versions.Version, Schema]
# What is known of a record besides its row, in a form of each resource's own.
Related = Any
Render = Callable[[Any, api_request.Request, Related], dict[str, Any]]

# Keyword of schemas: what a member means, in the API reference's markup.
# Validators do not know it, and take no notice.
MEANING = "x-meaning"

# -- scalars


class Scalar(wtypes.UserType):
    """A type that JSON has, with what else holds for its values."""

    def __init__(self, name: str, basetype: type, **schema: Any) -> None:
        self.name = name
        self.basetype = basetype
        self.schema = schema


class Choice(wtypes.Enum):
    """Text that is one of these, in this order."""

    def __init__(self, *values: str) -> None:
        super().__init__(str, *values)
        self.schema = {"enum": list(values)}


class Label(Scalar):
    """Text that is stored and one of these.

    What a later release has stored besides is shown as it is: one word that
    is not known must not hide everything else.
    """

    def __init__(self, *values: str) -> None:
        super().__init__("label", str, enum=list(values))


TEXT = Scalar("text", str, type="string")
NUMBER = Scalar("number", int, type="integer")
COUNT = Scalar("count", int, type="integer", minimum=0)
FLAG = Scalar("flag", bool, type="boolean")
UUID = Scalar(
    "uuid",
    str,
    type="string",
    format="uuid",
    pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
)
# UTC; the fraction is missing where the database keeps whole seconds.
TIME = Scalar(
    "time",
    datetime.datetime,
    type="string",
    format="date-time",
    pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$",
)
JSON_TEXT = Scalar(
    "json", str, type="string", contentMediaType="application/json"
)


def timestamp(value: datetime.datetime | None) -> str | None:
    """Return a UTC time as ISO 8601 with its offset.

    The database has no offset, objects have.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return value.isoformat()


# -- classes and members


class Member(wtypes.wsattr):
    """A member of a representation; see :func:`member`."""

    def __init__(
        self,
        type_: Any,
        meaning: str,
        since: versions.Version | None,
        nullable: bool,
        value: Callable[[Any, Related], Any] | None,
        more: Schema,
        seen_by: str | None = None,
    ) -> None:
        super().__init__(type_, mandatory=True)
        self.type = type_
        self.meaning = meaning
        self.since: Any = since
        self.nullable = nullable
        self.value = value
        self.more = more
        self.seen_by = seen_by

    def schema(self) -> Schema:
        found = schema(self.type) | self.more
        if self.nullable:
            found["type"] = [found["type"], "null"]
        meaning = self.meaning
        if self.seen_by is not None:
            meaning += f" Only who ``{self.seen_by}`` permits sees it."
        return found | {MEANING: meaning}

    def expression(
        self, version: versions.Version, code: str, names: dict[str, Any]
    ) -> str:
        """Return the code of what is shown.

        :param code: that of what the row has under this name
        :param names: what the code may name, to which this adds
        """
        if self.value is not None:
            names[f"value_of_{self.name}"] = self.value
            code = f"value_of_{self.name}(row, related)"
        if self.type is TIME:
            names["timestamp"] = timestamp
            return f"timestamp({code})"
        many = isinstance(self.type, list)
        part = self.type[0] if many else self.type
        if not isinstance(part, type) or not issubclass(part, Part):
            return code
        names[f"render_{self.name}"] = renderer(part, version)
        shown = f"render_{self.name}(part, request, related)"
        if many:
            return f"[{shown} for part in {code}]"
        return f"None if (part := {code}) is None else {shown}"


class Links(Member):
    """Links to a record, the first of which is to itself.

    :param resource: the first segment of the path of such records; None =
        what it is rendered from has them
    """

    def __init__(self, resource: str | None, bookmark: bool = False) -> None:
        rels = ["self", "bookmark"] if bookmark else ["self"]
        super().__init__(
            [{str: TEXT}],
            "Links to this record: objects with ``href`` and ``rel``.",
            None,
            False,
            None,
            {
                "items": _link(*rels),
                "minItems": len(rels),
                "maxItems": len(rels),
            },
        )
        self._resource = resource
        self._bookmark = bookmark

    def expression(
        self, version: versions.Version, code: str, names: dict[str, Any]
    ) -> str:
        if self._resource is None:
            return super().expression(version, code, names)
        names["links"] = self._make
        return "links(row, request)"

    def _make(
        self, row: Any, request: api_request.Request
    ) -> list[dict[str, str]]:
        links = [request.link(str(self._resource), row.uuid)]
        if self._bookmark:
            href = f"{request.base_url}/{self._resource}/{row.uuid}"
            links.append({"href": href, "rel": "bookmark"})
        return links


class Part(wtypes.Base):
    """Part of a representation: an object with the declared members.

    Its members are shown in the order of their declaration.
    """

    # Whether what it is rendered from is a dict, not a row.
    _from_dict = False
    # The microversion that members are new in if they do not say so.
    _since = versions.BASE

    def __init_subclass__(cls) -> None:
        for value in vars(cls).values():
            if isinstance(value, Member) and value.since is None:
                value.since = cls._since
        # WSME would look for the order in the source.
        cls._wsme_attr_order = [
            *dict.fromkeys(
                name
                for each in reversed(cls.__mro__)
                for name, value in vars(each).items()
                if isinstance(value, Member)
            )
        ]
        super().__init_subclass__()


class Resource(Part):
    """A representation, which the OpenAPI document shares by its name."""


def member(
    type_: Any,
    meaning: str,
    *,
    since: versions.Version | None = None,
    nullable: bool = False,
    value: Callable[[Any, Related], Any] | None = None,
    seen_by: str | None = None,
    **schema: Any,
) -> Any:
    """Declare a member of a representation.

    :param type_: a scalar of this module, a :class:`Part`, a list of one of
        either, or a dict from text to a scalar
    :param meaning: sentences for the API reference, in its markup
    :param since: the microversion it is new in; None = the class's first
    :param value: makes it of the row and what is related; None = the row has
        it under this name
    :param seen_by: the policy rule that permits to see it; None = who may see
        the record. For members of resources, not for those of parts.
    :param schema: what else JSON Schema says of it
    """
    return Member(type_, meaning, since, nullable, value, schema, seen_by)


def links(resource: str | None = None, *, bookmark: bool = False) -> Any:
    """Declare the member ``links``; see :class:`Links`."""
    return Links(resource, bookmark)


def created_at() -> Any:
    """Declare the member ``created_at``."""
    return member(TIME, "When the record was made: UTC, ISO 8601 with offset.")


def updated_at() -> Any:
    """Declare the member ``updated_at``."""
    return member(
        TIME, "When it was last changed; null until it is.", nullable=True
    )


def members(part: type[Part]) -> Sequence[Member]:
    """Return what is declared, in order."""
    found: Sequence[Member] = wtypes.list_attributes(part)
    return found


# -- rendering


Rules = frozenset[str]
_renderers: dict[tuple[type[Part], versions.Version, Rules], Render] = {}


def renderer(
    part: type[Part],
    version: versions.Version,
    refused: Rules = frozenset(),
) -> Render:
    """Return the function that makes a row what clients see at a version.

    :param refused: policy rules whose members are left out
    """
    key = part, version, refused
    found = _renderers.get(key)
    if found is None:
        found = _renderers[key] = _compile(*key)
    return found


def _compile(
    part: type[Part], version: versions.Version, refused: Rules
) -> Render:
    names: dict[str, Any] = {}
    code = "row[{!r}]" if part._from_dict else "row.{}"
    lines = [
        f"{one.name!r}: "
        f"{one.expression(version, code.format(one.name), names)},"
        for one in members(part)
        if one.since <= version and one.seen_by not in refused
    ]
    source = "\n".join(
        ("def render(row, request, related):", " return {", *lines, " }")
    )
    exec(compile(source, f"<{part.__name__} {version}>", "exec"), names)
    render: Render = names["render"]
    return render


def _for(part: type[Part], request: api_request.Request) -> Render:
    """Return what renders for whoever asks, in the version that they ask."""
    refused = frozenset(
        one.seen_by
        for one in members(part)
        if one.seen_by is not None and not request.permits(one.seen_by)
    )
    return renderer(part, request.version, refused)


def show(
    part: type[Part],
    request: api_request.Request,
    row: Any,
    related: Related = None,
) -> dict[str, Any]:
    """Return the representation of a record: a row, or an object."""
    return _for(part, request)(row, request, related)


def show_all(
    part: type[Part],
    request: api_request.Request,
    rows: Iterable[Any],
    related: Related = None,
) -> list[dict[str, Any]]:
    """Return the representations of several records."""
    render = _for(part, request)
    return [render(row, request, related) for row in rows]


# -- schemas


def schema(type_: Any) -> Schema:
    """Return the schema of a type, which the caller may change."""
    if isinstance(type_, list):
        return {"type": "array", "items": schema(type_[0])}
    if isinstance(type_, dict):
        (value,) = type_.values()
        return {"type": "object", "additionalProperties": schema(value)}
    if isinstance(type_, Scalar | Choice):
        return dict(type_.schema)
    if issubclass(type_, Resource):
        schemas = shown(type_)
        return dict(schemas[max(schemas)])
    return closed({one.name: one.schema() for one in members(type_)})


def closed(
    required: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    return common.json_object(required, optional, closed=True)


def _link(*rels: str) -> Schema:
    return closed(
        {
            "href": {"type": "string", "format": "uri"},
            "rel": {"enum": list(rels)},
        }
    )


def shown(resource: type[Resource]) -> Schemas:
    """Return the schemas of a representation.

    The newest has the name of the class, others that of their version, too.
    """
    added = sorted({one.since for one in members(resource)})
    title = resource.__name__
    return {
        version: {
            "title": title if version == added[-1] else f"{title}-{version}",
            "description": f"As of microversion {version}.",
            **_object(resource, version),
        }
        for version in added
    }


def _object(resource: type[Resource], version: versions.Version) -> Schema:
    there = [one for one in members(resource) if one.since <= version]
    return closed(
        {one.name: one.schema() for one in there if one.seen_by is None},
        {one.name: one.schema() for one in there if one.seen_by is not None},
    )


def wrapped(key: str, meaning: str, schemas: Schemas) -> Schemas:
    """Return the schemas of an object with one member.

    :param meaning: of the member
    """
    return {
        version: closed({key: schema | {MEANING: meaning}})
        for version, schema in schemas.items()
    }


def several(schemas: Schemas, least: int = 0) -> Schemas:
    """Return the schemas of a list of what others describe."""
    more = {"minItems": least} if least else {}
    return {
        version: {"type": "array", "items": schema, **more}
        for version, schema in schemas.items()
    }


def listed(key: str, meaning: str, schemas: Schemas) -> Schemas:
    """Return the schemas of a list, which may say where it goes on."""
    more = {
        f"{key}_links": {
            "type": "array",
            "items": _link("next"),
            "minItems": 1,
            "maxItems": 1,
            MEANING: (
                "Where the list goes on: an object with ``href`` and the "
                "``rel`` next. Only there if it does."
            ),
        }
    }
    from_ = {*schemas, max(versions.LISTS, min(schemas))}
    return {
        version: closed(
            {
                key: {
                    "type": "array",
                    "items": schemas[max(v for v in schemas if v <= version)],
                    MEANING: meaning,
                }
            },
            more if version >= versions.LISTS else None,
        )
        for version in from_
    }


def since(version: versions.Version, schemas: Schemas) -> Schemas:
    """Return the schemas that hold from a version on, not those before."""
    first = max(v for v in schemas if v <= version)
    return {version: schemas[first]} | {
        v: schema for v, schema in schemas.items() if v > version
    }
