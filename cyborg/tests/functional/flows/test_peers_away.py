"""Placement and the API come back; agents and conductors go on."""

import uuid

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site

# Who waits for a peer does not depend on the engine.
pytestmark = pytest.mark.parametrize("cloud", ["mysql"], indirect=True)


def test_placement_is_told_when_it_is_back(
    running: services.Cloud, compute: site.Compute, admin: client.Client
) -> None:
    host = f"compute-{uuid.uuid4().hex[:8]}"
    root = running.placement.create_provider(host)
    agent = running.agent(host)
    # Its name is looked up while Placement is there, the report comes after.
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    running.placement.process.kill()
    try:
        admin.ask("POST", f"/devices/{device['uuid']}/disable", 503)
        assert admin.get(f"/devices/{device['uuid']}")["uuid"]
    finally:
        running.placement.process.start()

    def fenced() -> bool:
        provider = compute.provider()
        assert provider is not None
        inventory = provider["inventories"]["FPGA"]
        return bool(inventory["reserved"] == inventory["total"])

    process.wait_until(fenced, "the device fenced off", 90)
    admin.ask("POST", f"/devices/{device['uuid']}/enable", 204)
    site.check_agreement(compute, given=0)
    agent.start()
    process.wait_until(
        lambda: running.placement.tree(root), f"a provider below {host}", 90
    )
    agent.terminate()


def test_api_ends_when_asked(running: services.Cloud) -> None:
    api = running.processes["api-api-1"]
    assert api.terminate() == 0
    api.start()
