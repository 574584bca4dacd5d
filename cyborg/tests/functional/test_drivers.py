"""Every driver, from a recorded machine to a server that is given a card.

The cards are discovered by the real drivers, stored by the conductor,
published in a real Placement, and bound and given back through the API. Only
the agent's host is played: it prepares what guests are given.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import pathlib
from typing import Any
import uuid

from oslo_config import cfg
import pytest

from cyborg.accelerator import driver as driver_module
from cyborg.accelerator.drivers import declared
from cyborg.accelerator.drivers import fake
from cyborg.accelerator.drivers import intel_pmem
from cyborg.accelerator.drivers import spdk
from cyborg.api import app
from cyborg.clients import auth
from cyborg.clients import placement as placement_client
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.conductor.placement import sync
from cyborg.conductor.work import steps
from cyborg.context import get_admin_context
from cyborg.db import engine
from cyborg.db import job as job_db
from cyborg.objects import report
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.unit.accelerator.drivers import reports
from cyborg.tests.unit.accelerator.drivers import test_intel_pmem
from cyborg.tests.unit.accelerator.drivers import test_spdk

CONF = cfg.CONF
# Makes a driver on a root directory, for a host.
Make = Callable[[pathlib.Path, str], driver_module.Driver]
CONFIG = """\
[placement]
auth_type = admin_token
token = admin
endpoint = {url}
endpoint_override = {url}
# So that each deployable is looked at by itself.
provider_layout = device

