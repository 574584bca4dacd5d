"""Peers that answer what no such peer answers: one sentence, no accident."""

from collections.abc import Callable
from collections.abc import Iterator
import gc
import http
import io
import logging
from typing import Any

import pytest

from cyborg.clients import auth
from cyborg.clients import bitstreams
from cyborg.clients import glance
from cyborg.clients import nova
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.unit.clients import conftest

UUID = "00000000-0000-4000-8000-000000000001"
LONGEST = 1200

BODIES: dict[str, Any] = {
    "a page": b"<html><title>It works!</title></html>",
    "nothing": b"",
    "a list": [],
    "a list of null": [None],
    "null": None,
    "a number": 5,
    "a text": "hello",
    "an empty object": {},
    "no UTF-8": b'{"\xff": 1}',
    "garbage": bytes(range(256)) * 4096,
    "half": b'{"images": [',
}

# Members of good answers, and what has no place there.
MEMBERS = (
    *("resource_providers", "resource_provider_generation", "inventories"),
    *("usages", "traits", "allocations", "versions", "images", "members"),
    *("server", "servers", "events", "uuid", "name", "generation"),
)
VALUES: dict[str, Any] = {
    "null": None,
    "texts": "abc",
    "numbers": 5.5,
    "objects": {"a": None},
    "lists": [None],
    "lists of objects": [{"a": []}],
    "true": True,
}
for _kind, _value in VALUES.items():
    BODIES[f"{_kind} in it"] = dict.fromkeys(MEMBERS, _value)

REFUSALS = [
    b"",
    b"<html>\r\n<p>No</p>",
    [None],
    {"errors": [{"code": [], "detail": {}}]},
    {"errors": [None]},
    {"itemNotFound": None},
    {"badRequest": {"message": [None]}},
]

CLIENT = placement.Client()
PLACEMENT: dict[str, Callable[[], Any]] = {
    "version_range": CLIENT.version_range,
    "find_provider": lambda: CLIENT.find_provider("cn1"),
    "get_provider": lambda: CLIENT.get_provider(UUID),
    "get_tree": lambda: CLIENT.get_tree(UUID),
    "create_provider": lambda: CLIENT.create_provider(UUID, "gpu", UUID),
    "update_provider": lambda: CLIENT.update_provider(UUID, "gpu", UUID),
    "get_inventories": lambda: CLIENT.get_inventories(UUID),
    "get_usages": lambda: CLIENT.get_usages(UUID),
    "put_inventories": lambda: CLIENT.put_inventories(UUID, 1, {}),
    "get_traits": lambda: CLIENT.get_traits(UUID),
    "put_traits": lambda: CLIENT.put_traits(UUID, 1, []),
    "ensure_traits": lambda: CLIENT.ensure_traits(["CUSTOM_A"]),
    "used_traits": lambda: CLIENT.used_traits(["CUSTOM_A"]),
    "provider_allocations": lambda: CLIENT.provider_allocations(UUID),
    "consumer_allocations": lambda: CLIENT.consumer_allocations(UUID),
}
GLANCE: dict[str, Callable[[], Any]] = {
    "get_image": lambda: glance.get_image(UUID),
    "find_images": lambda: glance.find_images(tag="FPGA"),
    "accepted_members": lambda: glance.accepted_members(UUID),
    "meant": lambda: bitstreams.meant({"function": "CUSTOM_FUNCTION_A"}),
}
EVENT = {"name": "x", "server_uuid": UUID, "tag": "y", "status": "completed"}
NOVA: dict[str, Callable[[], Any]] = {
    "send_events": lambda: nova.send_events([EVENT]),
    "get_server": lambda: nova.get_server(UUID),
    "find_owner": lambda: nova.find_owner(UUID),
    "may_see_all": nova.may_see_all,
}
PEERS = [
    pytest.param(call, error, id=name)
    for calls, error in (
        (PLACEMENT, exception.PlacementError),
        (GLANCE, exception.GlanceConnectionFailed),
        (NOVA, exception.NovaUnavailable),
    )
    for name, call in calls.items()
]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "PAUSE", 0)


def _is_one_sentence(error: exception.CyborgException) -> None:
    assert error.code == http.HTTPStatus.SERVICE_UNAVAILABLE
    text = error.faultstring
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text) < LONGEST


@pytest.mark.parametrize(("call", "error"), PEERS)
def test_answers_of_another_shape(
    peer: conftest.Peer,
    caplog: pytest.LogCaptureFixture,
    call: Callable[[], Any],
    error: type[exception.CyborgException],
) -> None:
    caplog.set_level(logging.INFO)
    for name, body in BODIES.items():
        peer.answers = [(200, body)]
        placement.forget()
        try:
            found = call()
        except error as caught:
            _is_one_sentence(caught)
        else:
            pytest.fail(f"{name}: {found}")
    assert "Traceback" not in caplog.text


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Let no finalizer of other tests run where the stack has no room."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (CLIENT.version_range, exception.PlacementError),
        (GLANCE["find_images"], exception.GlanceConnectionFailed),
        (NOVA["send_events"], exception.NovaUnavailable),
        (NOVA["get_server"], exception.NovaUnavailable),
    ],
)
def test_answers_that_are_too_deep(
    peer: conftest.Peer,
    call: Callable[[], Any],
    error: type[exception.CyborgException],
) -> None:
    peer.answer(200, b"[" * 100_000)
    with pytest.raises(error) as caught:
        call()
    _is_one_sentence(caught.value)


