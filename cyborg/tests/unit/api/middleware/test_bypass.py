from collections.abc import Iterable
import io
from typing import Any

from oslo_middleware import http_proxy_to_wsgi
import pytest
import webob

from cyborg.api.middleware import bypass
from cyborg.conf import CONF

SITE = "https://dashboard.example.org"


def application(
    environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    response = webob.Response(
        text=f"{environ['wsgi.url_scheme']} {environ.get('REMOTE_ADDR')}"
    )
    return response(environ, start_response)


def ask(filtered: Any, method: str = "GET", **headers: str) -> webob.Response:
    request = webob.Request.blank(
        "/", method=method, environ={"REMOTE_ADDR": "10.0.0.1"}
    )
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return request.get_response(filtered)


@pytest.fixture
def cors() -> Any:
    return bypass.cors_factory({}, allowed_origin=SITE)(application)


def test_other_sites_of_a_browser_are_answered(cors: Any) -> None:
    response = ask(cors, Origin=SITE)
    assert response.headers["Access-Control-Allow-Origin"] == SITE
    assert response.text == "http 10.0.0.1"


def test_preflight_is_answered(cors: Any) -> None:
    response = ask(
        cors, "OPTIONS", Origin=SITE, Access_Control_Request_Method="GET"
    )
    assert "GET" in response.headers["Access-Control-Allow-Methods"]


def test_other_requests_pass_cors_by(cors: Any) -> None:
    response = ask(cors)
    assert response.text == "http 10.0.0.1"
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "http 10.0.0.1"),
        (
            {"Forwarded": "for=192.0.2.7;proto=https"},
            "https 192.0.2.7",
        ),
        ({"X_Forwarded_Proto": "https"}, "https 10.0.0.1"),
        ({"X_Forwarded_For": "192.0.2.7"}, "http 192.0.2.7"),
    ],
)
def test_what_a_proxy_says_counts_if_wanted(
    headers: dict[str, str], text: str
) -> None:
    filtered = bypass.proxy_factory({})(application)
    assert ask(filtered, **headers).text == "http 10.0.0.1"
    CONF.set_override("enable_proxy_headers_parsing", True, "oslo_middleware")
    try:
        assert ask(filtered, **headers).text == text
    finally:
        CONF.clear_override("enable_proxy_headers_parsing", "oslo_middleware")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 200),
        ({"CONTENT_LENGTH": "0"}, 200),
        ({"CONTENT_LENGTH": "8"}, 200),
        ({"CONTENT_LENGTH": "9"}, 413),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 413),
    ],
)
def test_bodies_may_not_be_too_large(
    sent: dict[str, str], status: int
) -> None:
    def reader(
        environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        return application(environ, start_response)

    filtered = bypass.size_factory({})(reader)
    CONF.set_override("max_request_body_size", 8, "oslo_middleware")
    request = webob.Request.blank("/", environ=sent)
    request.environ["wsgi.input"] = io.BytesIO(b"x" * 9)
    # The end of a chunked body is where the server says.
    request.environ["wsgi.input_terminated"] = True
    try:
        assert request.get_response(filtered).status_int == status
    finally:
        CONF.clear_override("max_request_body_size", "oslo_middleware")


def mounted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    response = webob.Response(text=webob.Request(environ).path_url)
    return response(environ, start_response)


@pytest.mark.parametrize(
    "own",
    [
        lambda application: application,
        bypass.proxy_factory({}),
        http_proxy_to_wsgi.HTTPProxyToWSGI,
    ],
    ids=["no filter", "ours", "the library's"],
)
@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://localhost/"),
        (
            {
                "X_Forwarded_Proto": "https",
                "X_Forwarded_Host": "cloud",
                "X_Forwarded_Prefix": "/accelerator",
            },
            "https://cloud/accelerator/",
        ),
        (
            {
                "Forwarded": "host=cloud;proto=https",
                "X_Forwarded_Prefix": "/accelerator",
            },
            "https://cloud/accelerator/",
        ),
    ],
)
def test_what_a_proxy_says_counts_once_whatever_the_pipeline(
    own: Any, headers: dict[str, str], url: str
) -> None:
    filtered = bypass.behind_proxy(own(mounted))
    assert ask(filtered, **headers).text == "http://localhost/"
    CONF.set_override("enable_proxy_headers_parsing", True, "oslo_middleware")
    try:
        assert ask(filtered, **headers).text == url
    finally:
        CONF.clear_override("enable_proxy_headers_parsing", "oslo_middleware")
