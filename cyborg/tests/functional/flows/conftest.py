"""A Cyborg that runs: daemons started once for the tests of a module."""

from collections.abc import Iterator
import uuid

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site


@pytest.fixture(scope="module")
def running(cloud: services.Cloud) -> services.Cloud:
    """A cloud with a conductor and an API; ``cloud`` stops them."""
    conductor = cloud.conductor()
    api = cloud.api()
    conductor.launch()
    api.launch()
    conductor.wait_ready()
    api.wait_ready()
    return cloud


@pytest.fixture(scope="module")
def compute(running: services.Cloud) -> site.Compute:
    """A compute host whose agent has reported the fake driver's device."""
    return site.start_compute(running)


@pytest.fixture(scope="module")
def admin(running: services.Cloud) -> client.Client:
    return client.Client(running.keystone, running.url)


@pytest.fixture
def project(running: services.Cloud) -> str:
    """A project with a member whose name is the project's."""
    name = running.keystone.new_project()
    running.keystone.ensure_user(name, name, "member")
    return name


@pytest.fixture
def member(running: services.Cloud, project: str) -> client.Client:
    """What a user of the project sees."""
    return client.Client(running.keystone, running.url, project, project)


@pytest.fixture
def nova_for_member(running: services.Cloud, project: str) -> client.Client:
    """Nova acting for that user: both tokens."""
    return client.Client(
        running.keystone,
        running.url,
        project,
        project,
        service_user=services.NOVA_USER,
    )


@pytest.fixture
def profile(admin: client.Client) -> Iterator[str]:
    """Name of a profile that asks for two of the fake driver's FPGAs."""
    name = f"two-fpgas-{uuid.uuid4().hex[:8]}"
    groups = [{"resources:FPGA": "2", "trait:CUSTOM_FAKE_DEVICE": "required"}]
    admin.post("/device_profiles", [{"name": name, "groups": groups}])
    yield name
    admin.delete(f"/device_profiles/{name}")
