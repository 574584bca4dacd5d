"""A real Placement, and hosts to tell it of."""

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
from typing import Any
import uuid

import pytest

from cyborg.clients import auth
from cyborg.clients import placement as client
from cyborg.conf import CONF
from cyborg.tests.fixtures import cards
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.functional.placement.site import Site


@pytest.fixture(scope="module")
def peer(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[placement_fixture.Placement]:
    """A Placement in which everybody is admin; host names keep tests apart."""
    peer = placement_fixture.Placement(tmp_path_factory.mktemp("placement"))
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def configured(
    peer: placement_fixture.Placement, tmp_path: pathlib.Path
) -> Iterator[None]:
    config = tmp_path / "cyborg.conf"
    config.write_text(
        "[placement]\nauth_type = admin_token\ntoken = admin\n"
        f"endpoint = {peer.url}\n"
    )
    CONF([], default_config_files=[str(config)])
    auth.reset()
    client.forget()
    with database.with_tables("sqlite") as url, database.configured(url):
        yield
    CONF.clear_override("provider_layout", group="placement")
    for option in ("connect_retries", "endpoint_override"):
        CONF.clear_override(option, group="placement")
    CONF.clear_override("removal_grace", group="conductor")
    auth.reset()
    CONF.reset()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every request that is sent to Placement, as method and path."""
    sent: list[tuple[str, str]] = []
    ask = client.Client._ask

    def recorded(self: Any, method: str, path: str, *args: Any, **kw: Any):
        sent.append((method, path))
        return ask(self, method, path, *args, **kw)

    monkeypatch.setattr(client.Client, "_ask", recorded)
    return sent


@pytest.fixture
def make_site(
    peer: placement_fixture.Placement,
    configured: None,
    requests: list[tuple[str, str]],
) -> Callable[[], Site]:
    def make() -> Site:
        name = f"cn-{uuid.uuid4().hex[:8]}"
        root = peer.create_provider(name)
        return Site(peer, cards.Host(name), root, requests)

    return make


@pytest.fixture
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()
