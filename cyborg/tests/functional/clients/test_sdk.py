"""Every method of openstacksdk's accelerator proxy and cloud layer.

But ``update_deployable``, which only calls itself.
"""

from collections.abc import Iterator
from typing import Any
import uuid

from keystoneauth1 import service_token
from keystoneauth1 import session as ks_session
from openstack import connection
from openstack import exceptions
import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import services
from cyborg.tests.functional.clients import site as clients_site

GROUPS = [{"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}]


def connect(
    site: clients_site.Site,
    user: str = "admin",
    project: str = "admin",
    service_user: str | None = None,
    **options: Any,
) -> connection.Connection:
    """Return a connection that finds the API in Keystone's catalog."""
    keystone = site.cloud.keystone
    session = keystone.session(user, project)
    if service_user is not None:
        service = keystone.session(service_user, "service")
        assert session.auth is not None
        assert service.auth is not None
        session = ks_session.Session(
            service_token.ServiceTokenAuthWrapper(session.auth, service.auth)
        )
    return connection.Connection(session=session, **options)


@pytest.fixture(scope="module", params=["2.0", "2.3", "2.6"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def admin(site: clients_site.Site, version: str) -> connection.Connection:
    return connect(site, accelerator_default_microversion=version)


@pytest.fixture(scope="module")
def member_name(site: clients_site.Site) -> str:
    """Name of a project and of its member."""
    name = site.cloud.keystone.new_project()
    site.cloud.keystone.ensure_user(name, name, "member")
    return name


@pytest.fixture(scope="module")
def member(
    site: clients_site.Site, version: str, member_name: str
) -> connection.Connection:
    return connect(
        site,
        member_name,
        member_name,
        accelerator_default_microversion=version,
    )


@pytest.fixture(scope="module")
def nova(
    site: clients_site.Site, version: str, member_name: str
) -> connection.Connection:
    """The member with a service token beside the own one."""
    return connect(
        site,
        member_name,
        member_name,
        services.NOVA_USER,
        accelerator_default_microversion=version,
    )


@pytest.fixture
def profile(admin: connection.Connection) -> Iterator[str]:
    made = admin.accelerator.create_device_profile(
        name=f"sdk-{uuid.uuid4().hex[:8]}", groups=GROUPS
    )
    yield made.name
    admin.accelerator.delete_device_profile(made.name, ignore_missing=False)


def bind(site: clients_site.Site, instance: str) -> list[dict[str, str]]:
    """Return the operations that bind a request to the fake device."""
    provider = site.compute.provider()
    assert provider is not None
    (operations,) = client.bind_body(
        [{"uuid": ""}], site.compute.host, provider["uuid"], instance
    ).values()
    return operations


UNBIND = [
    {"op": "remove", "path": f"/{name}"}
    for name in ("hostname", "device_rp_uuid", "instance_uuid")
]


def test_devices(
    site: clients_site.Site, admin: connection.Connection, version: str
) -> None:
    proxy = admin.accelerator
    (device,) = proxy.devices()
    assert device.hostname == site.compute.host
    assert device.type == "FPGA"
    assert device.vendor == "0xABCD"
    assert [one.id for one in proxy.devices(hostname=device.hostname)] == [
        device.id
    ]
    assert list(proxy.devices(hostname="another")) == []
    shown = proxy.get_device(device.id)
    assert shown.to_dict() == device.to_dict()

    proxy.disable_device(device)
    site.wait_fenced(True)
    if version != "2.0":
        assert proxy.get_device(device.id).status == "maintaining"
    proxy.enable_device(device.id)
    site.wait_fenced(False)
    if version != "2.0":
        assert proxy.get_device(device.id).status == "enabled"
    with pytest.raises(exceptions.NotFoundException) as caught:
        proxy.get_device(str(uuid.uuid4()))
    assert "no device" in str(caught.value).lower()


def test_deployables(
    site: clients_site.Site, admin: connection.Connection
) -> None:
    proxy = admin.accelerator
    (deployable,) = proxy.deployables()
    assert deployable.name == site.compute.provider_name
    assert deployable.num_accelerators == 16
    assert proxy.get_deployable(deployable.id).name == deployable.name
    patched = proxy.patch_deployable(
        deployable,
        [
            {
                "op": "replace",
                "path": "/program",
                "value": [{"image_uuid": clients_site.IMAGE}],
            }
        ],
    )
    assert patched.id == deployable.id
    shown = client.Client(site.cloud.keystone, site.cloud.url).get(
        f"/deployables/{deployable.id}"
    )
    assert shown["bitstream_id"] == clients_site.IMAGE
    with pytest.raises(exceptions.NotFoundException, match=r"(?i)image"):
        proxy.patch_deployable(
            deployable.id,
            [
                {
                    "op": "replace",
                    "path": "/program",
                    "value": [{"image_uuid": str(uuid.uuid4())}],
                }
            ],
        )


def test_device_profiles(
    admin: connection.Connection, member: connection.Connection, version: str
) -> None:
    proxy = admin.accelerator
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    made = proxy.create_device_profile(
        name=name, groups=GROUPS, description="one"
    )
    assert (made.name, made.groups, made.description) == (name, GROUPS, "one")
    assert made.updated_at is None
    assert proxy.get_device_profile(made.id).to_dict() == made.to_dict()
    assert member.accelerator.get_device_profile(made.id).groups == GROUPS
    listed = list(member.accelerator.device_profiles(name=name))
    assert [one.id for one in listed] == [made.id]
    if version == "2.0":
        with pytest.raises(exceptions.HttpException, match=r"2\.2"):
            proxy.get_device_profile(name)
    else:
        assert proxy.get_device_profile(name).uuid == made.id
    with pytest.raises(exceptions.ConflictException, match=name):
        proxy.create_device_profile(name=name, groups=GROUPS)
    with pytest.raises(exceptions.ForbiddenException, match="create"):
        member.accelerator.create_device_profile(name="x", groups=GROUPS)
    with pytest.raises(exceptions.BadRequestException, match="PGPU"):
        proxy.create_device_profile(name="x", groups=[{"resources:GPU": "1"}])
    proxy.delete_device_profile(made, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException):
        proxy.delete_device_profile(made.id, ignore_missing=False)
    assert proxy.delete_device_profile(made.id) is None


def test_accelerator_requests(
    site: clients_site.Site,
    member: connection.Connection,
    nova: connection.Connection,
    admin: connection.Connection,
    profile: str,
) -> None:
    proxy = member.accelerator
    made = proxy.create_accelerator_request(device_profile_name=profile)
    assert (made.state, made.device_profile_name) == ("Initial", profile)
    assert proxy.get_accelerator_request(made.id).to_dict() == made.to_dict()
    assert [one.id for one in proxy.accelerator_requests()] == [made.id]
    assert made.id in [
        one.id for one in admin.accelerator.accelerator_requests()
    ]
    operations = bind(site, str(uuid.uuid4()))
    with pytest.raises(exceptions.ForbiddenException, match="service token"):
        proxy.patch_accelerator_request(made.id, operations)
    nova.accelerator.patch_accelerator_request(made, operations)
    bound = proxy.wait_for_status(
        proxy.get_accelerator_request(made.id),
        "Bound",
        attribute="state",
        interval=0.1,
        wait=10,
    )
    assert bound.hostname == site.compute.host
    assert bound.attach_handle_type == "TEST_PCI"
    assert bound.attach_handle_info["bus"] == "0c"
    nova.accelerator.update_accelerator_request(made.id, UNBIND)
    unbound = proxy.get_accelerator_request(made.id)
    assert (unbound.state, unbound.attach_handle_info) == ("Unbound", {})
    proxy.delete_accelerator_request(made, ignore_missing=False)
    assert proxy.wait_for_delete(unbound, interval=0.1, wait=10)
    with pytest.raises(exceptions.NotFoundException, match=made.id):
        proxy.delete_accelerator_request(made.id, ignore_missing=False)
    assert list(proxy.accelerator_requests()) == []


def test_attributes(admin: connection.Connection) -> None:
    proxy = admin.accelerator
    (deployable,) = proxy.deployables()
    key = f"rack-{uuid.uuid4().hex[:8]}"
    made = proxy.create_attribute(
        deployable_id=deployable.id, key=key, value="7"
    )
    assert (made.key, made.value) == (key, "7")
    again = proxy.create_attribute(
        deployable_id=made.deployable_id, key=f"{key}-2", value="8"
    )
    assert again.deployable_id == made.deployable_id
    assert proxy.get_attribute(made.id).to_dict() == made.to_dict()
    assert [one.id for one in proxy.attributes(key=key)] == [made.id]
    proxy.delete_attribute(made, ignore_missing=False)
    proxy.delete_attribute(again.id, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException, match=made.id):
        proxy.get_attribute(made.id)


def test_cloud_layer(
    site: clients_site.Site,
    admin: connection.Connection,
    member: connection.Connection,
    nova: connection.Connection,
) -> None:
    (device,) = admin.list_devices({"type": "FPGA"})
    assert device.hostname == site.compute.host
    (deployable,) = admin.list_deployables()
    assert deployable.name == site.compute.provider_name
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    admin.create_device_profile({"name": name, "groups": GROUPS})
    assert name in [one.name for one in member.list_device_profiles()]

    made = member.create_accelerator_request({"device_profile_name": name})
    assert [one.id for one in member.list_accelerator_requests()] == [made.id]
    instance = str(uuid.uuid4())
    nova.bind_accelerator_request(made.id, bind(site, instance))
    (bound,) = member.list_accelerator_requests({"instance_uuid": instance})
    assert bound.state == "Bound"
    nova.unbind_accelerator_request(made.id, UNBIND)
    nova.patch_accelerator_request(made.id, UNBIND)
    assert member.delete_accelerator_request(made.id)
    assert member.list_accelerator_requests() == []
    assert admin.delete_device_profile(name)
    assert name not in [one.name for one in member.list_device_profiles()]
