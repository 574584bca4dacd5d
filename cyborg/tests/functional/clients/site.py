"""What the clients meet: a whole cloud with one fake device."""

from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib

from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import rabbit
from cyborg.tests.fixtures import services
from cyborg.tests.functional.faults import peers
from cyborg.tests.functional.flows import site as flows_site

IMAGE = "8b6f4d3c-1f0a-4e57-9d0e-53a1c3b7a001"


@dataclasses.dataclass
class Site:
    """A cloud in which everything runs.

    :ivar noauth_url: the same API for clients without Keystone; everybody is
        an administrator with a service token there
    """

    cloud: services.Cloud
    compute: flows_site.Compute
    glance: peers.Glance
    noauth_url: str

    def wait_fenced(self, fenced: bool) -> None:
        """Wait until Placement has all of the device reserved, or nothing.

        Clients do not look at the answer to enable and disable, which is 503
        where that is done a little later.
        """

        def is_so() -> bool:
            provider = self.compute.provider()
            assert provider is not None
            return (provider["inventories"]["FPGA"]["reserved"] > 0) is fenced

        process.wait_until(is_so, f"the device fenced: {fenced}", 60)


def _start_noauth(cloud: services.Cloud) -> str:
    """Serve the API a second time, without Keystone; return its URL."""
    port = process.free_port()
    url = f"http://127.0.0.1:{port}/accelerator"
    api = cloud.api(
        "api-noauth",
        {
            "DEFAULT": {"auth_strategy": "noauth2"},
            "api": {"host_ip": "127.0.0.1", "port": port},
        },
    )
    api.launch()
    process.wait_until(lambda: process.answers(url), url)
    return url


@contextlib.contextmanager
def running(
    directory: pathlib.Path,
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    nova: nova_events.NovaEvents,
) -> Iterator[Site]:
    """Provide a cloud on MariaDB and RabbitMQ, with Glance's stand-in."""
    glance = peers.Glance({"function": IMAGE})
    glance.start()
    with contextlib.ExitStack() as stack:
        stack.callback(glance.stop)
        cloud = services.Cloud(
            directory,
            keystone,
            placement,
            nova,
            stack.enter_context(database.database("mysql")),
            stack.enter_context(rabbit.virtual_host()),
        )
        cloud.prepare()
        keystone.ensure_endpoint("image", f"{glance.url}/v2")
        stack.callback(cloud.stop)
        conductor, api = cloud.conductor(), cloud.api()
        conductor.launch()
        api.launch()
        conductor.wait_ready()
        api.wait_ready()
        compute = flows_site.start_compute(cloud)
        yield Site(cloud, compute, glance, _start_noauth(cloud))
