"""Drivers that were written for OpenStack Cyborg 17.0.0."""

import io
import json
import pathlib
import sys
from typing import Any

import pytest

from cyborg.agent import discovery
from cyborg.agent import dry_run
from cyborg.agent import report
from cyborg.common import exception

# A package of its own, which knows nothing but that release's interface.
SOURCE = '''
import json

from cyborg.accelerator.drivers import driver
from cyborg.conf import CONF
from cyborg.objects.driver_objects import driver_attach_handle
from cyborg.objects.driver_objects import driver_attribute
from cyborg.objects.driver_objects import driver_controlpath_id
from cyborg.objects.driver_objects import driver_deployable
from cyborg.objects.driver_objects import driver_device

PCI = {"domain": "0000", "bus": "3b", "device": "00", "function": "0"}


class AcmeDriver(driver.GenericDriver):
    VENDOR = "acme"

    def __init__(self):
        self.calls = []

    def init_host(self):
        self.calls.append("init_host")

    def discover(self):
        self.calls.append("discover")
        path = driver_controlpath_id.DriverControlPathID()
        path.cpid_type = "PCI"
        path.cpid_info = json.dumps(PCI, sort_keys=True)
        handle = driver_attach_handle.DriverAttachHandle()
        handle.attach_type = "PCI"
        handle.attach_info = json.dumps(PCI, sort_keys=True)
        handle.in_use = False
        deployable = driver_deployable.DriverDeployable()
        deployable.name = CONF.host + "_0000:3b:00.0"
        deployable.num_accelerators = 1
        deployable.driver_name = self.VENDOR
        deployable.attribute_list = [
            driver_attribute.DriverAttribute(key="rc", value="CUSTOM_ACME"),
            driver_attribute.DriverAttribute(key="trait0", value="CUSTOM_X"),
        ]
        deployable.attach_handle_list = [handle]
        device = driver_device.DriverDevice()
        device.vendor = "1de5"
        device.model = "Roadrunner"
        device.type = "AICHIP"
        device.std_board_info = json.dumps({"product_id": "beep"})
        device.vendor_board_info = "acme_vb_info"
        device.controlpath_id = path
        device.deployable_list = [deployable]
        return [device]

    def update(self, control_path, image_path):
        return control_path["cpid_type"] == "PCI" and image_path == "/image"

    def get_stats(self):
        return {"device": {"device_name": "Roadrunner"}}


class FlashableDriver(AcmeDriver):
    def program(self, controlpath_id, image_file_path):
        return image_file_path == "/image"


class Duck:
    """Any class was a driver."""

    def discover(self):
        return AcmeDriver().discover()


class Shell:
    """As one that was never finished."""

    def discover(self):
        pass


class NoDriver:
    pass
'''
ENTRY_POINTS = """[cyborg.accelerator.driver]
acme_driver = acme_driver:AcmeDriver
flashable_driver = acme_driver:FlashableDriver
duck_driver = acme_driver:Duck
shell_driver = acme_driver:Shell
no_driver = acme_driver:NoDriver
"""


@pytest.fixture(autouse=True)
def _package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package."""
    site = tmp_path / "site"
    described = site / "acme_driver-1.0.dist-info"
    described.mkdir(parents=True)
    (site / "acme_driver.py").write_text(SOURCE)
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    (described / "METADATA").write_text("Name: acme_driver\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))
    # Where entry points are kept between runs.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "acme_driver", raising=False)


def load(name: str) -> discovery.Enabled:
    (enabled,) = discovery.load([name])
    return enabled


def original_of(enabled: discovery.Enabled) -> Any:
    adapted: Any = enabled.get()
    return adapted.original


def discover(
    tmp_path: pathlib.Path, enabled: discovery.Enabled
) -> report.Found:
    cache = report.Cache(tmp_path / "cache.json")
    (found,) = discovery.Discovery([enabled], cache).run()
    return found


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("acme_driver", ["update", "mdev", "stats"]),
        ("flashable_driver", ["program", "update", "mdev", "stats"]),
        ("duck_driver", ["mdev"]),
    ],
)
def test_it_is_reported_with_what_it_can(
    tmp_path: pathlib.Path, name: str, can: list[str]
) -> None:
    found = discover(tmp_path, load(name))
    assert (found.error, found.complete) == (None, True)
    assert found.capabilities == can
    (device,) = found.devices
    assert (device["vendor"], device["type"]) == ("1de5", "AICHIP")
    assert device["stub"] is False
    (deployable,) = device["deployable_list"]
    assert deployable["driver_name"] == "acme"
    assert [each["value"] for each in deployable["attribute_list"]] == [
        "CUSTOM_ACME",
        "CUSTOM_X",
    ]
    (handle,) = deployable["attach_handle_list"]
    assert json.loads(handle["attach_info"])["bus"] == "3b"


def test_it_works(tmp_path: pathlib.Path) -> None:
    driver: Any = load("flashable_driver").get()
    path = {"cpid_type": "PCI", "cpid_info": {}}
    assert driver.VENDOR == "acme"
    assert driver.program(path, "/image") is True
    assert driver.program(path, "/other") is False
    assert driver.update(path, "/image") is True
    assert driver.get_stats(path) == {"device": {"device_name": "Roadrunner"}}


def test_host_is_made_ready_once(tmp_path: pathlib.Path) -> None:
    enabled = load("acme_driver")
    discover(tmp_path, enabled)
    discover(tmp_path, enabled)
    assert original_of(enabled).calls == [
        "init_host",
        "discover",
        "discover",
    ]


def test_host_that_is_not_ready_is_made_so_later(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled = load("acme_driver")
    original = original_of(enabled)
    made_ready = original.init_host

    def fail() -> None:
        raise RuntimeError("not yet")

    monkeypatch.setattr(original, "init_host", fail)
    found = discover(tmp_path, enabled)
    assert (found.error, found.complete) == ("RuntimeError: not yet", False)
    monkeypatch.setattr(original, "init_host", made_ready)
    assert discover(tmp_path, enabled).complete
    assert original.calls == ["init_host", "discover"]


def test_dry_run_shows_it_and_makes_nothing_ready() -> None:
    enabled = load("acme_driver")
    out = io.StringIO()
    assert dry_run.main(False, [enabled], out) == 0
    assert "AICHIP 0000:3b:00.0: 1de5 Roadrunner" in out.getvalue()
    assert original_of(enabled).calls == ["discover"]


def test_one_that_returns_no_list_says_nothing_of_its_cards(
    tmp_path: pathlib.Path,
) -> None:
    found = discover(tmp_path, load("shell_driver"))
    assert found.complete is False
    assert "discover() returned None" in str(found.error)


def test_what_is_no_driver_is_named() -> None:
    with pytest.raises(exception.DriverError, match="NoDriver has no method"):
        load("no_driver").get()
