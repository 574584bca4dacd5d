"""What an operator said of devices and hosts holds, whatever happens."""

import contextlib
import json
import shutil
import sqlite3
import time
from typing import Any

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site

# What is kept of hosts does not depend on the engine.
pytestmark = pytest.mark.parametrize("cloud", ["postgresql"], indirect=True)

# As Cloud has it, and one report and answer more.
DOWN_AFTER = 10 + 5
RECONCILE = 4


@pytest.fixture(scope="module")
def running(cloud: services.Cloud) -> services.Cloud:
    """A cloud that compares and removes within seconds."""
    conductor = cloud.conductor(
        options={
            "conductor": {
                "reconcile_interval": RECONCILE,
                "removal_grace": 1,
            }
        }
    )
    api = cloud.api()
    conductor.launch()
    api.launch()
    conductor.wait_ready()
    api.wait_ready()
    return cloud


@pytest.fixture(scope="module")
def admin(running: services.Cloud) -> client.Client:
    return client.Client(running.keystone, running.url, microversion="2.6")


def device_of(compute: site.Compute, admin: client.Client) -> dict[str, Any]:
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    return dict(device)


def service_of(compute: site.Compute, admin: client.Client) -> dict[str, Any]:
    (service,) = admin.get("/services", host=compute.host)["services"]
    return dict(service)


def reserved(compute: site.Compute) -> int:
    provider = compute.provider()
    assert provider is not None
    return int(provider["inventories"]["FPGA"]["reserved"])


def control(compute: site.Compute, **values: Any) -> None:
    """Tell the fake driver what it finds."""
    state = compute.cloud.directory / compute.host
    new = state / "fake-driver.new"
    new.write_text(json.dumps(values))
    new.replace(state / "fake-driver.json")


def full_report(compute: site.Compute) -> None:
    """Have the host report another card count, so all is compared."""
    (before,) = site.rows(
        compute.cloud,
        "SELECT report_digest FROM hosts WHERE hostname = :host",
        host=compute.host,
    )

    def stored() -> bool:
        (row,) = site.rows(
            compute.cloud,
            "SELECT report_digest FROM hosts WHERE hostname = :host",
            host=compute.host,
        )
        return bool(row.report_digest != before.report_digest)

    process.wait_until(stored, f"another report of {compute.host}", 60)


def forget_inventory(compute: site.Compute) -> None:
    """Do to the provider what somebody with access to Placement may."""
    provider = compute.provider()
    assert provider is not None
    placement = compute.cloud.placement
    path = f"/resource_providers/{provider['uuid']}"
    placement.client.put(
        f"{path}/inventories",
        json={
            "inventories": {"FPGA": {"total": site.FAKE_HANDLES}},
            "resource_provider_generation": placement.get(path)["generation"],
        },
    )
    assert reserved(compute) == 0


def heal(compute: site.Compute) -> None:
    compute.cloud.run("manage", "placement", "heal", "--host", compute.host)


def check_status_is_kept(
    compute: site.Compute, admin: client.Client, expected: str, fenced: int
) -> None:
    """Put a device through everything that could bring its status back."""

    def check(after: str) -> None:
        process.wait_until(
            lambda: reserved(compute) == fenced, f"{fenced} after {after}", 30
        )
        assert device_of(compute, admin)["status"] == expected, after

    check("the request")
    control(compute, traits=[f"CUSTOM_{expected.upper()}"])
    full_report(compute)
    check("a report with another trait")
    compute.agent.restart()
    compute.cloud.processes["conductor-control-1"].restart()
    check("a restart")
    forget_inventory(compute)
    heal(compute)
    check("heal")
    forget_inventory(compute)
    check("the next comparison")


def test_a_status_is_kept(compute: site.Compute, admin: client.Client) -> None:
    uuid = device_of(compute, admin)["uuid"]
    body = [
        {
            "op": "replace",
            "path": "/status",
            "value": "maintaining",
            "reason": "its fan is broken",
        }
    ]
    admin.ask("PATCH", f"/devices/{uuid}", 200, json=body)
    check_status_is_kept(compute, admin, "maintaining", site.FAKE_HANDLES)
    assert device_of(compute, admin)["status_reason"] == "its fan is broken"
    admin.ask("POST", f"/devices/{uuid}/enable", 200)
    check_status_is_kept(compute, admin, "enabled", 0)
    assert device_of(compute, admin)["uuid"] == uuid


def test_forced_down_fences_and_comes_back(
    compute: site.Compute, admin: client.Client
) -> None:
    path = f"/services/{service_of(compute, admin)['id']}"
    admin.ask("PUT", path, 200, json={"forced_down": True})
    assert reserved(compute) == site.FAKE_HANDLES
    # A report, a restart and a repair do not lift it.
    control(compute, traits=["CUSTOM_FORCED_DOWN"])
    full_report(compute)
    compute.agent.restart()
    heal(compute)
    time.sleep(RECONCILE)
    assert reserved(compute) == site.FAKE_HANDLES
    service = service_of(compute, admin)
    assert (service["state"], service["forced_down"]) == ("down", True)
    # It says nothing of the device itself.
    assert device_of(compute, admin)["status"] == "enabled"
    admin.ask("PUT", path, 200, json={"forced_down": False})
    assert reserved(compute) == 0
    site.check_agreement(compute, given=0)


