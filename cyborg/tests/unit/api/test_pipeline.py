"""The paste file that is shipped: what each of its filters is there for."""

from collections.abc import Iterator
from typing import Any

import pytest
import webob

from cyborg.api import conductor as api_conductor
from cyborg.api import hooks
from cyborg.common import rpc
from cyborg.conf import CONF
from cyborg.tests.fixtures import api as api_fixture

DEVICES = "/accelerator/v2/devices"
ARQS = "/accelerator/v2/accelerator_requests"
SITE = "https://dashboard.example.org"


@pytest.fixture(autouse=True)
def _configuration(
    api: api_fixture.Api, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("OS_DEFAULT__TRANSPORT_URL", "fake://")
    monkeypatch.setenv("OS_KEYSTONE_AUTHTOKEN__AUTH_TYPE", "password")
    monkeypatch.setenv("OS_KEYSTONE_AUTHTOKEN__AUTH_URL", "http://keystone")
    CONF.set_override("mode", "local", "conductor")
    CONF.set_override(
        "www_authenticate_uri", "http://keystone", "keystone_authtoken"
    )
    api_conductor.get.cache_clear()
    yield
    api_conductor.get.cache_clear()
    rpc.cleanup()


def ask(path: str, method: str = "GET", **more: Any) -> webob.Response:
    headers = more.pop("headers", {})
    request = webob.Request.blank(
        path,
        method=method,
        headers=headers,
        environ={"REMOTE_ADDR": "127.0.0.1"},
        **more,
    )
    response = request.get_response(api_fixture.pipeline())
    if method != "OPTIONS":
        # Whoever answered.
        number = response.headers["X-OpenStack-Request-ID"]
        assert number.startswith("req-")
    return response


@pytest.fixture
def noauth() -> None:
    CONF.set_override("auth_strategy", "noauth2")


def test_version_documents_need_no_token() -> None:
    for path in ("/", "/v2", "/accelerator", "/accelerator/v2/"):
        assert ask(path).status_int == 200


def test_what_else_there_is_needs_one() -> None:
    response = ask(DEVICES)
    assert response.status_int == 401
    assert response.json["error"]["title"] == "Unauthorized"
    assert response.headers["WWW-Authenticate"] == (
        'Keystone uri="http://keystone"'
    )


def test_keystone_that_is_away_is_an_error_as_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        ("auth_type", "password"),
        ("auth_url", "http://127.0.0.1:1"),
        ("username", "cyborg"),
        ("password", "p"),
        ("http_request_max_retries", "0"),
    ):
        monkeypatch.setenv(f"OS_KEYSTONE_AUTHTOKEN__{name.upper()}", value)
    response = ask(DEVICES, headers={"X-Auth-Token": "t"})
    assert response.status_int == 503
    assert "127.0.0.1" not in api_fixture.fault(response)


def test_pages_of_other_sites_are_let_in() -> None:
    CONF.set_override("allowed_origin", [SITE], "cors")
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": (
            "X-Auth-Token, OpenStack-API-Version, Content-Type"
        ),
    }
    response = ask(DEVICES, "OPTIONS", headers=headers)
    assert response.status_int == 200
    assert response.headers["Access-Control-Allow-Origin"] == SITE
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    # An error can be read, too, and with it the versions that there are.
    response = ask(DEVICES, headers={"Origin": SITE})
    assert response.status_int == 401
    assert response.headers["Access-Control-Allow-Origin"] == SITE
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert "OpenStack-API-Maximum-Version" in exposed
    headers["Origin"] = "https://another.example.org"
    response = ask(DEVICES, "OPTIONS", headers=headers)
    assert "Access-Control-Allow-Origin" not in response.headers


def test_links_begin_with_what_a_proxy_was_asked_for() -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloud"}

    def href() -> Any:
        document = ask("/accelerator", headers=headers).json
        return document["default_version"]["links"][0]["href"]

    assert href() == "http://localhost/accelerator/v2"
    CONF.set_override("enable_proxy_headers_parsing", True, "oslo_middleware")
    assert href() == "https://cloud/accelerator/v2"


def test_large_bodies_are_refused_before_anybody_asks_who_sends_them() -> None:
    CONF.set_override("max_request_body_size", 100, "oslo_middleware")
    response = ask(ARQS, "POST", body=b"x" * 101)
    assert response.status_int == 413
    assert "100 bytes" in api_fixture.fault(response)
    assert ask(ARQS, "POST", body=b"x" * 100).status_int == 401


def test_health_is_told_without_a_token() -> None:
    assert ask("/healthcheck").status_int == 200
    assert ask("/healthcheck", "HEAD").body == b""


@pytest.mark.usefixtures("noauth")
def test_what_nobody_expected_is_told_apart_by_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(environ: Any) -> None:
        raise RuntimeError("SELECT secret")

    monkeypatch.setattr(hooks, "make_context", fail)
    response = ask(DEVICES)
    assert response.status_int == 500
    told = api_fixture.fault(response)
    assert response.headers["X-OpenStack-Request-ID"] in told
    assert "secret" not in told


@pytest.mark.usefixtures("noauth")
def test_what_is_left_reaches_the_application() -> None:
    assert len(ask(DEVICES).json["devices"]) == 5
    assert ask(DEVICES, "OPTIONS").headers["Allow"] == "GET, HEAD"
    response = ask(DEVICES, "HEAD")
    assert (response.status_int, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100
