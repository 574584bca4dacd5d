"""Quotas whose limits are in a real Keystone, as the guide sets them up."""

from collections.abc import Callable
from typing import Any
import uuid

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site

# Quotas on other engines are the tests' of the conductor.
pytestmark = pytest.mark.parametrize("cloud", ["mysql"], indirect=True)

REQUESTS = "accelerator_requests"
FPGA = "class:FPGA"
QAT = "class:CUSTOM_QAT"


@pytest.fixture(scope="module")
def running(cloud: services.Cloud) -> services.Cloud:
    """A cloud whose projects have quotas, and one device."""
    cloud.keystone.register_limits(
        "accelerator", **{REQUESTS: 6, FPGA: 3, QAT: -1}
    )
    cloud.keystone.ensure_system_role(services.SERVICE_USER, "reader")
    conductor = cloud.conductor(
        options={
            "quota": {"driver": "unified_limits"},
            "oslo_limit": {
                "auth_type": "password",
                "auth_url": cloud.keystone.url,
                "username": services.SERVICE_USER,
                "user_domain_name": "Default",
                "password": cloud.keystone.credentials()["password"],
                "system_scope": "all",
                "endpoint_service_type": "accelerator",
                "endpoint_region_name": "RegionOne",
            },
        }
    )
    api = cloud.api()
    conductor.launch()
    api.launch()
    conductor.wait_ready()
    api.wait_ready()
    return cloud


@pytest.fixture
def profile_of(admin: client.Client) -> Callable[..., str]:
    """Makes a profile that asks for so much of classes; returns its name."""

    def make(**classes: int) -> str:
        name = f"quotas-{uuid.uuid4().hex[:8]}"
        groups = [
            {f"resources:{resource_class}": str(count)}
            for resource_class, count in classes.items()
        ]
        admin.post("/device_profiles", [{"name": name, "groups": groups}])
        return name

    return make


def create(
    member: client.Client, profile: str, status: int = 201
) -> dict[str, Any]:
    body = {"device_profile_name": profile}
    return dict(member.post("/accelerator_requests", body, status))


def usages(member: client.Client) -> dict[str, tuple[int, int]]:
    """Return what the member's project has: in use, and reserved."""
    found = member.ask(
        "GET",
        "/quota_usages",
        200,
        headers={"OpenStack-API-Version": "accelerator 2.6"},
    )
    return {
        usage["resource"]: (usage["in_use"], usage["reserved"])
        for usage in found["quota_usages"]
    }


def refusal(member: client.Client, profile: str) -> str:
    return str(create(member, profile, 403))


def test_a_registered_limit_holds_for_each_project(
    member: client.Client, admin: client.Client, profile_of: Any
) -> None:
    two = profile_of(FPGA=2)
    first = create(member, two)["arqs"]
    assert (
        "Quota exceeded for class:FPGA: limit 3, in use 2, asked for 2."
        in refusal(member, two)
    )
    assert usages(member) == {REQUESTS: (0, 2), FPGA: (0, 2)}
    create(member, profile_of(FPGA=1))
    for arq in first:
        member.delete("/accelerator_requests", arqs=arq["uuid"])
    # What was given back can be had again.
    create(member, two)
    assert usages(member) == {REQUESTS: (0, 3), FPGA: (0, 3)}
    # Others have quotas of their own.
    create(admin, two)


def test_a_project_has_limits_of_its_own(
    running: services.Cloud,
    project: str,
    member: client.Client,
    profile_of: Any,
) -> None:
    running.keystone.limit_project(
        project, "accelerator", **{REQUESTS: 8, FPGA: 1}
    )
    # All of a profile, or nothing.
    both = profile_of(FPGA=2, CUSTOM_QAT=1)
    assert "class:FPGA: limit 1, in use 0, asked for 2" in refusal(
        member, both
    )
    assert usages(member) == {}
    # What is unlimited is so up to the number of requests.
    create(member, profile_of(CUSTOM_QAT=7))
    assert "accelerator_requests: limit 8, in use 7, asked for 2" in refusal(
        member, profile_of(FPGA=1, CUSTOM_QAT=1)
    )
    create(member, profile_of(FPGA=1))
    assert usages(member) == {REQUESTS: (0, 8), FPGA: (0, 1), QAT: (0, 7)}


def test_a_class_without_a_limit_cannot_be_had(
    member: client.Client, profile_of: Any
) -> None:
    assert "class:PGPU: limit 0, in use 0, asked for 1" in refusal(
        member, profile_of(PGPU=1)
    )


def test_usages_follow_a_device_to_a_server_and_back(
    running: services.Cloud,
    compute: site.Compute,
    member: client.Client,
    nova_for_member: client.Client,
    profile_of: Any,
) -> None:
    arqs = create(member, profile_of(FPGA=2))["arqs"]
    provider = compute.provider()
    assert provider is not None
    instance = str(uuid.uuid4())
    nova_for_member.patch(
        "/accelerator_requests",
        client.bind_body(arqs, compute.host, provider["uuid"], instance),
    )
    assert usages(member) == {REQUESTS: (2, 0), FPGA: (2, 0)}
    nova_for_member.delete("/accelerator_requests", instance=instance)
    assert set(usages(member).values()) == {(0, 0)}
    recounted = running.run("manage", "quota", "recount", "--dry-run")
    assert "All usages are right." in recounted
