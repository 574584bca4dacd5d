"""Peers of RPC 1.0 and pins, over oslo.messaging in one process."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import pathlib
import threading
from typing import Any
import uuid

from oslo_config import cfg
from oslo_config import fixture as config_fixture
import oslo_messaging as messaging
from oslo_messaging import conffixture
import pytest

from cyborg import context as cyborg_context
from cyborg.agent import manager as agent_manager
from cyborg.agent import report as agent_report
from cyborg.agent import reporter
from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.api import conductor as api_conductor
from cyborg.clients import glance
from cyborg.clients import placement
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.conductor.work import steps
from cyborg.db import conductor as conductor_db
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.objects import base
from cyborg.objects import report
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import rabbit
from cyborg.tests.unit.agent import conftest

CONF = cfg.CONF
IMAGE = "11111111-1111-4111-8111-111111111111"
CARD = {"bus": "5e", "device": "00", "domain": "0000", "function": "0"}


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture
def bus_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a bus: in this process, or a broker's where a test says so."""
    if getattr(request, "param", "fake") == "fake":
        yield "fake://"
        return
    with rabbit.virtual_host() as url:
        yield url


@pytest.fixture
def serve(
    config: config_fixture.Config, bus_url: str
) -> Iterator[Callable[[str, str, Any], None]]:
    """Start servers on a bus of this test's own."""
    servers = []
    with conffixture.ConfFixture(CONF, transport_url=bus_url):
        exchange = f"cyborg-{uuid.uuid4().hex[:8]}"
        config.config(control_exchange=exchange, rpc_response_timeout=5)
        rpc.cleanup()

        def start(topic: str, name: str, endpoint: Any) -> None:
            server = rpc.get_server(
                messaging.Target(topic=topic, server=name),
                [endpoint],
                base.CyborgObjectSerializer(),
            )
            server.start()
            servers.append(server)

        yield start
        for server in servers:
            server.stop()
            server.wait()
        rpc.cleanup()


class OldConductor:
    """What a conductor of the 2023.2 release offers to agents."""

    target = messaging.Target(version="1.0")

    def __init__(self) -> None:
        self.reports: list[tuple[str, list[Any]]] = []

    def report_data(
        self, context: Any, hostname: str, driver_device_list: list[Any]
    ) -> None:
        self.reports.append((hostname, driver_device_list))


class OldAgent:
    """What an agent of the 2023.2 release offers to conductors."""

    target = messaging.Target(version="1.0")

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def fpga_program(
        self,
        context: Any,
        controlpath_id: dict[str, Any],
        bitstream_uuid: str,
        driver_name: str,
    ) -> bool:
        self.calls.append(
            ("program", controlpath_id, bitstream_uuid, driver_name)
        )
        return True

    def create_vgpu_mdev(
        self, context: Any, pci_addr: str, asked_type: str, ah_uuid: str
    ) -> None:
        self.calls.append(("create", pci_addr, asked_type, ah_uuid))

    def remove_vgpu_mdev(
        self, context: Any, pci_addr: str, asked_type: str, ah_uuid: str
    ) -> None:
        self.calls.append(("remove", pci_addr, asked_type, ah_uuid))


def _report_of(*devices: report.DriverDevice) -> agent_report.Report:
    return agent_report.Report.of(
        [
            agent_report.Found(
                "fake_driver",
                [agent_report.plain(device) for device in devices],
                complete=True,
                error=None,
                capabilities=[],
            )
        ],
        "cn1",
    )


# -- an agent of ours and a conductor of an earlier release