@pytest.mark.parametrize(("call", "error"), PEERS)
def test_a_loop_of_redirects(
    peer: conftest.Peer,
    call: Callable[[], Any],
    error: type[exception.CyborgException],
) -> None:
    peer.location = f"{peer.url}/again"
    peer.answers = [(302, b"")] * 100
    with pytest.raises(error) as caught:
        call()
    _is_one_sentence(caught.value)
    assert len(peer.requests) < 50


@pytest.mark.parametrize(("call", "error"), PEERS)
def test_refusals_of_another_shape(
    peer: conftest.Peer,
    call: Callable[[], Any],
    error: type[exception.CyborgException],
) -> None:
    away = (error, exception.PlacementUnavailable)
    for status in (418, 500):
        if call is nova.may_see_all and status < 500:
            # It may not, whatever Nova says of it.
            continue
        for body in REFUSALS:
            peer.answers = [(status, body)]
            with pytest.raises(away) as caught:
                call()
            _is_one_sentence(caught.value)


@pytest.mark.parametrize(
    "kind",
    ["text/html", "application/octet-stream", "none", "a/b; charset=x"],
)
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (CLIENT.version_range, exception.PlacementError),
        (GLANCE["find_images"], exception.GlanceConnectionFailed),
        (nova.may_see_all, exception.NovaUnavailable),
    ],
)
def test_content_of_another_type(
    peer: conftest.Peer,
    call: Callable[[], Any],
    error: type[exception.CyborgException],
    kind: str,
) -> None:
    peer.content_type = kind
    peer.answers = [(200, BODIES["garbage"])]
    with pytest.raises(error) as caught:
        call()
    _is_one_sentence(caught.value)


def test_data_that_is_redirected_for_ever(peer: conftest.Peer) -> None:
    peer.location = f"{peer.url}/again"
    peer.answers = [(302, b"")] * 100
    with pytest.raises(exception.GlanceConnectionFailed):
        glance.download(UUID, io.BytesIO())


def test_a_refusal_that_breaks_off(peer: conftest.Peer) -> None:
    peer.answer(500, (b"half", 8))
    with pytest.raises(exception.GlanceConnectionFailed, match="500"):
        glance.download(UUID, io.BytesIO())


def test_pages_that_go_round(peer: conftest.Peer) -> None:
    page = {"images": [], "next": "/v2/images?marker=a"}
    peer.answers = [(200, page)] * 9
    with pytest.raises(exception.GlanceConnectionFailed, match="circle"):
        glance.find_images(tag="FPGA")
    assert len(peer.requests) == 2


TOKENS = [
    *BODIES.values(),
    *({"token": value} for value in VALUES.values()),
    *(
        {
            "token": {
                "methods": ["password"],
                "expires_at": "2100-01-01T00:00:00.000000Z",
                "user": value,
                "project": value,
                "roles": value,
                "catalog": value,
            }
        }
        for value in VALUES.values()
    ),
]


@pytest.mark.parametrize("status", [200, 201, 500])
def test_a_keystone_that_is_none(
    peer: conftest.Peer, tmp_path: Any, status: int
) -> None:
    path = tmp_path / "keystone.conf"
    path.write_text(
        "[keystone_authtoken]\n"
        "auth_type = v3password\n"
        f"auth_url = {peer.url}/v3\nusername = cyborg\npassword = p\n"
        "user_domain_id = default\nproject_name = service\n"
        "project_domain_id = default\n"
        "[glance]\nnum_retries = 0\n"
    )
    CONF([], default_config_files=[str(path)])
    peer.token = "t"
    for body in TOKENS:
        for call, error in (
            (CLIENT.version_range, exception.PlacementUnavailable),
            (lambda: glance.get_image(UUID), exception.GlanceConnectionFailed),
            (lambda: nova.get_server(UUID), exception.NovaUnavailable),
        ):
            auth.reset()
            peer.answers = [(status, body)] * 3
            with pytest.raises(error) as caught:
                call()
            _is_one_sentence(caught.value)
        for own, error in (
            (glance.own_project, exception.GlanceConnectionFailed),
            (nova.own_project, exception.NovaUnavailable),
        ):
            auth.reset()
            peer.answers = [(status, body)] * 3
            try:
                project = own()
            except error as caught:
                _is_one_sentence(caught)
            else:
                # A token without a project is one.
                assert project is None
