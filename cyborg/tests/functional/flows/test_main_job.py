"""The main job, from a report to a deleted instance, over real peers."""

import uuid

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site


def claim(compute: site.Compute, groups: list[dict[str, str]]) -> str:
    """Let Placement choose this host's device for a new instance."""
    placement = compute.cloud.placement
    provider = compute.provider()
    assert provider is not None
    (offer,) = [
        offer
        for offer in placement.candidates(groups)
        if provider["uuid"] in offer["allocations"]
    ]
    instance = str(uuid.uuid4())
    placement.allocate(instance, offer)
    return instance


def test_report_reaches_database_placement_and_api(
    compute: site.Compute, admin: client.Client
) -> None:
    site.check_agreement(compute, given=0)
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    assert device["type"] == "FPGA"
    deployables = admin.get("/deployables")["deployables"]
    (deployable,) = [
        one for one in deployables if one["name"] == compute.provider_name
    ]
    assert deployable["num_accelerators"] == site.FAKE_HANDLES
    provider = compute.provider()
    assert provider is not None
    assert deployable["rp_uuid"] == provider["uuid"]


def test_boot_and_delete(
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    found = member.get("/device_profiles", name=profile)["device_profiles"]
    instance = claim(compute, found[0]["groups"])
    provider = compute.provider()
    assert provider is not None

    arqs = member.post(
        "/accelerator_requests", {"device_profile_name": profile}
    )["arqs"]
    assert [arq["state"] for arq in arqs] == ["Initial", "Initial"]
    assert site.handles_in_use(compute) == 0

    body = client.bind_body(arqs, compute.host, provider["uuid"], instance)
    member.patch("/accelerator_requests", body, status=403)
    assert site.handles_in_use(compute) == 0
    nova_for_member.patch("/accelerator_requests", body)
    # Nova repeats a request whose answer was lost.
    nova_for_member.patch("/accelerator_requests", body)
    site.check_agreement(compute, given=2)

    bound = nova_for_member.get("/accelerator_requests", instance=instance)
    assert {arq["uuid"] for arq in bound["arqs"]} == {
        arq["uuid"] for arq in arqs
    }
    for arq in bound["arqs"]:
        assert arq["state"] == "Bound"
        assert arq["hostname"] == compute.host
        assert arq["device_rp_uuid"] == provider["uuid"]
        assert arq["attach_handle_type"] == "TEST_PCI"
        assert set(arq["attach_handle_info"]) >= {
            *("domain", "bus", "device", "function")
        }
    places = {str(arq["attach_handle_info"]) for arq in bound["arqs"]}
    assert len(places) == 2

    events = nova.wait_for(instance, 2)
    assert {event["tag"] for event in events} == {arq["uuid"] for arq in arqs}
    for event in events:
        assert event["name"] == "accelerator-request-bound"
        assert event["status"] == "completed"

    member.ask("DELETE", f"/accelerator_requests?instance={instance}", 403)
    nova_for_member.delete("/accelerator_requests", instance=instance)
    nova_for_member.delete("/accelerator_requests", instance=instance)
    compute.cloud.placement.deallocate(instance)
    assert member.get("/accelerator_requests")["arqs"] == []
    site.check_agreement(compute, given=0)


def test_no_more_than_there_is(
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
) -> None:
    provider = compute.provider()
    assert provider is not None
    instances = []
    for _ in range(site.FAKE_HANDLES // 2):
        found = member.get("/device_profiles", name=profile)
        instance = claim(compute, found["device_profiles"][0]["groups"])
        instances.append(instance)
        arqs = member.post(
            "/accelerator_requests", {"device_profile_name": profile}
        )["arqs"]
        nova_for_member.patch(
            "/accelerator_requests",
            client.bind_body(arqs, compute.host, provider["uuid"], instance),
        )
    site.check_agreement(compute, given=site.FAKE_HANDLES)

    late = member.post(
        "/accelerator_requests", {"device_profile_name": profile}
    )["arqs"]
    body = client.bind_body(
        late, compute.host, provider["uuid"], str(uuid.uuid4())
    )
    nova_for_member.patch("/accelerator_requests", body, status=409)
    site.check_agreement(compute, given=site.FAKE_HANDLES)

    uuids = ",".join(arq["uuid"] for arq in late)
    member.delete("/accelerator_requests", arqs=uuids)
    for instance in instances:
        nova_for_member.delete("/accelerator_requests", instance=instance)
        compute.cloud.placement.deallocate(instance)
    site.check_agreement(compute, given=0)


def test_other_projects_see_nothing(
    running: services.Cloud, profile: str, member: client.Client
) -> None:
    stranger_name = running.keystone.new_project("stranger")
    running.keystone.ensure_user(stranger_name, stranger_name, "member")
    stranger = client.Client(
        running.keystone, running.url, stranger_name, stranger_name
    )
    (first, second) = member.post(
        "/accelerator_requests", {"device_profile_name": profile}
    )["arqs"]
    assert stranger.get("/accelerator_requests")["arqs"] == []
    stranger.get(f"/accelerator_requests/{first['uuid']}", status=404)
    stranger.delete(f"/accelerator_requests/{first['uuid']}", status=404)
    unscoped = client.Client(
        running.keystone, running.url, stranger_name, None
    )
    assert unscoped.request("GET", "/accelerator_requests").status_code in (
        401,
        403,
    )
    for arq in (first, second):
        member.delete(f"/accelerator_requests/{arq['uuid']}")


def test_disabled_device_stays_fenced_off(
    compute: site.Compute, admin: client.Client
) -> None:
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    admin.ask("POST", f"/devices/{device['uuid']}/disable", 204)
    site.check_agreement(compute, given=0)
    # A new report of the same hardware changes nothing.
    compute.agent.restart()
    process.wait_until(
        lambda: admin.request("GET", "/devices").status_code == 200,
        "the API answering",
    )
    site.check_agreement(compute, given=0)
    provider = compute.provider()
    assert provider is not None
    inventory = provider["inventories"]["FPGA"]
    assert inventory["reserved"] == inventory["total"]
    admin.ask("POST", f"/devices/{device['uuid']}/enable", 204)
    site.check_agreement(compute, given=0)


def test_provider_name_may_differ_from_host_name(
    running: services.Cloud, admin: client.Client
) -> None:
    node = f"node-{uuid.uuid4().hex[:8]}.example.org"
    host = node.partition(".")[0]
    root = running.placement.create_provider(node)
    agent = running.agent(host, provider=node)
    agent.start()
    (provider,) = process.wait_until(
        lambda: running.placement.tree(root), f"a provider below {node}", 60
    )
    assert provider == f"{host}_FakeDevice"
    (device,) = admin.get("/devices", hostname=node)["devices"]
    assert device["hostname"] == node
    agent.terminate()
