"""Every ``openstack accelerator`` command, of both packages that have them.

At each microversion that clients ask for.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import json
import pathlib
from typing import Any
import uuid

import pytest

from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import openstack_command
from cyborg.tests.functional.clients import site as clients_site

ARQ_FIELDS = [
    "uuid",
    "state",
    "device_profile_name",
    "instance_uuid",
    "attach_handle_type",
    "attach_handle_info",
]
DEVICE_FIELDS = ["uuid", "type", "vendor", "hostname", "std_board_info"]

VERSIONS = ("2.0", "2.3", "2.6")
# What each package asks for if it is not told anything else.
DEFAULTS = {
    openstack_command.IN_TREE: "2.0",
    openstack_command.PLUGIN: "2.3",
}


@pytest.fixture(scope="module")
def clouds(
    site: clients_site.Site, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A clouds.yaml: ``admin``, ``member``, and ``noauth`` for no Keystone.

    Each once more for each version: ``admin-2.3``.
    """
    keystone = site.cloud.keystone
    name = keystone.new_project()
    keystone.ensure_user(name, name, "member")
    clouds: dict[str, dict[str, Any]] = {
        cloud: {
            "region_name": keystone_fixture.REGION,
            "auth": {
                "auth_url": keystone.url,
                "username": user,
                "password": keystone_fixture.PASSWORD,
                "project_name": user,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
        }
        for cloud, user in (("admin", "admin"), ("member", name))
    }
    clouds["noauth"] = {
        "auth_type": "none",
        "auth": {"endpoint": site.noauth_url},
        "compute_endpoint_override": site.cloud.nova.url,
    }
    path = tmp_path_factory.mktemp("cli") / "clouds.yaml"
    # JSON is YAML.
    versioned = {
        f"{name}-{version}": cloud
        | {"accelerator_default_microversion": version}
        for name, cloud in clouds.items()
        for version in VERSIONS
    }
    path.write_text(json.dumps({"clouds": clouds | versioned}))
    return path


class Accelerator:
    """``openstack --os-cloud CLOUD accelerator ...``, at a version."""

    def __init__(
        self, command: openstack_command.OpenStackCommand, version: str
    ) -> None:
        self.command = command
        self.version = version
        self.plugin = command.package == openstack_command.PLUGIN

    def run(self, line: str, *more: str, cloud: str = "noauth") -> Any:
        """Return the document that a command writes; None if it has none.

        :param more: arguments that have spaces
        """
        done = self.try_(line, *more, "-f", "json", cloud=cloud)
        assert done.status == 0, done.text
        return json.loads(done.output) if done.output.strip() else None

    def do(self, line: str, cloud: str = "noauth") -> None:
        """Run a command that shows nothing of which a document is made."""
        done = self.try_(line, cloud=cloud)
        assert done.status == 0, done.text

    def refused(self, line: str, *more: str, cloud: str = "noauth") -> str:
        """Return what the user is told when a command fails."""
        done = self.try_(line, *more, cloud=cloud)
        assert done.status != 0, done.text
        return done.text

    def try_(
        self, line: str, *more: str, cloud: str
    ) -> openstack_command.Done:
        options = []
        if self.version != DEFAULTS[self.command.package]:
            # One reads the option, the other what the cloud says.
            if self.plugin:
                options += ["--os-accelerator-api-version", self.version]
            else:
                cloud = f"{cloud}-{self.version}"
        options += ["--os-cloud", cloud]
        return self.command.run(*options, "accelerator", *line.split(), *more)


Commands = Callable[[str], openstack_command.OpenStackCommand]


@pytest.fixture(scope="module")
def commands(clouds: pathlib.Path) -> Iterator[Commands]:
    """The command of a package; each is started once."""
    with contextlib.ExitStack() as started:

        @functools.cache
        def command(package: str) -> openstack_command.OpenStackCommand:
            made = openstack_command.OpenStackCommand(
                clouds.parent, package, clouds
            )
            started.callback(made.close)
            return made

        yield command


@pytest.fixture(
    scope="module",
    params=[openstack_command.IN_TREE, openstack_command.PLUGIN],
)
def command(
    request: pytest.FixtureRequest, commands: Commands
) -> openstack_command.OpenStackCommand:
    return commands(request.param)


@pytest.fixture(scope="module", params=VERSIONS)
def accelerator(
    request: pytest.FixtureRequest,
    command: openstack_command.OpenStackCommand,
) -> Accelerator:
    return Accelerator(command, request.param)


@pytest.fixture
def profile(accelerator: Accelerator) -> Iterator[str]:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    groups = '[{"resources:FPGA": 1, "trait:CUSTOM_FAKE_DEVICE": "required"}]'
    accelerator.run(f"device profile create {name}", groups)
    yield name
    accelerator.do(f"device profile delete {name}")


def test_devices(site: clients_site.Site, accelerator: Accelerator) -> None:
    (device,) = accelerator.run("device list")
    assert set(device) >= set(DEVICE_FIELDS)
    assert device["hostname"] == site.compute.host
    assert device["vendor"] == "0xABCD"
    (long,) = accelerator.run("device list --long")
    assert set(long) >= {*DEVICE_FIELDS, "model", "vendor_board_info"}
    name = device["uuid"]
    shown = accelerator.run(f"device show {name}")
    assert shown["type"] == "FPGA"

    accelerator.do(f"device disable {name}")
    site.wait_fenced(True)
    accelerator.do(f"device enable {name}")
    site.wait_fenced(False)
    missing = str(uuid.uuid4())
    assert missing in accelerator.refused(f"device show {missing}")
    assert "cyborg:device:get_all" in accelerator.refused(
        "device list", cloud="member"
    )


def test_status_is_shown_from_2_3(accelerator: Accelerator) -> None:
    (device,) = accelerator.run("device list --long")
    known = None if accelerator.version == "2.0" else "enabled"
    assert device.get("status") == known


def test_deployables(
    site: clients_site.Site, accelerator: Accelerator
) -> None:
    (deployable,) = accelerator.run("deployable list")
    assert set(deployable) >= {"uuid", "name", "device_id"}
    assert deployable["name"] == site.compute.provider_name
    (long,) = accelerator.run("deployable list --long")
    assert long["num_accelerators"] == 16
    name = deployable["uuid"]
    shown = accelerator.run(f"deployable show {name}")
    assert shown["name"] == deployable["name"]
    # The image is looked up in Keystone's catalog.
    program = f"deployable program {name}"
    if accelerator.plugin:
        # It calls openstacksdk's update_deployable, which calls itself.
        assert "recursion" in accelerator.refused(
            f"{program} {clients_site.IMAGE}", cloud="admin"
        )
        return
    programmed = accelerator.run(
        f"{program} {clients_site.IMAGE}", cloud="admin"
    )
    assert programmed["uuid"] == name
    assert "not found" in accelerator.refused(
        f"{program} {uuid.uuid4()}", cloud="admin"
    )


def test_device_profiles(accelerator: Accelerator) -> None:
    first, second = (f"cli-{uuid.uuid4().hex[:8]}" for _ in range(2))
    groups = [{"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}]
    made = accelerator.run(
        f"device profile create --description one {first}", json.dumps(groups)
    )
    assert made["name"] == first
    assert made["groups"] == groups
    assert made["description"] == "one"
    if accelerator.plugin:
        accelerator.run(
            f"device profile create {second}", '[{"resources:PGPU": 1}]'
        )
    else:
        text = ",".join(f"{key}={value}" for key, value in groups[0].items())
        other = accelerator.run(
            f"device profile create {second} --group {text} "
            "--group resources:PGPU=2"
        )
        assert other["groups"] == [*groups, {"resources:PGPU": "2"}]
    assert f"{first} exists" in accelerator.refused(
        f"device profile create {first}", json.dumps(groups)
    )
    names = [one["name"] for one in accelerator.run("device profile list")]
    assert names[-2:] == [first, second]
    long = accelerator.run("device profile list --long", cloud="member")
    assert long[-1]["created_at"]
    shown = accelerator.run(f"device profile show {made['uuid']}")
    assert shown == made
    if accelerator.version == "2.0":
        refused = accelerator.refused(f"device profile show {first}")
        assert "2.2" in refused
    else:
        assert accelerator.run(f"device profile show {first}") == made
    accelerator.do(f"device profile delete {first} {second}")
    assert first in accelerator.refused(f"device profile delete {first}")


def test_arqs(
    site: clients_site.Site, accelerator: Accelerator, profile: str
) -> None:
    made = accelerator.run(f"arq create {profile}")
    name = made["uuid"]
    assert (made["state"], made["hostname"]) == ("Initial", None)
    assert made["device_profile_name"] == profile
    (listed,) = accelerator.run("arq list")
    assert set(listed) >= set(ARQ_FIELDS)
    (long,) = accelerator.run("arq list --long")
    assert set(long) >= {*ARQ_FIELDS, "hostname", "device_rp_uuid"}
    provider = site.compute.provider()
    assert provider is not None
    server = str(uuid.uuid4())
    site.cloud.nova.servers[server] = made["uuid"]
    bind = f"arq bind {name} {site.compute.host} {server} {provider['uuid']}"
    if accelerator.plugin:
        bind += " a-project"
    # Who is not Nova has no service token.
    assert "service token" in accelerator.refused(bind, cloud="admin")
    bound = accelerator.run(bind)
    assert (bound["state"], bound["instance_uuid"]) == ("Bound", server)
    assert bound["attach_handle_type"] == "TEST_PCI"
    shown = accelerator.run(f"arq show {name}")
    assert shown == bound
    assert shown["attach_handle_info"]["bus"] == "0c"
    told = accelerator.refused(f"arq unbind {name}", cloud="admin")
    assert "service token" in told
    unbound = accelerator.run(f"arq unbind {name}")
    assert (unbound["state"], unbound["instance_uuid"]) == ("Unbound", None)
    other = accelerator.run(f"arq create {profile}")
    accelerator.do(f"arq delete {name} {other['uuid']}")
    assert accelerator.run("arq list") == []
    assert name in accelerator.refused(f"arq delete {name}")
    missing = accelerator.refused("arq create no-such-profile")
    assert "no-such-profile" in missing


def test_members_see_their_own(accelerator: Accelerator, profile: str) -> None:
    mine = accelerator.run(f"arq create {profile}", cloud="member")
    theirs = accelerator.run(f"arq create {profile}")
    listed = accelerator.run("arq list", cloud="member")
    assert [one["uuid"] for one in listed] == [mine["uuid"]]
    for name in (theirs["uuid"], str(uuid.uuid4())):
        assert name in accelerator.refused(f"arq show {name}", cloud="member")
    accelerator.do(f"arq delete {mine['uuid']}", cloud="member")
    accelerator.do(f"arq delete {theirs['uuid']}")


def test_attributes(accelerator: Accelerator) -> None:
    (deployable,) = accelerator.run("deployable list")
    made = accelerator.run(
        f"device attribute create {deployable['uuid']} rack 7"
    )
    assert (made["key"], made["value"]) == ("rack", "7")
    listed = accelerator.run("device attribute list")
    assert [one["value"] for one in listed if one["key"] == "rack"] == ["7"]
    long = accelerator.run("device attribute list --long")
    assert long[-1]["created_at"]
    shown = accelerator.run(f"device attribute show {made['uuid']}")
    assert shown["deployable_id"] == made["deployable_id"]
    accelerator.do(f"device attribute delete {made['uuid']}")
    assert made["uuid"] in accelerator.refused(
        f"device attribute show {made['uuid']}"
    )
