"""openstacksdk and the command line find Cyborg in the catalog and use it."""

import json
import re
import sys
import uuid

import openstack

from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site


def test_sdk(compute: site.Compute) -> None:
    cloud = openstack.connection.Connection(
        session=compute.cloud.keystone.session(),
        region_name=keystone_fixture.REGION,
    )
    (device,) = cloud.accelerator.devices(hostname=compute.host)
    assert cloud.accelerator.get_device(device.id).type == "FPGA"
    # One record a page: a list that does not end would never return.
    names = [one.name for one in cloud.accelerator.deployables(limit=1)]
    assert compute.provider_name in names

    name = f"sdk-{uuid.uuid4().hex[:8]}"
    groups = [{"resources:FPGA": "1"}]
    profile = cloud.accelerator.create_device_profile(name=name, groups=groups)
    request = cloud.accelerator.create_accelerator_request(
        device_profile_name=name
    )
    assert request.state == "Initial"
    cloud.accelerator.delete_accelerator_request(
        request.id, ignore_missing=False
    )
    cloud.accelerator.delete_device_profile(profile.id, ignore_missing=False)
    assert name not in [
        one.name for one in cloud.accelerator.device_profiles()
    ]


def test_command_line(compute: site.Compute, running: services.Cloud) -> None:
    credentials = running.keystone.credentials()
    environment = {
        f"OS_{name.upper()}": value for name, value in credentials.items()
    }

    def run(*arguments: str, as_json: bool = True) -> object:
        text = process.run(
            [
                *(sys.executable, "-W", "ignore", "-m"),
                *("openstackclient.shell", "accelerator", *arguments),
                *(["-f", "json"] if as_json else []),
            ],
            running.directory,
            environment,
        )
        if not as_json:
            return text
        # What libraries have to complain about comes before the answer.
        found = re.search(r"^[\[{]", text, re.MULTILINE)
        assert found, text
        return json.loads(text[found.start() :])

    devices = run("device", "list")
    assert isinstance(devices, list)
    assert compute.host in [device["hostname"] for device in devices]
    name = f"cli-{uuid.uuid4().hex[:8]}"
    groups = json.dumps([{"resources:FPGA": "1"}])
    created = run("device", "profile", "create", name, groups)
    assert isinstance(created, dict)
    assert created["name"] == name
    run("device", "profile", "delete", name, as_json=False)
