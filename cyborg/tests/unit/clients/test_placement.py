"""What each of Placement's answers becomes."""

from typing import Any

import pytest

from cyborg.clients import auth
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.unit.clients import conftest

UUID = "8a3e5b0d-0000-4000-8000-000000000001"
PARENT = "8a3e5b0d-0000-4000-8000-000000000002"


def _error(code: str | None, detail: str = "because") -> dict[str, Any]:
    return {"errors": [{"code": code, "detail": detail}]}


@pytest.fixture
def client(peer: conftest.Peer) -> placement.Client:
    return placement.Client()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503])
def test_away(
    peer: conftest.Peer, client: placement.Client, status: int
) -> None:
    # A refused token is fetched again once.
    for _ in range(2):
        peer.answer(status, b"<html>proxy</html>")
    with pytest.raises(exception.PlacementUnavailable, match=str(status)):
        client.get_tree(UUID)


def test_nobody_listens(client: placement.Client) -> None:
    CONF.set_override(
        "endpoint_override", "http://127.0.0.1:1", group="placement"
    )
    auth.reset()
    with pytest.raises(exception.PlacementUnavailable):
        client.get_tree(UUID)


def test_the_connection_breaks(
    peer: conftest.Peer, client: placement.Client
) -> None:
    peer.answer(0)
    with pytest.raises(exception.PlacementUnavailable):
        client.get_tree(UUID)


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503, 504])
def test_an_outage_costs_one_attempt(
    peer: conftest.Peer, client: placement.Client, status: int
) -> None:
    for _ in range(2):
        peer.answer(status, {})
    with pytest.raises(exception.PlacementUnavailable):
        client.get_tree(UUID)
    assert placement.is_away()
    sent = len(peer.requests)
    peer.answers.clear()
    for other in (client, placement.Client()):
        with pytest.raises(exception.PlacementUnavailable, match=str(status)):
            other.get_tree(UUID)
    assert len(peer.requests) == sent
    # Placement that is configured anew is tried at once.
    auth.reset()
    assert not placement.is_away()
    peer.answer(200, {"resource_providers": []})
    assert client.get_tree(UUID) == []


@pytest.mark.parametrize("status", [404, 409, 500])
def test_one_bad_answer_is_no_outage(
    peer: conftest.Peer, client: placement.Client, status: int
) -> None:
    peer.answer(status, _error(None))
    with pytest.raises(exception.CyborgException):
        client.get_tree(UUID)
    assert not placement.is_away()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>It works!</html>",
        {"versions": [{"id": "v2.0", "min_version": ""}]},
        {"versions": []},
        [],
    ],
)
def test_something_else_answers(
    peer: conftest.Peer, client: placement.Client, answer: Any
) -> None:
    for ask in (
        client.version_range,
        lambda: client.find_provider("cn1"),
        lambda: client.get_tree(UUID),
        lambda: client.get_inventories(UUID),
        lambda: client.ensure_traits(["CUSTOM_ANY"]),
        lambda: client.consumer_allocations(UUID),
    ):
        peer.answer(200, answer)
        with pytest.raises(exception.PlacementError, match=peer.url):
            ask()


def test_what_is_to_be_done_before_every_request(peer: conftest.Peer) -> None:
    seen = []
    client = placement.Client(before=lambda: seen.append(len(peer.requests)))
    for _ in range(2):
        peer.answer(200, {"resource_providers": []})
        client.get_tree(UUID)
    assert seen == [0, 1]


def test_somebody_else_wrote(
    peer: conftest.Peer, client: placement.Client
) -> None:
    for write in (
        lambda: client.put_inventories(UUID, 1, {}),
        lambda: client.put_traits(UUID, 1, []),
    ):
        peer.answer(409, _error(placement.CONCURRENT_UPDATE))
        with pytest.raises(exception.PlacementStale) as caught:
            write()
        assert caught.value.kwargs["rp_uuid"] == UUID


def test_other_conflicts(
    peer: conftest.Peer, client: placement.Client
) -> None:
    peer.answer(409, _error(placement.INVENTORY_IN_USE, "in use\n by A"))
    with pytest.raises(exception.PlacementConflict) as caught:
        client.put_inventories(UUID, 1, {})
    assert caught.value.kwargs["error_code"] == placement.INVENTORY_IN_USE
    assert "in use by A" in caught.value.faultstring
    peer.answer(409, b"not JSON")
    with pytest.raises(exception.PlacementConflict) as caught:
        client.delete_provider(UUID)
    assert caught.value.kwargs["error_code"] is None


