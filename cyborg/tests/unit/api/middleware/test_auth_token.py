"""Which requests are let through, and as whom."""

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
import socketserver
import threading
from typing import Any
from typing import ClassVar

from keystoneauth1 import fixture
from keystonemiddleware.auth_token import _identity
import pytest
import webob

from cyborg.api.middleware import auth_token
from cyborg.api.middleware import errors
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.fixtures import api as api_fixture

Ask = Callable[..., webob.Response]

IDENTITY = {"X-Roles": "admin", "X-Project-Id": "p"}


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OS_KEYSTONE_AUTHTOKEN__AUTH_TYPE", "password")
    monkeypatch.setenv("OS_KEYSTONE_AUTHTOKEN__AUTH_URL", "http://keystone")
    CONF([], project="cyborg", default_config_files=[])
    yield
    CONF.reset()


@pytest.fixture(params=["keystone", "noauth2"])
def strategy(request: pytest.FixtureRequest) -> str:
    CONF.set_override("auth_strategy", request.param)
    return str(request.param)


def ask(
    path: str,
    headers: dict[str, str] | None = None,
    address: str = "127.0.0.1",
    routes: str = "",
) -> webob.Response:
    """Send a request; the answer shows what the application sees."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        seen = {
            name: value
            for name, value in environ.items()
            if name.startswith("HTTP_X_")
        }
        response = webob.Response(json=seen)
        return response(environ, start_response)

    factory = auth_token.AuthTokenMiddleware.factory(
        {}, acl_public_routes=routes
    )
    request = webob.Request.blank(path, environ={"REMOTE_ADDR": address})
    request.headers.update(headers or {})
    return request.get_response(factory(application))


@pytest.mark.parametrize(
    "path",
    ["/", "/v2", "/v2/", "/v2.json", "/accelerator", "/accelerator/v2/"],
)
def test_version_documents_need_no_token_and_believe_none(
    strategy: str, path: str
) -> None:
    response = ask(path, IDENTITY, address="192.0.2.1")
    assert response.status_int == 200
    assert response.json == {}


@pytest.mark.parametrize(
    "path", ["/v2/devices", "/devices", "/v2//", "//", "/v2/v2", "/v3"]
)
def test_everything_else_needs_a_token(path: str) -> None:
    CONF.set_override(
        "www_authenticate_uri", "http://keystone", "keystone_authtoken"
    )
    response = ask(path, IDENTITY)
    assert response.status_int == 401
    assert response.content_type == "application/json"
    assert response.headers["WWW-Authenticate"] == (
        'Keystone uri="http://keystone"'
    )
    assert response.json["error"]["code"] == 401


def test_paste_files_may_name_more_public_routes() -> None:
    assert ask("/status", routes="/, /status").status_int == 200
    assert ask("/v2", routes="/status").status_int == 200


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that Keystone was asked about; it finds all of them valid."""
    tokens: list[str] = []

    def verify(self: Any, token: str, allow_expired: bool = False) -> Any:
        tokens.append(token)
        described = fixture.V3Token(project_id=token)
        described.add_role(name="member")
        described.add_service("identity").add_standard_endpoints(
            public="http://keystone"
        )
        return described

    monkeypatch.setattr(_identity.IdentityServer, "verify_token", verify)
    return tokens


def use_tokens(**options: str) -> None:
    """Send requests with two tokens to an API process of its own."""
    factory = auth_token.AuthTokenMiddleware.factory(
        {},
        auth_type="password",
        auth_url="http://keystone",
        username="cyborg",
        password="p",
        **options,
    )
    middleware = factory(webob.Response("fine"))
    for token in ("one", "two", "one", "two"):
        request = webob.Request.blank("/v2/devices")
        request.headers["X-Auth-Token"] = token
        assert request.get_response(middleware).status_int == 200


def test_keystone_is_asked_once_about_a_token(asked: list[str]) -> None:
    """Each process keeps what it was told for ``token_cache_time`` seconds.

    As the configuration or the paste file says; -1 is never.
    """
    use_tokens()
    assert asked == ["one", "two"]
    use_tokens(token_cache_time="-1")
    assert asked == ["one", "two"] * 3
    CONF.set_override("token_cache_time", -1, "keystone_authtoken")
    use_tokens()
    assert asked == ["one", "two"] * 5


