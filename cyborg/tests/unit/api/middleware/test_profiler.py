"""Traces of requests, as osprofiler collects them from the message bus."""

from collections.abc import Iterator
from typing import Any

from osprofiler import notifier
from osprofiler import profiler
from osprofiler import web
from osprofiler.drivers import base
import pytest
import webob

from cyborg.api import conductor as api_conductor
from cyborg.common import rpc
from cyborg.conf import CONF
from cyborg.db import engine
from cyborg.tests.fixtures import api as api_fixture

DEVICES = "/accelerator/v2/devices?type=GPU"


@pytest.fixture
def tracing(
    api: api_fixture.Api, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Tracing is on, for requests signed with ``new`` or ``old``."""
    monkeypatch.setenv("OS_DEFAULT__TRANSPORT_URL", "fake://")
    CONF.set_override("auth_strategy", "noauth2")
    CONF.set_override("mode", "local", "conductor")
    CONF.set_override("enabled", True, "profiler")
    CONF.set_override("trace_sqlalchemy", True, "profiler")
    CONF.set_override("hmac_keys", "new,old", "profiler")
    url = api.engine.url
    engine.reset()
    engine.configure(connection=url.render_as_string(hide_password=False))
    untraced = notifier.get()
    api_conductor.get.cache_clear()
    yield
    notifier.set(untraced)
    notifier.clear_notifier_cache()
    web.disable()
    api_conductor.get.cache_clear()
    rpc.cleanup()


def ask(
    application: Any, path: str, headers: dict[str, str], **more: Any
) -> webob.Response:
    request = webob.Request.blank(
        path, environ={"REMOTE_ADDR": "127.0.0.1"}, headers=headers, **more
    )
    return request.get_response(application)


def trace_with(key: str) -> tuple[str, dict[str, str]]:
    """Return the id of a new trace, and the headers that a client sends."""
    profiler.init(key)
    base_id = profiler.get().get_base_id()
    headers = web.get_trace_id_headers()
    profiler.clean()
    return base_id, headers


def collect(base_id: str) -> dict[str, Any]:
    """Return the one outermost point of a trace, with those within."""
    driver = base.get_driver("messaging://", conf=CONF, idle_timeout=2)
    (point,) = driver.get_report(base_id)["children"]
    assert isinstance(point, dict)
    return point


def statements(point: dict[str, Any]) -> str:
    """Return the SQL that was run within a point."""
    return "; ".join(
        child["info"]["meta.raw_payload.db-start"]["info"]["db"]["statement"]
        for child in point["children"]
    )


@pytest.mark.parametrize("key", ["new", "old"])
@pytest.mark.usefixtures("tracing")
def test_signed_request_is_traced_down_to_its_statements(key: str) -> None:
    application = api_fixture.pipeline()
    base_id, headers = trace_with(key)
    response = ask(application, DEVICES, headers)
    assert len(response.json["devices"]) == 1
    request = collect(base_id)
    info = request["info"]
    assert (info["project"], info["service"]) == ("cyborg", "api")
    assert info["host"] == CONF.host
    started = info["meta.raw_payload.wsgi-start"]["info"]
    assert started["request"] == {
        "method": "GET",
        "path": "/accelerator/v2/devices",
        "query": "type=GPU",
        "scheme": "http",
    }
    assert "FROM devices" in statements(request)


@pytest.mark.usefixtures("tracing")
def test_what_a_conductor_in_the_same_process_does_is_traced_too() -> None:
    application = api_fixture.pipeline()
    base_id, headers = trace_with("new")
    body = {"deployable_id": 1, "key": "k", "value": "v"}
    response = ask(
        application,
        "/v2/attributes",
        headers,
        method="POST",
        json=body,
        content_type="application/json",
    )
    assert response.status_int == 201
    assert "INSERT INTO attributes" in statements(collect(base_id))


@pytest.mark.usefixtures("tracing")
def test_other_requests_leave_no_trace() -> None:
    application = api_fixture.pipeline()
    points: list[Any] = []
    notifier.set(points.append)
    for key in ("stolen", "new"):
        _base_id, headers = trace_with(key)
        assert not points
        assert ask(application, DEVICES, {}).status_int == 200
        assert ask(application, DEVICES, headers).status_int == 200
    assert points


def test_nothing_is_in_front_unless_it_is_enabled(
    api: api_fixture.Api,
) -> None:
    CONF.set_override("auth_strategy", "noauth2")
    before = notifier.get()
    _base_id, headers = trace_with("SECRET_KEY")
    assert ask(api_fixture.pipeline(), DEVICES, headers).status_int == 200
    assert notifier.get() is before
