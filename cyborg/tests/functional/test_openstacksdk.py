"""openstacksdk's accelerator proxy against the API, however it is mounted."""

from collections.abc import Iterator
import threading
from typing import Any

from cheroot import wsgi
import openstack
from openstack import connection
from openstack import exceptions
import pytest

from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

IDENTITY = {
    "HTTP_X_ROLES": "admin,manager,member,reader",
    "HTTP_X_PROJECT_ID": "admin-project",
    "HTTP_X_SERVICE_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_SERVICE_ROLES": "service",
}
FPGA = records.uuid(1, "d")
DEPLOYABLE = records.uuid(1, "e")


class Mounted:
    """An application at a path, with the identity a token would prove."""

    def __init__(self, application: Any, mount: str) -> None:
        self._application = application
        self._mount = mount

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith(self._mount):
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        environ |= IDENTITY
        environ["SCRIPT_NAME"] = self._mount
        environ["PATH_INFO"] = path.removeprefix(self._mount)
        return self._application(environ, start_response)


# Where the web server mounts the API, and the endpoint in the catalogue.
PLACES = [
    ("", "/v2"),
    ("", ""),
    ("", "/accelerator/v2"),
    ("", "/accelerator"),
    ("/accelerator", "/accelerator/v2"),
    ("/accelerator", "/accelerator"),
    ("/else/where", "/else/where/v2"),
]


@pytest.fixture(params=PLACES, ids=lambda place: " at ".join(place[::-1]))
def cloud(
    request: pytest.FixtureRequest,
) -> Iterator[connection.Connection]:
    mount, endpoint = request.param
    with api_fixture.running() as running:
        server = wsgi.Server(
            ("127.0.0.1", 0), Mounted(running.application, mount)
        )
        server.prepare()
        thread = threading.Thread(target=server.serve)
        thread.start()
        url = f"http://127.0.0.1:{server.bind_addr[1]}{endpoint}"
        with openstack.connect(
            auth_type="none", endpoint=url, accelerator_endpoint_override=url
        ) as made:
            yield made
        server.stop()
        thread.join()


def test_reading(cloud: connection.Connection) -> None:
    proxy = cloud.accelerator
    hosts = [f"cn{number}" for number in range(1, 6)]
    assert [device.hostname for device in proxy.devices()] == hosts
    # A page at a time: it ends, and finds everything.
    assert [device.hostname for device in proxy.devices(limit=1)] == hosts
    assert [d.hostname for d in proxy.devices(limit=2)] == hosts
    assert proxy.get_device(FPGA).model == "A10"
    assert len(list(proxy.deployables(limit=2))) == 5
    assert proxy.get_deployable(DEPLOYABLE).num_accelerators == 2
    assert len(list(proxy.attributes())) == 5


def test_a_profile_and_its_requests(cloud: connection.Connection) -> None:
    proxy = cloud.accelerator
    groups = [{"resources:FPGA": "2"}]
    profile = proxy.create_device_profile(name="p", groups=groups)
    assert profile.groups == groups
    assert proxy.get_device_profile(profile.uuid).name == "p"
    arq = proxy.create_accelerator_request(device_profile_name="p")
    requests = list(proxy.accelerator_requests(limit=1))
    assert len(requests) == 2
    values = {
        "hostname": "cn1",
        "device_rp_uuid": records.uuid(1, "f"),
        "instance_uuid": records.uuid(1, "4"),
    }
    proxy.update_accelerator_request(
        arq.uuid,
        [
            {"op": "add", "path": f"/{name}", "value": value}
            for name, value in values.items()
        ],
    )
    bound = proxy.get_accelerator_request(arq.uuid)
    assert (bound.state, bound.attach_handle_type) == ("Bound", "PCI")
    for request in requests:
        proxy.delete_accelerator_request(request.uuid, ignore_missing=False)
    assert list(proxy.accelerator_requests()) == []
    proxy.delete_device_profile("p", ignore_missing=False)
    with pytest.raises(
        exceptions.NotFoundException, match="No device profile"
    ):
        proxy.delete_device_profile("p", ignore_missing=False)


@pytest.mark.parametrize("version", ["2.0", "2.3", "2.4", "2.6"])
def test_errors_are_told(cloud: connection.Connection, version: str) -> None:
    """Whether they come as an object or as its text."""
    unknown = records.uuid(99)
    response = cloud.accelerator.get(
        f"/devices/{unknown}", microversion=version
    )
    with pytest.raises(exceptions.NotFoundException) as raised:
        exceptions.raise_from_response(response)
    assert unknown in str(raised.value.details)


def test_attributes(cloud: connection.Connection) -> None:
    proxy = cloud.accelerator
    attribute = proxy.create_attribute(
        deployable_id=DEPLOYABLE, key="note", value="x"
    )
    assert proxy.get_attribute(attribute.uuid).value == "x"
    proxy.delete_attribute(attribute.uuid, ignore_missing=False)
