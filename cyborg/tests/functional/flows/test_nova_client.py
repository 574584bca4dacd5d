"""Nova's own client module, unchanged, against a running Cyborg."""

from collections.abc import Iterator
import uuid

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import nova_client
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site


@pytest.fixture
def nova_compute(
    running: services.Cloud, project: str
) -> Iterator[nova_client.NovaClient]:
    """Nova's client, acting for the member of ``project``."""
    directory = running.directory / f"nova-{project}"
    directory.mkdir()
    made = nova_client.NovaClient(
        directory, running.keystone, project, project, services.NOVA_USER
    )
    yield made
    made.close()


def test_life_of_an_instance(
    compute: site.Compute,
    profile: str,
    nova_compute: nova_client.NovaClient,
    nova: nova_events.NovaEvents,
) -> None:
    groups = nova_compute.call("get_device_profile_groups", profile)
    assert groups == [
        {"resources:FPGA": "2", "trait:CUSTOM_FAKE_DEVICE": "required"}
    ]
    provider = compute.provider()
    assert provider is not None
    arqs = nova_compute.call(
        "create_arqs_and_match_resource_providers",
        profile,
        {"device_profile_0": [provider["uuid"]]},
    )
    assert len(arqs) == 2
    instance = str(uuid.uuid4())
    bindings = {
        arq["uuid"]: {
            "hostname": compute.host,
            "device_rp_uuid": arq["device_rp_uuid"],
            "instance_uuid": instance,
        }
        for arq in arqs
    }
    nova_compute.call("bind_arqs", bindings)
    nova_compute.call("bind_arqs", bindings)
    resolved = nova_compute.call("get_arqs_for_instance", instance, True)
    assert {arq["uuid"] for arq in resolved} == set(bindings)
    assert {arq["state"] for arq in resolved} == {"Bound"}
    one = nova_compute.call("get_arq_by_uuid", arqs[0]["uuid"])
    assert one["instance_uuid"] == instance
    nova.wait_for(instance, 2)

    nova_compute.call("delete_arqs_for_instance", instance)
    nova_compute.call("delete_arqs_for_instance", instance)
    with pytest.raises(nova_client.NovaClientError, match="no accelerator"):
        nova_compute.call("get_arqs_for_instance", instance)
    assert site.handles_in_use(compute) == 0


def test_clean_up_after_a_failed_bind(
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_compute: nova_client.NovaClient,
) -> None:
    arqs = nova_compute.call("create_arqs", profile)
    bindings = {
        arq["uuid"]: {
            "hostname": compute.host,
            "device_rp_uuid": str(uuid.uuid4()),
            "instance_uuid": str(uuid.uuid4()),
        }
        for arq in arqs
    }
    with pytest.raises(nova_client.NovaClientError) as caught:
        nova_compute.call("bind_arqs", bindings)
    assert caught.value.name == "AcceleratorRequestBindingFailed"
    # One that is gone already does not keep the others.
    gone = str(uuid.uuid4())
    nova_compute.call("delete_arqs_by_uuid", [gone, *bindings])
    assert member.get("/accelerator_requests")["arqs"] == []


def test_unknown_profile_refuses_the_boot(
    compute: site.Compute, nova_compute: nova_client.NovaClient
) -> None:
    with pytest.raises(nova_client.NovaClientError) as caught:
        nova_compute.call("get_device_profile_groups", "no-such-profile")
    assert caught.value.name == "DeviceProfileError"
    with pytest.raises(nova_client.NovaClientError) as caught:
        nova_compute.call("create_arqs", "no-such-profile")
    assert caught.value.name == "AcceleratorRequestOpFailed"
