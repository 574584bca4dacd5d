"""What daemons tell of themselves and of what they do, while they run."""

from collections.abc import Iterator
import json
import pathlib
import signal
import socket
import threading
from typing import Any
import uuid

from oslo_config import cfg
import oslo_messaging as messaging
import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site

# What is told does not depend on the engine.
pytestmark = pytest.mark.parametrize("cloud", ["mysql"], indirect=True)


class Listener:
    """Another program that is notified.

    :ivar heard: event types and payloads, as they came
    """

    def __init__(self, transport_url: str) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._listener = messaging.get_notification_listener(
            messaging.get_notification_transport(
                cfg.ConfigOpts(), url=transport_url
            ),
            [messaging.Target(topic="notifications")],
            [self],
            executor="threading",
        )
        self._listener.start()

    def info(
        self, context: Any, publisher_id: str, event: str, payload: Any, _: Any
    ) -> None:
        assert publisher_id == "cyborg-conductor:control-1"
        self.heard.append((event, payload["cyborg_object.data"]))

    def events_of(self, *uuids: str) -> list[str]:
        return [event for event, data in self.heard if data["uuid"] in uuids]

    def stop(self) -> None:
        self._listener.stop()
        self._listener.wait()


class Metrics:
    """The socket at which oslo-metrics listens.

    :ivar labels: of what was measured, by process and method
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.labels: set[tuple[str, str]] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                told = json.loads(self._socket.recv(65536))
            except TimeoutError:
                continue
            labels = told["labels"]
            self.labels.add((labels["process"], labels["method"]))

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def listener(cloud: services.Cloud) -> Iterator[Listener]:
    made = Listener(cloud.transport_url)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    made = Metrics(_socket_path(tmp_path_factory))
    yield made
    made.stop()


def _socket_path(factory: pytest.TempPathFactory) -> pathlib.Path:
    return factory.getbasetemp() / "m.sock"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def running(
    cloud: services.Cloud,
    listener: Listener,
    metrics: Metrics,
    reports: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> services.Cloud:
    """A cloud in which everything is told that can be."""
    cloud.options = {
        "oslo_messaging_notifications": {"driver": "messagingv2"},
        "oslo_messaging_metrics": {
            "metrics_enabled": True,
            "metrics_socket_file": _socket_path(tmp_path_factory),
            "metrics_thread_stop_timeout": 1,
        },
        "oslo_reports": {"log_dir": reports},
    }
    conductor = cloud.conductor()
    api = cloud.api()
    conductor.launch()
    api.launch()
    conductor.wait_ready()
    api.wait_ready()
    return cloud


def test_a_boot_and_an_operator_are_notified_of(
    listener: Listener,
    compute: site.Compute,
    profile: str,
    admin: client.Client,
    member: client.Client,
    nova_for_member: client.Client,
) -> None:
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    name = device["uuid"]
    admin.ask("POST", f"/devices/{name}/disable", 204)
    admin.ask("POST", f"/devices/{name}/enable", 204)
    body = {"device_profile_name": profile}
    arqs = member.post("/accelerator_requests", body)["arqs"]
    provider = compute.provider()
    assert provider is not None
    instance = str(uuid.uuid4())
    nova_for_member.patch(
        "/accelerator_requests",
        client.bind_body(arqs, compute.host, provider["uuid"], instance),
    )
    nova_for_member.delete("/accelerator_requests", instance=instance)
    uuids = [arq["uuid"] for arq in arqs]
    process.wait_until(
        lambda: listener.events_of(*uuids).count("arq.deleted") == 2,
        "notifications",
    )
    assert listener.events_of(name) == [
        "device.create",
        "device.disable",
        "device.enable",
    ]
    for uuid_ in uuids:
        assert listener.events_of(uuid_) == [
            "arq.created",
            "arq.bound",
            "arq.deleted",
        ]


def test_calls_of_each_daemon_are_measured(
    metrics: Metrics, compute: site.Compute, admin: client.Client
) -> None:
    (device,) = admin.get("/devices", hostname=compute.host)["devices"]
    admin.ask("POST", f"/devices/{device['uuid']}/enable", 204)
    methods = {"device_set_status", "agent_register", "report_data"}
    process.wait_until(
        lambda: methods <= {method for _program, method in metrics.labels},
        "calls measured",
    )


def test_daemons_report_what_they_are_doing(
    running: services.Cloud, compute: site.Compute, reports: pathlib.Path
) -> None:
    def complete() -> list[str]:
        texts = [path.read_text() for path in reports.iterdir()]
        return [text for text in texts if "service_down_time" in text]

    daemons = running.processes.values()
    for daemon in daemons:
        daemon.signal(signal.SIGUSR2)
    process.wait_until(
        lambda: len(complete()) == len(daemons), "a report of each daemon"
    )
    for text in complete():
        assert "OpenStack Cyborg" in text
        assert "Threads" in text
        assert f" = {keystone_fixture.PASSWORD}\n" not in text
    assert all(daemon.running for daemon in daemons)
