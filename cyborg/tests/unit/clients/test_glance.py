"""Images: what each of Glance's answers becomes."""

import io

import pytest

from cyborg.clients import auth
from cyborg.clients import glance
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.unit.clients import conftest

IMAGE = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "PAUSE", 0)


def test_a_record(peer: conftest.Peer) -> None:
    peer.answer(200, {"id": IMAGE, "status": "active"})
    assert glance.get_image(IMAGE, "req-1")["status"] == "active"
    assert peer.requests[0].path == f"/v2/images/{IMAGE}"
    assert peer.requests[0].headers["X-OpenStack-Request-ID"] == "req-1"


def test_an_endpoint_with_a_version(peer: conftest.Peer) -> None:
    CONF.set_override("endpoint_override", f"{peer.url}/v2/", group="glance")
    auth.reset()
    peer.answer(200, {"id": IMAGE})
    glance.get_image("a/../b")
    assert peer.requests[0].path == "/v2/images/a%2F..%2Fb"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, exception.ImageBadRequest),
        (401, exception.ImageNotAuthorized),
        (403, exception.ImageNotAuthorized),
        (404, exception.ImageNotFound),
        (500, exception.GlanceConnectionFailed),
        (503, exception.GlanceConnectionFailed),
    ],
)
def test_errors(
    peer: conftest.Peer, status: int, error: type[Exception]
) -> None:
    # A refused token is fetched again once.
    for _ in range(2):
        peer.answer(status, b"<html/>")
    with pytest.raises(error):
        glance.get_image(IMAGE)


def test_no_json(peer: conftest.Peer) -> None:
    peer.answer(200, b"<html/>")
    with pytest.raises(exception.GlanceConnectionFailed):
        glance.get_image(IMAGE)


def test_repetitions(peer: conftest.Peer) -> None:
    CONF.set_override("num_retries", 2, group="glance")
    for status in (0, 503, 200):
        peer.answer(status, {"id": IMAGE})
    assert glance.get_image(IMAGE)["id"] == IMAGE
    for _ in range(3):
        peer.answer(503, {})
    with pytest.raises(exception.GlanceConnectionFailed):
        glance.get_image(IMAGE)
    # What makes no sense to repeat is not.
    peer.answer(404, {})
    with pytest.raises(exception.ImageNotFound):
        glance.get_image(IMAGE)
    assert len(peer.requests) == 7


def test_images_by_property(peer: conftest.Peer) -> None:
    peer.answer(
        200,
        {"images": [{"id": "a"}], "next": "/v2/images?marker=a&limit=1"},
    )
    peer.answer(200, {"images": [{"id": "b"}]})
    found = glance.find_images(**{"accel:function_id": "3a fb"})
    assert [image["id"] for image in found] == ["a", "b"]
    assert [request.path for request in peer.requests] == [
        "/v2/images?accel%3Afunction_id=3a+fb&visibility=all",
        "/v2/images?marker=a&limit=1",
    ]


@pytest.mark.parametrize("status", [403, 404])
def test_whom_an_image_is_shared_with(
    peer: conftest.Peer, status: int
) -> None:
    peer.answer(
        200,
        {
            "members": [
                {"member_id": "p1", "status": "accepted"},
                {"member_id": "p2", "status": "pending"},
            ]
        },
    )
    assert glance.accepted_members(IMAGE) == {"p1"}
    assert peer.requests[0].path == f"/v2/images/{IMAGE}/members"
    peer.answer(status, {})
    assert glance.accepted_members(IMAGE) == frozenset()


def test_a_download(peer: conftest.Peer) -> None:
    data = bytes(range(256)) * 5000
    peer.answer(200, data)
    file = io.BytesIO()
    client = glance.get_client()
    client.download(IMAGE, file, chunk_size=4096)
    assert file.getvalue() == data
    assert peer.requests[0].path == f"/v2/images/{IMAGE}/file"


def test_an_image_without_data(peer: conftest.Peer) -> None:
    peer.answer(204)
    with pytest.raises(exception.ImageUnacceptable):
        glance.download(IMAGE, io.BytesIO())


def test_a_download_that_breaks_off(peer: conftest.Peer) -> None:
    CONF.set_override("num_retries", 3, group="glance")
    peer.answer(200, (b"half", 8))
    with pytest.raises(exception.GlanceConnectionFailed):
        glance.download(IMAGE, io.BytesIO())
    # What was written cannot be taken back: who called starts again.
    assert len(peer.requests) == 1


def test_no_glance_at_all(peer: conftest.Peer) -> None:
    CONF.clear_override("auth_type", group="glance")
    CONF.reset()
    CONF([], project="cyborg", default_config_files=[])
    auth.reset()
    with pytest.raises(
        exception.GlanceConnectionFailed, match="has auth_type"
    ):
        glance.get_image(IMAGE)
    assert peer.requests == []