[cleaning]
enabled = false
"""


class Host:
    """The far end of RPC: notes what was prepared and what was cleaned."""

    def __init__(self) -> None:
        self.prepared: set[str] = set()

    def prepare_handle(
        self,
        context: Any,
        rpc_host: str,
        *,
        handle: dict[str, Any],
        **options: Any,
    ) -> None:
        self.prepared.add(handle["uuid"])

    def cleanup_handle(
        self,
        context: Any,
        rpc_host: str,
        *,
        handle: dict[str, Any],
        **options: Any,
    ) -> None:
        self.prepared.discard(handle["uuid"])


@pytest.fixture(scope="module")
def peer(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[placement_fixture.Placement]:
    made = placement_fixture.Placement(tmp_path_factory.mktemp("placement"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def api(
    peer: placement_fixture.Placement, tmp_path: pathlib.Path
) -> Iterator[api_fixture.Api]:
    config = tmp_path / "cyborg.conf"
    config.write_text(CONFIG.format(url=peer.url))
    CONF([], project="cyborg", default_config_files=[str(config)])
    auth.reset()
    placement_client.forget()
    with database.with_tables("sqlite") as url, database.configured(url):
        conductor = rpcapi.local(manager.ConductorManager(agent=Host()))
        yield api_fixture.Api(
            app.make_app(lambda: conductor), engine.get_engine()
        )
    auth.reset()
    CONF.reset()


def _recorded(
    recorded: str, kind: type[driver_module.Driver], conf: dict[str, Any]
) -> Make:
    """Return what makes a driver on a recorded machine."""

    def make(root: pathlib.Path, host: str) -> driver_module.Driver:
        return kind(
            root=machine.unpack(recorded, root),
            run=machine.Commands({"lspci": machine.lspci()}),
            host=host,
            conf=driver_fixture.conf(**conf),
        )

    return make


def _pmem(root: pathlib.Path, host: str) -> driver_module.Driver:
    return intel_pmem.IntelPMEMDriver(
        conf=driver_fixture.conf(
            pmem_devices={"pmem_namespaces": ["6GB:ns0|ns1"]}
        ),
        host=host,
        root=root,
        run=machine.Commands(
            {
                "ndctl": json.dumps(
                    [test_intel_pmem.entry(0), test_intel_pmem.entry(1)]
                )
            }
        ),
    )


def _spdk(kind: type[Any]) -> Make:
    def make(root: pathlib.Path, host: str) -> driver_module.Driver:
        made: driver_module.Driver = kind(
            conf=driver_fixture.conf(spdk={"report_bdevs": True}),
            host=host,
            root=root,
            rpc=lambda method, parameters: [test_spdk.bdev()],
        )
        return made

    return make


# All that there is of this card: nothing else of Cyborg knows it.
TEN_LINES = """\
[[device]]
name = "coffee-maker"
match = {vendor = "c0ff", product = "ee01"}
kind = "whole"
type = "PCI"
resource_class = "CUSTOM_COFFEE"
traits = ["CUSTOM_COFFEE_ESPRESSO"]
attribute_traits = {"bar_pressure" = "CUSTOM_COFFEE_BARS_{}"}
model = "Coffee Maker 1"
stats = {water = "water_level"}
"""


def _unheard_of(root: pathlib.Path, host: str) -> driver_module.Driver:
    assert len(TEN_LINES.splitlines()) == 10
    (root / "devices.d").mkdir()
    (root / "devices.d" / "coffee.toml").write_text(TEN_LINES)
    card = machine.function(
        "0000:0c:00.0", "c0ff", "ee01", "ff0000", extra=["bar_pressure = 9"]
    )
    return declared.DeclaredDriver(
        conf=driver_fixture.conf(
            declared={"directory": str(root / "devices.d")}
        ),
        host=host,
        root=machine.unpack_text(card, root),
        run=machine.Commands(),
    )


def _fake(root: pathlib.Path, host: str) -> driver_module.Driver:
    return fake.FakeDriver(root=root, host=host, conf=driver_fixture.conf())


CASES: dict[str, Make] = {
    name: _recorded(recorded, kind, conf)
    for name, recorded, kind, conf in reports.REPORTS
} | {
    "fake": _fake,
    "card nobody thought of": _unheard_of,
    "pmem": _pmem,
    "nvmf_spdk": _spdk(spdk.NVMFSPDKDriver),
    "vhost_spdk": _spdk(spdk.VhostSPDKDriver),
}


def _report(host: str, devices: list[report.DriverDevice]) -> None:
    """Report as the agent does, and have Placement told."""
    entry = {
        "name": "the_driver",
        "complete": True,
        "error": None,
        "capabilities": [],
        "cpids": [d.controlpath_id.cpid_info for d in devices],
    }
    conductor = rpcapi.local(manager.ConductorManager())
    conductor.report_data(
        get_admin_context(),
        host,
        devices,
        host,
        uuid.uuid4().hex,
        [entry],
        {"machine_id": None, "boot_id": "1", "rpc_version": "1.1"},
    )
    assert sync.sync_host(get_admin_context(), host) == {}


def _expected(
    devices: list[report.DriverDevice],
) -> dict[str, tuple[dict[str, int], set[str]]]:
    """Return what Placement has to say of each deployable, by name."""
    expected = {}
    for device in devices:
        if device.stub:
            continue
        for deployable in device.deployable_list:
            values = [(a.key, a.value) for a in deployable.attribute_list]
            classes = [value for key, value in values if key == "rc"]
            traits = {v for key, v in values if key.startswith("trait")}
            count = deployable.num_accelerators
            expected[deployable.name] = (
                {classes[0]: count} if count else {},
                traits | {"OWNER_CYBORG"},
            )
    return expected


def _published(
    peer: placement_fixture.Placement, root: str
) -> dict[str, tuple[dict[str, int], set[str]]]:
    return {
        name: (
            {rc: i["total"] for rc, i in provider["inventories"].items()},
            provider["traits"],
        )
        for name, provider in peer.tree(root).items()
    }


def _do_jobs(host: Host) -> None:
    context = get_admin_context()
    for uuid_ in job_db.due(context, 100):
        job = job_db.claim(context, uuid_, "me", 30)
        with contextlib.suppress(steps.Cancelled):
            steps.do(context, job, host)


@pytest.mark.parametrize("make", CASES.values(), ids=list(CASES))
def test_from_the_card_to_the_server_and_back(
    make: Make,
    peer: placement_fixture.Placement,
    api: api_fixture.Api,
    tmp_path: pathlib.Path,
) -> None:
    host = f"cn-{uuid.uuid4().hex[:8]}"
    root = peer.create_provider(host)
    (tmp_path / "root").mkdir()
    devices = make(tmp_path / "root", host).discover()
    assert devices
    _report(host, devices)
    assert _published(peer, root) == _expected(devices)
    tree = peer.tree(root)
    for deployable in (
        part
        for device in devices
        if not device.stub
        for part in device.deployable_list
        if part.num_accelerators
    ):
        _bind_and_give_back(api, host, tree[deployable.name], deployable)
    assert _published(peer, root) == _expected(devices)


def _bind_and_give_back(
    api: api_fixture.Api,
    hostname: str,
    provider: dict[str, Any],
    deployable: report.DriverDeployable,
) -> None:
    host = Host()
    (resource_class,) = provider["inventories"]
    group = {f"resources:{resource_class}": "1"} | {
        f"trait:{trait}": "required"
        for trait in provider["traits"]
        if trait.startswith("CUSTOM_")
    }
    name = f"profile-{uuid.uuid4().hex[:8]}"
    answer = api.ask(
        "POST", "/v2/device_profiles", [{"name": name, "groups": [group]}]
    )
    assert answer.status_int == 201, answer.text
    user = {"persona": "member", "service": True}
    answer = api.ask(
        "POST",
        "/v2/accelerator_requests",
        {"device_profile_name": name},
        **user,
    )
    assert answer.status_int == 201, answer.text
    arqs = [arq["uuid"] for arq in answer.json["arqs"]]
    instance = str(uuid.uuid4())
    operations = [
        {"op": "add", "path": f"/{field}", "value": value}
        for field, value in {
            "hostname": hostname,
            "device_rp_uuid": provider["uuid"],
            "instance_uuid": instance,
        }.items()
    ]
    answer = api.ask(
        "PATCH",
        "/v2/accelerator_requests",
        dict.fromkeys(arqs, operations),
        **user,
    )
    assert answer.status_int == 202, answer.text
    _do_jobs(host)
    path = f"/v2/accelerator_requests?instance={instance}"
    bound = api.get(path, **user)["arqs"]
    assert {arq["state"] for arq in bound} == {"Bound"}
    offered = {
        handle.attach_type: handle
        for handle in deployable.attach_handle_list or []
    }
    assert {arq["attach_handle_type"] for arq in bound} <= set(offered)
    needs_work = [
        arq for arq in bound if "asked_type" in arq["attach_handle_info"]
    ]
    assert host.prepared == {arq["attach_handle_uuid"] for arq in needs_work}
    answer = api.ask("DELETE", path, **user)
    assert answer.status_int == 204, answer.text
    _do_jobs(host)
    assert host.prepared == set()
    assert api.get("/v2/accelerator_requests")["arqs"] == []