def test_what_placement_does_not_take(
    peer: conftest.Peer, client: placement.Client
) -> None:
    peer.answer(400, _error("placement.query.bad_value", "no such trait"))
    with pytest.raises(exception.PlacementError) as caught:
        client.put_traits(UUID, 1, ["CUSTOM_X"])
    assert caught.value.kwargs["status"] == 400
    assert "no such trait" in caught.value.faultstring
    # Gone between reading and writing.
    peer.answer(404, _error(None))
    with pytest.raises(exception.PlacementError):
        client.put_traits(UUID, 1, ["CUSTOM_X"])


def test_what_is_not_there(
    peer: conftest.Peer, client: placement.Client
) -> None:
    for _ in range(5):
        peer.answer(404, _error(None))
    assert client.get_provider(UUID) is None
    assert client.get_inventories(UUID) is None
    assert client.get_traits(UUID) is None
    assert client.provider_allocations(UUID) == {}
    assert client.delete_provider(UUID) is False


def test_requests_are_as_placement_wants_them(
    peer: conftest.Peer, client: placement.Client
) -> None:
    record = {"uuid": UUID, "name": "cn1_a", "generation": 0}
    peer.answer(200, record)
    assert client.create_provider(UUID, "cn1_a", PARENT) == record
    peer.answer(200, record)
    client.update_provider(UUID, "cn1_a", PARENT)
    peer.answer(200, {"resource_provider_generation": 3})
    assert client.put_traits(UUID, 2, {"B", "A"}) == 3
    create, update, traits = peer.requests
    assert (create.method, create.path) == ("POST", "/resource_providers")
    assert create.body == {
        "uuid": UUID,
        "name": "cn1_a",
        "parent_provider_uuid": PARENT,
    }
    assert update.body == {"name": "cn1_a", "parent_provider_uuid": PARENT}
    assert traits.body == {
        "resource_provider_generation": 2,
        "traits": ["A", "B"],
    }
    versions = [r.headers["OpenStack-API-Version"] for r in peer.requests]
    assert versions == ["placement 1.36", "placement 1.37", "placement 1.36"]


def test_names_are_ensured_once(
    peer: conftest.Peer, client: placement.Client
) -> None:
    peer.answer(200, {"traits": ["HW_A"]})
    # In the order of the names: made, not taken, made meanwhile.
    for status in (201, 400, 204):
        peer.answer(status, _error(None))
    names = {"HW_A", "CUSTOM_B", "HW_NONE", "CUSTOM_Z"}
    # Sorted: CUSTOM_B, CUSTOM_Z, HW_NONE.
    peer.answers[2], peer.answers[3] = peer.answers[3], peer.answers[2]
    assert client.ensure_traits(names) == names - {"HW_NONE"}
    assert [r.path for r in peer.requests[1:]] == [
        "/traits/CUSTOM_B",
        "/traits/CUSTOM_Z",
        "/traits/HW_NONE",
    ]
    peer.requests.clear()
    assert client.ensure_traits({"HW_A", "CUSTOM_B"}) == {"HW_A", "CUSTOM_B"}
    assert peer.requests == []
    placement.forget()
    peer.answer(200, {"traits": ["HW_A"]})
    assert client.ensure_traits({"HW_A"}) == {"HW_A"}


def test_many_names_are_asked_for_in_parts(
    peer: conftest.Peer, client: placement.Client
) -> None:
    names = {f"CUSTOM_{number:03}" for number in range(60)}
    ordered = sorted(names)
    for start in (0, 25, 50):
        peer.answer(200, {"traits": ordered[start : start + 25]})
    assert client.ensure_traits(names) == names
    assert len(peer.requests) == 3


def test_only_custom_classes_are_made(
    peer: conftest.Peer, client: placement.Client
) -> None:
    peer.answer(201)
    client.ensure_resource_classes(["FPGA", "CUSTOM_QAT"])
    client.ensure_resource_classes(["FPGA", "CUSTOM_QAT"])
    assert [(r.method, r.path) for r in peer.requests] == [
        ("PUT", "/resource_classes/CUSTOM_QAT")
    ]


def test_allocations_of_a_consumer(
    peer: conftest.Peer, client: placement.Client
) -> None:
    held = {UUID: {"resources": {"FPGA": 1}, "generation": 3}}
    peer.answer(200, {"allocations": held})
    assert client.consumer_allocations(PARENT) == held
    assert peer.requests[0].path == f"/allocations/{PARENT}"
