"""openstacksdk finds the API, and pages, wherever that is mounted."""

from collections.abc import Iterator
import contextlib
from typing import Any

from cheroot import wsgi
import openstack
from openstack import connection
import pytest
import sqlalchemy as sa

from cyborg.api import versions
from cyborg.db import models
from cyborg.standalone import http
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

DEVICES = {records.uuid(number, "d") for number in range(1, 6)}

# Where the web server mounts the API, and endpoints that catalogs have then.
MOUNTS = {
    "": ("", "/v2", "/accelerator/v2"),
    "/accelerator": ("/accelerator/", "/accelerator/v2"),
    "/cloud/gpus": ("/cloud/gpus", "/cloud/gpus/v2/"),
}
LISTS = (
    "devices",
    "deployables",
    "device_profiles",
    "accelerator_requests",
    "attributes",
)


class Recorder:
    """Lets everybody in as admin; remembers what was asked and answered.

    :ivar seen: method, path with query, and status line of each request
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self.seen: list[tuple[str, str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        if environ["QUERY_STRING"]:
            path += "?" + environ["QUERY_STRING"]
        environ |= {
            "HTTP_X_ROLES": api_fixture.PERSONAS["admin"],
            "HTTP_X_PROJECT_ID": "admin-project",
            "HTTP_X_USER_ID": "admin",
        }

        def start(status: str, headers: Any, error: Any = None) -> Any:
            self.seen.append((environ["REQUEST_METHOD"], path, status))
            return start_response(status, headers, error)

        return self._application(environ, start)


def _add_profiles_and_requests(engine: sa.Engine) -> None:
    """Add three of each: the other lists are long enough as they are."""
    with engine.begin() as connection_:
        for number in range(1, 4):
            profile = records.insert(
                connection_,
                models.DeviceProfile,
                uuid=records.uuid(number, "7"),
                name=f"profile-{number}",
                profile_json='{"groups": [{"resources:FPGA": "1"}]}',
            )
            records.insert(
                connection_,
                models.ARQ,
                uuid=records.uuid(number, "a"),
                project_id="admin-project",
                state="Initial",
                device_profile_id=profile,
                device_profile_group_id=0,
            )


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """The API over records, in this process."""
    with api_fixture.running() as api:
        _add_profiles_and_requests(api.engine)
        yield Recorder(api.application)


@pytest.fixture(scope="module")
def bases(recorder: Recorder) -> Iterator[dict[str, str]]:
    """URL of the server, without the prefix, by the prefix of the mount."""
    with contextlib.ExitStack() as stack:
        urls = {}
        for prefix in MOUNTS:
            application: Any = recorder
            if prefix:
                application = wsgi.PathInfoDispatcher({prefix: recorder})
            server = http.make(application, 0, 2)
            urls[prefix] = f"http://{http.ADDRESS}:{server.start()}"
            stack.callback(server.stop)
        yield urls


def connect(endpoint: str, **options: Any) -> connection.Connection:
    """Return a connection as a user without Keystone makes it."""
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="none",
        auth={"endpoint": endpoint},
        region_name="RegionOne",
        **options,
    )


@pytest.mark.parametrize(
    ("prefix", "path"),
    [(prefix, path) for prefix, paths in MOUNTS.items() for path in paths],
)
def test_discovery(
    recorder: Recorder, bases: dict[str, str], prefix: str, path: str
) -> None:
    base = bases[prefix]
    recorder.seen.clear()
    cloud = connect(base + path, accelerator_default_microversion="2.3")
    data = cloud.accelerator.get_endpoint_data()
    assert data.api_version == (2, 0)
    assert data.max_microversion == versions.MAXIMUM
    assert data.min_microversion == versions.MINIMUM
    assert data.url.startswith(f"{base}{prefix or '/accelerator'}/v2")
    devices = list(cloud.accelerator.devices())
    assert {device.uuid for device in devices} == DEVICES
    # It is there from 2.3 on only, so the version was asked for.
    assert {device.status for device in devices} == {"enabled"}
    assert {status for _, _, status in recorder.seen} == {"200 OK"}


@pytest.mark.parametrize("prefix", MOUNTS)
def test_links_lead_to_what_they_are_in(
    bases: dict[str, str], prefix: str
) -> None:
    base = bases[prefix]
    session = connect(f"{base}{prefix}").session
    for name in LISTS:
        body = session.get(f"{base}{prefix}/v2/{name}").json()
        (key,) = body
        assert body[key]
        for record in body[key]:
            href = record["links"][0]["href"]
            assert href.startswith(base + prefix)
            shown = session.get(href).json()
            assert shown.get("device_profile", shown) == record


@pytest.mark.parametrize(
    ("prefix", "version"),
    [
        ("", "2.6"),
        ("/accelerator", "2.0"),
        ("/accelerator", "2.4"),
        ("/accelerator", "2.5"),
        ("/cloud/gpus", "2.6"),
    ],
)
def test_pages_of_one_end(
    recorder: Recorder, bases: dict[str, str], prefix: str, version: str
) -> None:
    cloud = connect(
        f"{bases[prefix]}{prefix}/v2", accelerator_default_microversion=version
    )
    for name in LISTS:
        everything = [one.id for one in getattr(cloud.accelerator, name)()]
        assert len(everything) >= 3
        recorder.seen.clear()
        paged = [one.id for one in getattr(cloud.accelerator, name)(limit=1)]
        assert paged == everything
        # A page each, and one that is empty where no link says the end.
        assert len(recorder.seen) <= len(everything) + 1
        assert all("limit=1" in path for _, path, _ in recorder.seen)
        assert {status for _, _, status in recorder.seen} == {"200 OK"}


def test_a_version_that_the_server_lacks_is_not_asked_for(
    recorder: Recorder, bases: dict[str, str]
) -> None:
    cloud = connect(
        f"{bases['/accelerator']}/accelerator",
        accelerator_default_microversion="2.99",
    )
    recorder.seen.clear()
    with pytest.raises(openstack.exceptions.ConfigException, match=r"2\.99"):
        list(cloud.accelerator.devices())
    assert not [path for _, path, _ in recorder.seen if "devices" in path]
