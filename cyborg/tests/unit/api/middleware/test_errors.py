"""Errors of filters take the form of the API's own."""

from typing import Any

import pytest
import webob
from webob import exc

from cyborg.api.middleware import errors
from cyborg.common import exception
from cyborg.tests.fixtures import api as api_fixture


def ask(application: Any, version: str | None = None) -> webob.Response:
    middleware = errors.ErrorsMiddleware.factory({})(application)
    request = webob.Request.blank("/", accept="text/html")
    request.environ["openstack.request_id"] = "req-1"
    if version is not None:
        request.headers["OpenStack-API-Version"] = version
    return request.get_response(middleware)


def test_exception_is_a_generic_error() -> None:
    def application(environ: Any, start_response: Any) -> Any:
        raise RuntimeError("SELECT secret")

    response = ask(application)
    assert response.status_int == 500
    assert "secret" not in response.text
    assert "req-1" in api_fixture.fault(response)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (exception.DatabaseUnavailable(reason="read-only"), "10"),
        (exception.DeviceNotFound(uuid="x"), None),
    ],
)
def test_who_may_come_again_is_told_when(
    error: Exception, after: str | None
) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        raise error

    response = ask(application)
    assert response.headers.get("Retry-After") == after
    assert "read-only" not in response.text


def test_html_is_replaced() -> None:
    response = ask(exc.HTTPBadGateway(explanation="<b>big</b>"))
    assert response.status_int == 502
    assert api_fixture.fault(response) == "Bad Gateway"
    assert response.content_length == len(response.body)


@pytest.mark.parametrize(
    ("version", "form"),
    [
        (None, str),
        ("accelerator 2.3", str),
        ("accelerator 2.4", dict),
        ("accelerator latest", dict),
        ("compute 2.82", str),
        ("accelerator 3.0", str),
        ("nonsense of a kind", str),
    ],
)
def test_form_is_that_of_the_version(
    version: str | None, form: type[str | dict[str, Any]]
) -> None:
    response = ask(exc.HTTPBadGateway(), version)
    assert type(response.json["error_message"]) is form
    assert api_fixture.fault(response) == "Bad Gateway"


def test_plain_text_is_kept() -> None:
    response = ask(
        webob.Response(
            "Keystone is\naway", status=503, content_type="text/plain"
        )
    )
    assert response.status_int == 503
    assert api_fixture.fault(response) == "Keystone is away"


@pytest.mark.parametrize(
    "answer",
    [
        webob.Response(json={"error": {"code": 401}}, status=401),
        webob.Response("fine", content_type="text/plain"),
    ],
)
def test_what_is_no_error_or_json_already_stays(
    answer: webob.Response,
) -> None:
    assert ask(answer).body == answer.body
