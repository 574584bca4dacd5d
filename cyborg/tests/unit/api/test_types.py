"""What one declaration of a representation makes."""

import datetime
import types
from typing import Any

import pytest
from wsme import types as wtypes

from cyborg.api import versions
from cyborg.api.types import base
from cyborg.api.types import device

MADE = datetime.datetime(2026, 7, 21, 9, 30, tzinfo=datetime.UTC)


class Wheel(base.Part):
    """A part that comes as a dict."""

    _from_dict = True

    size = base.member(base.COUNT, "How large it is.")


class Cart(base.Resource):
    """A record with a member of each kind."""

    uuid = base.member(base.UUID, "Its uuid.")
    kind = base.member(base.Choice("hand", "dog"), "Who draws it.")
    load = base.member(
        base.TEXT,
        "What is on it.",
        nullable=True,
        value=lambda row, related: related[row.uuid],
    )
    wheels = base.member([Wheel], "Its wheels.", since=versions.STRICT)
    spare = base.member(
        Wheel, "One more.", since=versions.LISTS, nullable=True
    )
    links = base.links("carts", bookmark=True)
    created_at = base.created_at()
    updated_at = base.updated_at()


ROW = types.SimpleNamespace(
    uuid="u",
    kind="dog",
    wheels=[{"size": 2, "of": "wood"}],
    spare=None,
    # As a database has it.
    created_at=MADE.replace(tzinfo=None),
    updated_at=None,
)


class Request(types.SimpleNamespace):
    base_url = "http://here"

    def link(self, *segments: str) -> dict[str, str]:
        return {"href": "/".join(segments), "rel": "self"}


def show(version: versions.Version, **changes: Any) -> dict[str, Any]:
    request: Any = Request(version=version)
    row = types.SimpleNamespace(**vars(ROW) | changes)
    return base.show(Cart, request, row, {"u": "hay"})


def test_members_are_shown_in_the_order_of_their_declaration() -> None:
    assert show(versions.BASE) == {
        "uuid": "u",
        "kind": "dog",
        "load": "hay",
        "links": [
            {"href": "carts/u", "rel": "self"},
            {"href": "http://here/carts/u", "rel": "bookmark"},
        ],
        "created_at": "2026-07-21T09:30:00+00:00",
        "updated_at": None,
    }
    assert list(show(versions.MAXIMUM)) == [
        "uuid",
        "kind",
        "load",
        "wheels",
        "spare",
        "links",
        "created_at",
        "updated_at",
    ]


@pytest.mark.parametrize("spare", [None, {"size": 3}])
def test_parts_are_shown_by_their_own_declaration(
    spare: dict[str, int] | None,
) -> None:
    shown = show(versions.LISTS, spare=spare)
    assert shown["wheels"] == [{"size": 2}]
    assert shown["spare"] == spare


class Safe(base.Resource):
    """A record with a member that is not for everybody."""

    uuid = base.member(base.UUID, "Its uuid.")
    content = base.member(base.TEXT, "What is in it.", seen_by="safe:open")


@pytest.mark.parametrize("permitted", [True, False])
def test_member_is_shown_to_whom_its_rule_permits(permitted: bool) -> None:
    row = types.SimpleNamespace(uuid="u", content="gold")
    request: Any = Request(
        version=versions.BASE,
        permits=lambda rule: rule == "safe:open" and permitted,
    )
    shown = {"uuid": "u"} | ({"content": "gold"} if permitted else {})
    assert base.show(Safe, request, row) == shown
    assert base.show_all(Safe, request, [row]) == [shown]
    schema = base.shown(Safe)[versions.BASE]
    assert schema["required"] == ["uuid"]
    assert "safe:open" in schema["properties"]["content"][base.MEANING]


def test_several_are_shown_as_one() -> None:
    request: Any = Request(version=versions.BASE)
    shown = base.show_all(Cart, request, [ROW, ROW], {"u": "hay"})
    assert shown == [show(versions.BASE)] * 2


def test_schemas_grow_with_versions() -> None:
    schemas = base.shown(Cart)
    assert {
        version: (schema["title"], schema["required"])
        for version, schema in schemas.items()
    } == {
        version: (title, list(show(version)))
        for version, title in (
            (versions.BASE, "Cart-2.0"),
            (versions.STRICT, "Cart-2.4"),
            (versions.LISTS, "Cart"),
        )
    }
    newest = schemas[versions.LISTS]["properties"]
    assert newest["load"]["type"] == ["string", "null"]
    assert newest["spare"]["type"] == ["object", "null"]
    assert newest["kind"]["enum"] == ["hand", "dog"]
    assert newest["wheels"]["items"]["additionalProperties"] is False
    assert all(base.MEANING in schema for schema in newest.values())


def test_words_of_a_later_release_are_shown() -> None:
    shown = device.Device.type.datatype
    assert wtypes.validate_value(shown, "TPU") == "TPU"


def test_wsme_knows_the_declaration() -> None:
    assert wtypes.iscomplex(Cart)
    attributes = wtypes.list_attributes(Cart)
    assert [one.name for one in attributes] == list(show(versions.MAXIMUM))
    assert all(one.mandatory for one in attributes)
    with pytest.raises(ValueError, match="hand"):
        Cart.kind.datatype.validate("horse")
