"""Whose credentials Placement gets, with a real Keystone between."""

from collections.abc import Iterator
import pathlib
import uuid

import pytest

from cyborg.clients import auth
from cyborg.clients import placement as client
from cyborg.common import exception
from cyborg.conf import CONF
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import placement as placement_fixture


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    auth.reset()
    yield
    auth.reset()
    CONF.reset()


def _configure(tmp_path: pathlib.Path, **groups: dict[str, str]) -> None:
    lines = []
    for group, options in groups.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in options.items()]
    path = tmp_path / "cyborg.conf"
    path.write_text("\n".join(lines))
    CONF([], default_config_files=[str(path)])


@pytest.mark.parametrize("group", ["placement", "keystone_authtoken"])
def test_a_service_user(
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    tmp_path: pathlib.Path,
    group: str,
) -> None:
    keystone.ensure_user("cyborg", "service", "admin", "service")
    _configure(tmp_path, **{group: keystone.credentials("cyborg", "service")})
    name = f"cn-{uuid.uuid4()}"
    root = placement.create_provider(name)
    found = client.Client().find_provider(name)
    assert found is not None
    assert found["uuid"] == root
    lowest, highest = client.Client().version_range()
    assert lowest == "1.0"
    assert highest >= client.MICROVERSION


def test_a_wrong_password(
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    tmp_path: pathlib.Path,
) -> None:
    credentials = keystone.credentials("cyborg", "service")
    _configure(tmp_path, placement=credentials | {"password": "wrong"})
    with pytest.raises(exception.PlacementUnavailable, match="401"):
        client.Client().find_provider("a")


def test_no_keystone(tmp_path: pathlib.Path) -> None:
    _configure(
        tmp_path,
        keystone_authtoken={
            "auth_type": "password",
            "auth_url": "http://127.0.0.1:1",
            "username": "cyborg",
            "password": "secret",
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        placement={"connect_retries": "0"},
    )
    with pytest.raises(exception.PlacementUnavailable):
        client.Client().find_provider("a")
