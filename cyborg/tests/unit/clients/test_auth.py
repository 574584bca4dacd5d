"""Connections: whose credentials, and what a missing one looks like."""

from collections.abc import Callable
import os
import pathlib
import subprocess
import sys
from typing import Any

from openstack import proxy as sdk_proxy
import pytest

from cyborg.clients import auth
from cyborg.clients import glance
from cyborg.clients import nova
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.unit.clients import conftest

SERVER = "00000000-0000-4000-8000-000000000001"


def _configure(tmp_path: pathlib.Path, text: str) -> None:
    """Read a configuration; ``{ca}`` and ``{own}`` are files that exist."""
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "own")}
    for file in files.values():
        file.touch()
    path = tmp_path / "own.conf"
    path.write_text(text.format(**files))
    CONF([], default_config_files=[str(path)])
    auth.reset()


def test_nothing_is_configured(tmp_path: pathlib.Path) -> None:
    _configure(tmp_path, "")
    with pytest.raises(exception.ConfigInvalid) as caught:
        auth.proxy("nova")
    text = caught.value.faultstring
    assert "\n" not in text
    assert "[nova]" in text
    assert "[keystone_authtoken]" in text
    assert "auth_url" in text


def test_half_is_configured(tmp_path: pathlib.Path) -> None:
    _configure(tmp_path, "[placement]\nauth_type = password\n")
    with pytest.raises(exception.ConfigInvalid, match="auth_url"):
        auth.proxy("placement")


def test_a_plugin_that_is_none(tmp_path: pathlib.Path) -> None:
    _configure(tmp_path, "[placement]\nauth_type = bogus\n")
    with pytest.raises(exception.ConfigInvalid, match="bogus"):
        auth.proxy("placement")


def test_credentials_of_keystone_authtoken(
    tmp_path: pathlib.Path, peer: conftest.Peer
) -> None:
    _configure(
        tmp_path,
        "[keystone_authtoken]\nauth_type = admin_token\n"
        f"endpoint = {peer.url}\ntoken = theirs\n"
        "region_name = north\ncafile = {ca}\n",
    )
    adapter = auth.proxy("placement")
    assert adapter.region_name == "north"
    assert adapter.session.verify == str(tmp_path / "ca.pem")
    peer.answer(200, {"resource_providers": []})
    assert placement.Client().find_provider("cn 1/ä") is None
    assert peer.requests[0].headers["X-Auth-Token"] == "theirs"
    assert peer.requests[0].path == "/resource_providers?name=cn+1%2F%C3%A4"


@pytest.mark.parametrize(
    ("option", "region"), [("", "north"), ("region_name = south", "south")]
)
def test_region_that_is_known(
    tmp_path: pathlib.Path, option: str, region: str
) -> None:
    _configure(
        tmp_path,
        "[keystone_authtoken]\nregion_name = north\n"
        "[placement]\nauth_type = admin_token\n"
        f"endpoint = http://placement\ntoken = own\n{option}\n",
    )
    assert auth.proxy("placement").region_name == region


@pytest.mark.parametrize("own", [False, True])
def test_files_of_ssl_are_glances_unless_the_api_has_them(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str], own: bool
) -> None:
    _configure(
        tmp_path,
        f"[api]\nenable_ssl_api = {own}\n"
        "[ssl]\ncert_file = {own}\nkey_file = {ca}\nca_file = {ca}\n"
        "[glance]\nauth_type = admin_token\nendpoint = e\ntoken = t\n",
    )
    session, ca = auth.proxy("glance").session, str(tmp_path / "ca.pem")
    assert session.verify == (True if own else ca)
    assert session.cert == (None if own else (str(tmp_path / "own.pem"), ca))
    assert "eprecated" not in capfd.readouterr().err


def test_the_groups_own_options_win(tmp_path: pathlib.Path) -> None:
    _configure(
        tmp_path,
        "[keystone_authtoken]\nauth_type = admin_token\n"
        "endpoint = http://a\ntoken = theirs\nregion_name = north\n"
        "cafile = {ca}\n"
        "[placement]\nregion_name = south\ntimeout = 3\ncafile = {own}\n",
    )
    adapter = auth.proxy("placement")
    assert adapter.region_name == "south"
    assert adapter.session.timeout == 3
    assert adapter.session.verify == str(tmp_path / "own.pem")