class Memcached(socketserver.StreamRequestHandler):
    """As much of memcached as python-memcached asks for."""

    stored: ClassVar[dict[bytes, tuple[bytes, bytes]]] = {}

    def handle(self) -> None:
        for line in self.rfile:
            command, key, *rest = line.split()
            if command == b"set":
                flags, _expiry, size = rest
                self.stored[key] = flags, self.rfile.read(int(size) + 2)
                self.wfile.write(b"STORED\r\n")
                continue
            assert command == b"get"
            if key in self.stored:
                flags, value = self.stored[key]
                self.wfile.write(
                    b"VALUE %s %s %d\r\n%s"
                    % (key, flags, len(value) - 2, value)
                )
            self.wfile.write(b"END\r\n")


def test_processes_share_what_memcached_keeps(asked: list[str]) -> None:
    with socketserver.ThreadingTCPServer(
        ("127.0.0.1", 0), Memcached
    ) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"127.0.0.1:{server.server_address[1]}"
            for _process in range(2):
                use_tokens(memcached_servers=address)
        finally:
            server.shutdown()
    assert asked == ["one", "two"]


def test_noauth2_makes_everybody_an_administrator_with_a_service_token() -> (
    None
):
    CONF.set_override("auth_strategy", "noauth2")
    seen = ask("/v2/devices").json
    assert seen["HTTP_X_ROLES"] == "admin,manager,member,reader"
    assert seen["HTTP_X_PROJECT_ID"] == auth_token.NOAUTH_PROJECT
    assert seen["HTTP_X_SERVICE_IDENTITY_STATUS"] == "Confirmed"
    assert seen["HTTP_X_SERVICE_ROLES"] == "service"


def test_noauth2_takes_roles_and_project_from_the_request() -> None:
    CONF.set_override("auth_strategy", "noauth2")
    said = {"X-Roles": "reader", "X-Project-Id": "p", "X-User-Id": "u"}
    seen = ask("/v2/devices", said | {"X-Service-Roles": "none"}).json
    assert seen["HTTP_X_ROLES"] == "reader"
    assert seen["HTTP_X_PROJECT_ID"] == "p"
    assert seen["HTTP_X_USER_ID"] == "u"
    assert seen["HTTP_X_SERVICE_ROLES"] == "service"


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.1", {}),
        ("2001:db8::1", {}),
        ("", {}),
        ("unix", {}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
    ],
)
def test_noauth2_is_for_this_host_only(
    address: str, headers: dict[str, str]
) -> None:
    CONF.set_override("auth_strategy", "noauth2")
    response = ask("/v2/devices", headers, address=address)
    assert response.status_int == 403
    assert "noauth2" in api_fixture.fault(response)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_noauth2_on_loopback(address: str) -> None:
    CONF.set_override("auth_strategy", "noauth2")
    assert ask("/v2/devices", address=address).status_int == 200


def test_noauth2_does_not_listen_to_the_world(strategy: str) -> None:
    auth_token.check_strategy()
    CONF.set_override("host_ip", "0.0.0.0", "api")
    if strategy == "keystone":
        auth_token.check_strategy()
        return
    with pytest.raises(exception.ConfigInvalid, match="noauth2"):
        auth_token.check_strategy()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:6666"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:6666"}, 200),
        # A name that its owner has lead here.
        ({"Host": "evil.example:6666"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[x"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:8080"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Length": "2"}, 415),
        ({"Transfer-Encoding": "chunked"}, 415),
        ({"Content-Length": "2", "Content-Type": "application/json"}, 200),
    ],
)
def test_noauth2_is_not_for_web_pages(
    headers: dict[str, str], status: int
) -> None:
    CONF.set_override("auth_strategy", "noauth2")
    assert ask("/v2/devices", headers).status_int == status


@pytest.mark.parametrize("option", ["cafile", "certfile", "keyfile"])
def test_file_for_tls_that_is_not_there_is_named(option: str) -> None:
    CONF.set_override(option, "/nowhere.pem", "keystone_authtoken")
    with pytest.raises(
        exception.ConfigInvalid, match=r"/nowhere\.pem"
    ) as error:
        ask("/v2/devices")
    assert f"[keystone_authtoken] {option}" in error.value.faultstring
    CONF.clear_override(option, "keystone_authtoken")


def test_file_for_tls_that_is_none(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "ca.pem"
    empty.touch()
    monkeypatch.setenv(
        "OS_KEYSTONE_AUTHTOKEN__AUTH_URL", "https://127.0.0.1:9"
    )
    CONF.set_override("cafile", str(empty), "keystone_authtoken")
    factory = auth_token.AuthTokenMiddleware.factory({})
    middleware = factory(webob.Response("fine"))
    request = webob.Request.blank("/v2/devices")
    request.headers["X-Auth-Token"] = "t"
    empty.unlink()
    response = request.get_response(errors.ErrorsMiddleware(middleware))
    assert response.status_int == 503
    assert str(empty) not in response.text
    CONF.clear_override("cafile", "keystone_authtoken")