@pytest.mark.parametrize("level", ["auto", "1.0"])
def test_an_old_conductor_gets_whole_reports_and_no_heartbeats(
    serve: Callable[..., None],
    tmp_path: pathlib.Path,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    config.config(group="upgrade_levels", conductor=level)
    config.config(group="agent", resource_provider_name="cn1.example.org")
    config.config(group="agent", heartbeat_interval=0)
    monkeypatch.setattr(placement.Client, "__init__", lambda self: None)
    monkeypatch.setattr(
        placement.Client,
        "find_provider",
        lambda self, name: {"name": name} if name == "cn1" else None,
    )
    conductor = OldConductor()
    serve(constants.CONDUCTOR_TOPIC, "c1", conductor)
    agent = conftest.reporter_of(rpcapi.remote(), tmp_path)
    assert agent.register(threading.Event()) == "cn1"

    pmem = inventory.device("pmem", handles=1, bus="0d")
    pmem.type = "PMEM"
    found = _report_of(inventory.device(handles=2), pmem)
    agent.publish(found)
    agent.heartbeat()
    agent.publish(found)
    assert len(conductor.reports) == 2
    hostname, devices = conductor.reports[-1]
    assert hostname == "cn1"
    # It has no name for persistent memory.
    (device,) = devices
    assert (device.VERSION, device.type) == ("1.0", "FPGA")
    assert len(device.deployable_list[0].attach_handle_list) == 2


class ConductorOf11:
    """What a conductor offers that knows nothing of machines yet."""

    target = messaging.Target(version="1.1")

    def __init__(self) -> None:
        self.calls: list[str] = []

    def agent_register(
        self, context: Any, names: list[str], rpc_host: str
    ) -> dict[str, Any]:
        self.calls.append("agent_register")
        return {"hostname": names[0]}

    def report_heartbeat(
        self, context: Any, hostname: str, rpc_host: str, digest: str | None
    ) -> dict[str, Any]:
        self.calls.append("report_heartbeat")
        return {"need_full_report": False}

    def report_data(
        self,
        context: Any,
        hostname: str,
        driver_device_list: list[Any],
        rpc_host: str,
        digest: str,
        drivers: list[dict[str, Any]],
    ) -> None:
        self.calls.append("report_data")

    def arqs_unbind(self, context: Any, uuids: Any, scope: Any) -> None:
        self.calls.append("arqs_unbind")


@pytest.mark.parametrize("level", ["auto", "1.1"])
def test_a_conductor_of_1_1_is_told_what_it_knows(
    serve: Callable[..., None],
    tmp_path: pathlib.Path,
    config: config_fixture.Config,
    level: str,
) -> None:
    config.config(group="upgrade_levels", conductor=level)
    conductor = ConductorOf11()
    serve(constants.CONDUCTOR_TOPIC, "c1", conductor)
    agent = conftest.reporter_of(rpcapi.remote(), tmp_path)
    assert agent.register(threading.Event()) is not None
    found = _report_of(inventory.device(handles=1))
    agent.publish(found)
    agent.publish(found)
    # Nor does an API that is newer have to wait for it.
    rpcapi.remote().arqs_unbind(cyborg_context.get_admin_context(), [], None)
    assert conductor.calls == [
        "agent_register",
        "report_data",
        "report_heartbeat",
        "arqs_unbind",
    ]


def test_an_old_conductor_that_was_upgraded_is_noticed(
    serve: Callable[..., None],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conductor = UpgradedConductor()
    serve(constants.CONDUCTOR_TOPIC, "c1", conductor)
    agent = conftest.reporter_of(rpcapi.remote(), tmp_path)
    agent.hostname = "cn1"
    found = _report_of(inventory.device(handles=1))
    agent.publish(found)
    conductor.target = messaging.Target(version=rpcapi.VERSION)
    agent.publish(found)
    assert conductor.digests == [None, None]
    monkeypatch.setattr(reporter, "_STILL_OLD", 0.0)
    agent.publish(found)
    assert conductor.digests == [None, None, found.digest]


class UpgradedConductor:
    """A conductor of 1.0 until the test says that it is of 1.1."""

    target = messaging.Target(version="1.0")

    def __init__(self) -> None:
        self.digests: list[str | None] = []

    def report_data(
        self, context: Any, digest: str | None = None, **kwargs: Any
    ) -> None:
        self.digests.append(digest)


def test_what_an_old_conductor_cannot_do_is_said(
    serve: Callable[..., None],
) -> None:
    serve(constants.CONDUCTOR_TOPIC, "c1", OldConductor())
    with pytest.raises(exception.PeerTooOld, match="arqs_unbind"):
        rpcapi.remote().arqs_unbind(
            cyborg_context.get_admin_context(), [], None
        )
    with pytest.raises(exception.PeerTooOld, match="arqs_unbind"):
        rpcapi.remote("1.0").arqs_unbind(
            cyborg_context.get_admin_context(), [], None
        )


def test_an_api_asks_what_the_oldest_conductor_knows(
    serve: Callable[..., None],
    config: config_fixture.Config,
    database_url: str,
) -> None:
    context = cyborg_context.get_admin_context()

    def can_unbind() -> bool:
        api_conductor.get.cache_clear()
        try:
            api_conductor.get().arqs_unbind(context, [], None)
        except exception.PeerTooOld:
            return False
        return True

    serve(constants.CONDUCTOR_TOPIC, "c1", manager.ConductorManager())
    with database.configured(database_url):
        assert can_unbind()
        conductor_db.seen(context, "c1", "1.10")
        conductor_db.seen(context, "c2", "1.9")
        assert conductor_db.lowest_rpc_version(context, 60) == "1.9"
        assert can_unbind()
        conductor_db.seen(context, "c2", "1.0")
        assert conductor_db.lowest_rpc_version(context, 60) == "1.0"
        assert not can_unbind()
        # The operator knows better.
        config.config(group="upgrade_levels", conductor="1.1")
        assert can_unbind()
    api_conductor.get.cache_clear()


# -- a conductor of ours and an agent of an earlier release


def _primitive(kind: str, /, **data: Any) -> dict[str, Any]:
    return {
        "cyborg_object.name": kind,
        "cyborg_object.namespace": "cyborg",
        "cyborg_object.version": "1.0",
        "cyborg_object.data": data,
        "cyborg_object.changes": sorted(data),
    }


def _card(kind: str, attach_type: str, **info: str) -> dict[str, Any]:
    """Return a card as an agent of the 2023.2 release sends it."""
    return _primitive(
        "DriverDevice",
        vendor="0x8086",
        model="0x09c4",
        type=kind,
        std_board_info='{"product_id": "0x09c4", "controller": null}',
        vendor_board_info="fpga_vb_info",
        stub=False,
        controlpath_id=_primitive(
            "DriverControlPathID", cpid_type="PCI", cpid_info=json.dumps(CARD)
        ),
        deployable_list=[
            _primitive(
                "DriverDeployable",
                name="cn1_0000:5e:00.0",
                num_accelerators=1,
                driver_name="intel_fpga_driver",
                attribute_list=[
                    _primitive("DriverAttribute", key="rc", value="FPGA")
                ],
                attach_handle_list=[
                    _primitive(
                        "DriverAttachHandle",
                        attach_type=attach_type,
                        attach_info=json.dumps(CARD | info, sort_keys=True),
                        in_use=False,
                    )
                ],
            )
        ],
    )


class AsItIs(messaging.NoOpSerializer):
    """Sends what is a primitive already."""


def _send_old_report(card: dict[str, Any]) -> None:
    client = rpc.get_client(
        messaging.Target(topic=constants.CONDUCTOR_TOPIC, version="1.0"),
        AsItIs(),
        "1.0",
    )
    client.call(
        cyborg_context.get_admin_context(),
        "report_data",
        hostname="cn1",
        driver_device_list=[card],
    )


def _host(store: inventory.Store) -> Any:
    (host,) = store.rows(models.Host)
    return host


def _provider(store: inventory.Store) -> str:
    rp_uuid = str(uuid.uuid4())
    store.execute(models.Deployable.__table__.update().values(rp_uuid=rp_uuid))
    return rp_uuid


def _run_due(store: inventory.Store) -> None:
    for uuid_ in job_db.due(store.context, 100):
        job = job_db.claim(store.context, uuid_, "me", 30)
        with contextlib.suppress(steps.Cancelled):
            steps.do(store.context, job, agent_rpcapi.AgentAPI())


def test_an_old_agent_reports_and_is_programmed(
    serve: Callable[..., None],
    store: inventory.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        glance,
        "get_image",
        lambda image, request_id=None: {
            "id": image,
            "status": "active",
            "visibility": "public",
            "size": 3,
            "checksum": "x",
        },
    )
    agent = OldAgent()
    serve(constants.AGENT_TOPIC, "cn1", agent)
    serve(constants.CONDUCTOR_TOPIC, "c1", manager.ConductorManager())
    _send_old_report(_card("FPGA", "PCI"))
    first = _host(store)
    assert (first.rpc_version, first.rpc_host) == ("1.0", None)
    # Again, and unchanged: it is known by the digest that it did not send.
    with inventory.counted() as statements:
        _send_old_report(_card("FPGA", "PCI"))
    assert len(statements) == 2
    assert _host(store).report_digest == first.report_digest

    arqs = store.arqs(profile=store.profile(**{"accel:bitstream_id": IMAGE}))
    store.bind(arqs, _provider(store))
    _run_due(store)
    assert agent.calls == [
        (
            "program",
            {"cpid_type": "PCI", "cpid_info": CARD},
            IMAGE,
            "intel_fpga_driver",
        )
    ]
    assert store.states() == ["Bound"]


@pytest.mark.parametrize(
    ("bus_url", "version", "said"),
    [
        # The 2023.2 release, and this project before it knew 17.0.0.
        ("fake", "1.0", {}),
        ("fake", "1.1", {}),
        # 17.0.0, with shipped drivers and with one that cleans.
        ("rabbit", "1.4", {}),
        (
            "rabbit",
            "1.4",
            {"type": "NVME", "device_state": "pending_cleaning"},
        ),
    ],
    indirect=["bus_url"],
)
def test_reports_of_all_releases_are_stored(
    serve: Callable[..., None],
    store: inventory.Store,
    version: str,
    said: dict[str, str],
) -> None:
    serve(constants.CONDUCTOR_TOPIC, "c1", manager.ConductorManager())
    card = _card("FPGA", "PCI") | {"cyborg_object.version": version}
    card["cyborg_object.data"] |= said
    _send_old_report(card)
    assert _host(store).rpc_version == "1.0"
    (device,) = store.rows(models.Device)
    assert device.type == said.get("type", "FPGA")
    assert device.device_state == said.get("device_state", "available")
    # Later it is the conductor that knows.
    card["cyborg_object.data"] |= said and {"device_state": "available"}
    card["cyborg_object.data"]["model"] = "0x09c5"
    _send_old_report(card)
    (again,) = store.rows(models.Device)
    assert again.model == "0x09c5"
    assert again.device_state == device.device_state


@pytest.mark.parametrize("is_pinned", [False, True])
def test_an_old_or_pinned_agent_makes_mdevs(
    serve: Callable[..., None],
    store: inventory.Store,
    config: config_fixture.Config,
    is_pinned: bool,
) -> None:
    agent = OldAgent()
    serve(constants.AGENT_TOPIC, "cn1", agent)
    serve(constants.CONDUCTOR_TOPIC, "c1", manager.ConductorManager())
    _send_old_report(_card("GPU", "MDEV", asked_type="nvidia-1"))
    if is_pinned:
        # It says that it knows more, and the operator does not believe it.
        config.config(group="upgrade_levels", agent="1.0")
        store.execute(models.Host.__table__.update().values(rpc_version="1.1"))
    arqs = store.arqs()
    store.bind(arqs, _provider(store))
    _run_due(store)
    assert store.states() == ["Bound"]
    store.delete(arqs)
    _run_due(store)
    (handle,) = store.rows(models.AttachHandle)
    assert agent.calls == [
        ("create", "0000:5e:00.0", "nvidia-1", handle.uuid),
        ("remove", "0000:5e:00.0", "nvidia-1", handle.uuid),
    ]
    assert not handle.in_use


# -- a conductor of ours and an API of an earlier release


class OldContext:
    """The caller as an API of the 2023.2 release writes it down."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "user_id": "user-1",
            "project_id": inventory.PROJECT,
            "is_admin": False,
            "roles": ["member"],
            "auth_token": None,
            "request_id": "req-1",
            "read_deleted": "no",
            "remote_address": "127.0.0.1",
            "service_catalog": [],
            "timestamp": "2024-01-10T08:00:00.000000",
        }


class OldAPI:
    """Calls a conductor as an API of the 2023.2 release does."""

    def __init__(self) -> None:
        self._client = rpc.get_client(
            messaging.Target(topic=constants.CONDUCTOR_TOPIC, version="1.0"),
            AsItIs(),
            "1.0",
        )

    def call(self, method: str, **arguments: Any) -> Any:
        return self._client.call(OldContext(), method, **arguments)


def _of_1_0(kind: str, version: str, /, **data: Any) -> dict[str, Any]:
    return _primitive(kind, **data) | {"cyborg_object.version": version}


def test_an_old_api_creates_binds_and_deletes(
    serve: Callable[..., None], store: inventory.Store
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=2))
    serve(constants.CONDUCTOR_TOPIC, "c1", manager.ConductorManager())
    api = OldAPI()
    profile = api.call(
        "device_profile_create",
        obj_devprof=_of_1_0(
            "DeviceProfile",
            "1.1",
            uuid=str(uuid.uuid4()),
            name="pair",
            groups=[{"resources:FPGA": "2"}],
            description=None,
        ),
    )
    assert profile["cyborg_object.version"] == "1.1"
    stored = profile["cyborg_object.data"]
    assert stored["name"] == "pair"
    created = [
        api.call(
            "arq_create",
            obj_extarq=_of_1_0(
                "ExtARQ",
                "1.2",
                arq=_of_1_0(
                    "ARQ",
                    "1.1",
                    device_profile_name="pair",
                    device_profile_group_id=0,
                    project_id=inventory.PROJECT,
                ),
            ),
            devprof_id=stored["id"],
        )
        for _ in range(2)
    ]
    arqs = [
        answer["cyborg_object.data"]["arq"]["cyborg_object.data"]
        for answer in created
    ]
    assert [
        (arq["state"], arq["project_id"], arq["device_profile_name"])
        for arq in arqs
    ] == [("Initial", inventory.PROJECT, "pair")] * 2

    instance = str(uuid.uuid4())
    values = {
        "hostname": inventory.HOST,
        "device_rp_uuid": rp_uuid,
        "instance_uuid": instance,
        "project_id": inventory.PROJECT,
    }
    uuids = [arq["uuid"] for arq in arqs]
    patch = {
        uuid_: [
            {"path": f"/{name}", "op": "add", "value": value}
            for name, value in values.items()
        ]
        for uuid_ in uuids
    }
    fields = dict.fromkeys(uuids, values)
    api.call("arq_apply_patch", patch_list=patch, valid_fields=fields)
    assert store.states() == ["Bound", "Bound"]
    assert [row.status for row in store.rows(models.Notification)] == [
        "completed",
        "completed",
    ]
    # Errors arrive as what they are.
    with pytest.raises(exception.DeviceProfileInUse):
        api.call("device_profile_delete", obj_devprof=profile)

    removal = {
        uuids[0]: [{"path": f"/{name}", "op": "remove"} for name in values]
    }
    api.call(
        "arq_apply_patch",
        patch_list=removal,
        valid_fields={uuids[0]: dict.fromkeys(values)},
    )
    assert store.states() == ["Unbound", "Bound"]
    api.call("arq_delete_by_instance_uuid", instance=instance)
    api.call("arq_delete_by_uuid", arqs=uuids[0])
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0
    api.call("device_profile_delete", obj_devprof=profile)
    assert store.rows(models.DeviceProfile) == []


def test_what_an_old_agent_cannot_do_is_said(
    serve: Callable[..., None], config: config_fixture.Config
) -> None:
    serve(constants.AGENT_TOPIC, "cn1", OldAgent())
    context = cyborg_context.get_admin_context()
    for level in ("auto", "1.0"):
        config.config(group="upgrade_levels", agent=level)
        with pytest.raises(exception.PeerTooOld, match="device_get_stats"):
            agent_rpcapi.AgentAPI().device_get_stats(
                context, "cn1", controlpath_id={}, driver="fake_driver"
            )
        with pytest.raises(exception.PeerTooOld, match="discover"):
            agent_rpcapi.AgentAPI().discover(context, "cn1")


class BrokenAgent:
    """Fails in ways that nobody has thought of."""

    target = messaging.Target(version=agent_rpcapi.VERSION)

    @agent_manager.declares
    def cleanup_handle(self, context: Any, handle: dict, **more: Any) -> None:
        raise {
            "key": KeyError("bus"),
            "value": ValueError("0x1g"),
            "odd": NVMLError("lost"),
            "refused": exception.DriverError(reason="busy"),
        }[handle["uuid"]]

    @agent_manager.declares
    def device_get_stats(self, context: Any, **more: Any) -> None:
        raise LookupError("no such card")


class NVMLError(Exception):
    """Of a library that conductors do not have."""


@pytest.mark.parametrize("bus_url", ["fake", "rabbit"], indirect=True)
def test_whatever_an_agent_raises_is_its_failure(
    serve: Callable[..., None],
) -> None:
    serve(constants.AGENT_TOPIC, "compute-1", BrokenAgent())
    agents = agent_rpcapi.AgentAPI()
    context = cyborg_context.get_admin_context()

    def failure(handle: str) -> Exception:
        with pytest.raises(exception.CyborgException) as caught:
            agents.cleanup_handle(
                context,
                "compute-1",
                handle={"uuid": handle},
                sequence=1,
                controlpath_id=None,
                timeout=5,
            )
        return caught.value

    assert exception.text(failure("refused")) == "busy"
    for handle, said in (
        ("key", "KeyError: "),
        ("value", "ValueError: 0x1g"),
        ("odd", "NVMLError: lost"),
    ):
        error = failure(handle)
        assert isinstance(error, exception.AgentFailed)
        begin = f"The agent of host compute-1 failed: {said}"
        assert error.faultstring.startswith(begin)
        assert "\n" not in error.faultstring
    with pytest.raises(LookupError):
        agents.device_get_stats(
            context, "compute-1", controlpath_id={}, driver="fake"
        )