def test_one_connection_pool_with_a_timeout(peer: conftest.Peer) -> None:
    first = auth.proxy("placement")
    assert auth.proxy("placement") is first
    assert auth.proxy("nova") is not first
    assert first.session.timeout == auth.TIMEOUTS["placement"]
    # A child process must not write to its parent's connections.
    reader, writer = os.pipe()
    if os.fork() == 0:
        same = auth.proxy("placement") is first
        os.write(writer, b"same" if same else b"own")
        os._exit(0)
    os.wait()
    assert os.read(reader, 4) == b"own"
    os.close(reader)
    os.close(writer)


def test_the_request_id_travels(peer: conftest.Peer) -> None:
    peer.answer(200, {"resource_providers": []})
    peer.answer(200, {"resource_providers": []})
    placement.Client("req-1").find_provider("a")
    placement.Client().find_provider("a")
    sent = [r.headers.get("X-OpenStack-Request-ID") for r in peer.requests]
    assert sent == ["req-1", None]


def test_a_closed_connection_is_opened_once_more(
    tmp_path: pathlib.Path, peer: conftest.Peer
) -> None:
    _configure(
        tmp_path,
        f"[placement]\nauth_type = admin_token\nendpoint = {peer.url}\n"
        "token = a\nconnect_retry_delay = 0\n",
    )
    peer.answer(0)
    peer.answer(200, {"resource_providers": []})
    assert placement.Client().find_provider("a") is None
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("group", "call", "answer"),
    [
        (
            "placement",
            lambda: placement.Client().get_tree(SERVER),
            {"resource_providers": []},
        ),
        (
            "nova",
            lambda: nova.get_server(SERVER),
            {"server": {"id": SERVER, "tenant_id": "p"}},
        ),
        ("glance", lambda: glance.get_image(SERVER), {"id": SERVER}),
    ],
)
def test_a_call_is_one_request(
    peer: conftest.Peer,
    group: str,
    call: Callable[[], Any],
    answer: dict[str, Any],
) -> None:
    # The first one, too: no versions are asked for before it.
    for sent in (1, 2):
        peer.answer(200, answer)
        call()
        assert len(peer.requests) == sent
    assert isinstance(auth.proxy(group), sdk_proxy.Proxy)


@pytest.mark.parametrize(
    ("group", "call", "header"),
    [
        (
            "placement",
            lambda: placement.Client().get_tree(SERVER),
            "placement 1.36",
        ),
        ("nova", lambda: nova.get_server(SERVER), "compute 2.82"),
    ],
)
def test_a_service_of_another_type_hears_its_own_name(
    peer: conftest.Peer, group: str, call: Callable[[], Any], header: str
) -> None:
    CONF.set_override("service_type", "of-the-catalog", group=group)
    try:
        peer.answer(404, {})
        with pytest.raises(exception.CyborgException):
            call()
    finally:
        CONF.clear_override("service_type", group=group)
    assert peer.requests[0].headers["OpenStack-API-Version"] == header


@pytest.mark.parametrize(
    "module", ["cyborg.cmd.api", "cyborg.api.app", "cyborg.cmd.agent"]
)
def test_who_calls_no_service_does_not_have_the_sdk(module: str) -> None:
    program = (
        f"import sys, {module}, cyborg.clients.nova, cyborg.clients.glance, "
        "cyborg.clients.placement; sys.exit('openstack' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("option", ["cafile", "certfile", "keyfile"])
def test_file_for_tls_that_is_not_there(
    tmp_path: pathlib.Path, option: str
) -> None:
    """The library finds it missing at each request, with no error of its."""
    _configure(
        tmp_path,
        "[placement]\nauth_type = admin_token\nendpoint = http://p\n"
        f"token = t\n{option} = /nowhere.pem\n",
    )
    with pytest.raises(exception.ConfigInvalid) as caught:
        auth.proxy("placement")
    assert caught.value.faultstring == (
        f"[placement] {option} is not valid: /nowhere.pem is not there, or "
        "cannot be read"
    )