def test_a_dead_agent_is_shown_and_keeps_its_devices(
    compute: site.Compute, admin: client.Client
) -> None:
    before = device_of(compute, admin)
    compute.agent.kill()
    try:
        process.wait_until(
            lambda: service_of(compute, admin)["state"] == "down",
            "the agent shown as down",
            DOWN_AFTER,
        )
        time.sleep(RECONCILE)
        assert device_of(compute, admin)["uuid"] == before["uuid"]
        # It is silent, and nothing else.
        assert not service_of(compute, admin)["forced_down"]
        site.check_agreement(compute, given=0)
    finally:
        compute.agent.start()
    process.wait_until(
        lambda: service_of(compute, admin)["state"] == "up",
        "the agent shown as up",
        60,
    )
    assert device_of(compute, admin)["uuid"] == before["uuid"]


def test_a_driver_that_fails_loses_nothing(
    compute: site.Compute, admin: client.Client
) -> None:
    before = device_of(compute, admin)
    control(compute, discover={"fail": "the bus is on fire"})

    def failed() -> dict[str, Any] | None:
        (driver,) = service_of(compute, admin)["drivers"]
        return driver if driver["state"] == "failed" else None

    driver = process.wait_until(failed, "the driver shown as failed", 60)
    assert "the bus is on fire" in driver["error"]
    # Far longer than the grace of one second.
    time.sleep(RECONCILE)
    assert device_of(compute, admin)["uuid"] == before["uuid"]
    site.check_agreement(compute, given=0)
    control(compute)
    process.wait_until(lambda: not failed(), "the driver well again", 60)
    assert device_of(compute, admin)["uuid"] == before["uuid"]
    site.check_agreement(compute, given=0)


def test_placement_from_an_old_backup(
    compute: site.Compute, admin: client.Client
) -> None:
    placement = compute.cloud.placement
    database = placement.directory / "placement.sqlite"
    backup = placement.directory / "placement.sqlite.backup"
    placement.process.terminate()
    shutil.copy(database, backup)
    placement.process.start()
    # What the backup does not know: a fence, another trait, a new host.
    uuid = device_of(compute, admin)["uuid"]

    def disabled() -> bool:
        path = f"/devices/{uuid}/disable"
        return bool(admin.request("POST", path).status_code == 200)

    process.wait_until(disabled, "the device disabled", 60)
    control(compute, traits=["CUSTOM_SINCE_THE_BACKUP"])

    def known() -> bool:
        provider = compute.provider()
        assert provider is not None
        return "CUSTOM_SINCE_THE_BACKUP" in provider["traits"]

    process.wait_until(known, "the new trait", 60)
    assert reserved(compute) == site.FAKE_HANDLES

    placement.process.terminate()
    shutil.copy(backup, database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        traits = connection.execute("SELECT name FROM traits").fetchall()
    assert ("CUSTOM_SINCE_THE_BACKUP",) not in traits
    placement.process.start()

    def converged() -> bool:
        return known() and reserved(compute) == site.FAKE_HANDLES

    # No service was restarted.
    process.wait_until(converged, "Placement as it was", 60)
    admin.ask("POST", f"/devices/{uuid}/enable", 200)
    site.check_agreement(compute, given=0)


def test_placement_away_while_a_host_reports(
    compute: site.Compute, admin: client.Client
) -> None:
    placement = compute.cloud.placement
    uuid = device_of(compute, admin)["uuid"]
    placement.process.kill()
    try:
        control(compute, traits=["CUSTOM_WHILE_AWAY"])
        full_report(compute)
        refused = admin.ask("POST", f"/devices/{uuid}/disable", 503)
        assert "is stored" in json.dumps(refused)
        assert device_of(compute, admin)["status"] == "maintaining"
        process.wait_until(
            lambda: service_of(compute, admin)["last_error"],
            "the outage shown",
            30,
        )
    finally:
        placement.process.start()

    def converged() -> bool:
        provider = compute.provider()
        assert provider is not None
        return (
            "CUSTOM_WHILE_AWAY" in provider["traits"]
            and reserved(compute) == site.FAKE_HANDLES
        )

    process.wait_until(converged, "what was missed", 60)
    process.wait_until(
        lambda: service_of(compute, admin)["last_error"] is None,
        "the outage forgotten",
        30,
    )
    admin.ask("POST", f"/devices/{uuid}/enable", 200)
    site.check_agreement(compute, given=0)
