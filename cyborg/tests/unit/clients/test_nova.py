"""Events and servers: what each of Nova's answers becomes."""

import logging
from typing import Any

import pytest

from cyborg.clients import auth
from cyborg.clients import nova
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.unit.clients import conftest

SERVERS = ["00000000-0000-4000-8000-00000000000" + n for n in "123"]


def _events() -> list[dict[str, str]]:
    return [
        {
            "name": "accelerator-request-bound",
            "server_uuid": server,
            "tag": f"arq-{number}",
            "status": "completed",
        }
        for number, server in enumerate(SERVERS)
    ]


def _answers(*codes: int) -> list[dict[str, Any]]:
    return [
        event | {"code": code}
        for event, code in zip(_events(), codes, strict=True)
    ]


def test_all_are_taken(peer: conftest.Peer) -> None:
    peer.answer(200, {"events": _answers(200, 200, 200)})
    assert nova.send_events(_events()) == {0: 200, 1: 200, 2: 200}
    request = peer.requests[0]
    assert request.path == "/os-server-external-events"
    assert request.body == {"events": _events()}
    assert request.headers["OpenStack-API-Version"] == "compute 2.82"


def test_each_has_a_code_of_its_own(peer: conftest.Peer) -> None:
    # Whatever order they come back in.
    answers = _answers(200, 404, 422)[::-1]
    peer.answer(207, {"events": answers})
    assert nova.send_events(_events()) == {0: 200, 1: 404, 2: 422}


def test_one_that_nova_leaves_out_has_no_code(peer: conftest.Peer) -> None:
    peer.answer(207, {"events": _answers(200, 404, 422)[:2]})
    assert nova.send_events(_events()) == {0: 200, 1: 404}


@pytest.mark.parametrize("status", [404, 422])
def test_none_is_taken(peer: conftest.Peer, status: int) -> None:
    peer.answer(status, {"itemNotFound": {"message": "none"}})
    assert nova.send_events(_events()) == dict.fromkeys(range(3), status)


def test_nova_refuses_the_user(
    peer: conftest.Peer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.answer(403, {"forbidden": {"message": "Policy"}})
    with caplog.at_level(logging.ERROR):
        assert nova.send_events(_events()) == dict.fromkeys(range(3), 403)
    assert "os-server-external-events:create" in caplog.text


def test_one_bad_event_does_not_spoil_the_others(peer: conftest.Peer) -> None:
    peer.answer(400, {"badRequest": {"message": "not a uuid"}})
    first, _, last = _answers(200, 400, 200)
    peer.answer(200, {"events": [first]})
    peer.answer(400, {"badRequest": {"message": "not a uuid"}})
    peer.answer(200, {"events": [last]})
    assert nova.send_events(_events()) == {0: 200, 1: 400, 2: 200}
    assert [len(r.body["events"]) for r in peer.requests] == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (503, b"busy"),
        (429, {}),
        (0, None),
        (200, b"<html>It works!</html>"),
        (207, b"not JSON"),
        (207, []),
    ],
)
def test_nova_is_away(peer: conftest.Peer, status: int, body: Any) -> None:
    peer.answer(status, body)
    with pytest.raises(exception.NovaUnavailable):
        nova.send_events(_events())


def test_nobody_listens(peer: conftest.Peer) -> None:
    CONF.set_override("endpoint_override", "http://127.0.0.1:1", group="nova")
    auth.reset()
    with pytest.raises(exception.NovaUnavailable):
        nova.get_server(SERVERS[0])


def test_whose_server(peer: conftest.Peer) -> None:
    peer.answer(200, {"server": {"id": SERVERS[0], "tenant_id": "p"}})
    assert nova.get_server(SERVERS[0])["project_id"] == "p"
    peer.answer(404, {"itemNotFound": {}})
    with pytest.raises(exception.ServerNotFound, match=SERVERS[1]):
        nova.get_server(SERVERS[1])
    for status, body in (
        (500, {}),
        (200, {"no": "server"}),
        (200, b"<html>It works!</html>"),
        (200, []),
        (403, {}),
    ):
        peer.answer(status, body)
        with pytest.raises(exception.NovaUnavailable):
            nova.get_server(SERVERS[2])
