"""Whole reports of recorded machines, and what holds for each of them."""

import json
import os
import pathlib
import re
from typing import Any

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies
import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator import pci
from cyborg.accelerator.drivers import pci as pci_driver
from cyborg.objects import base
from cyborg.objects import report
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import reports

TRAIT = re.compile(r"(OWNER_CYBORG|CUSTOM_[A-Z0-9_]{1,248})")
RESOURCE_CLASS = re.compile(r"(FPGA|PGPU|VGPU|CUSTOM_[A-Z0-9_]+)")


def make(
    name: str, root: pathlib.Path, conf: dict[str, Any], driver: type
) -> driver_api.Driver:
    return driver(
        root=machine.unpack(name, root),
        run=machine.Commands({"lspci": machine.lspci()}),
        host="cn1",
        conf=driver_fixture.conf(**conf),
    )


@pytest.fixture(params=reports.REPORTS, ids=[r[0] for r in reports.REPORTS])
def case(request, tmp_path):
    """The name of a report, and the driver that is to make it."""
    name, recorded, driver, conf = request.param
    return name, make(recorded, tmp_path, conf, driver)


def test_report(case):
    name, driver = case
    assert golden.text(driver.discover()) == golden.expected(name)


def test_report_is_the_same_again(case):
    _name, driver = case
    assert golden.text(driver.discover()) == golden.text(driver.discover())


def test_texts_are_legal(case):
    _name, driver = case
    found = driver.discover()
    names = [d.name for device in found for d in device.deployable_list]
    assert len(names) == len(set(names))
    assert all(len(name) <= 200 for name in names)
    for device in found:
        assert len(device.controlpath_id.cpid_info) <= 255
        for deployable in device.deployable_list:
            check_deployable(deployable)


def check_deployable(deployable: report.DriverDeployable) -> None:
    attributes = [(a.key, a.value) for a in deployable.attribute_list]
    classes = [value for key, value in attributes if key == "rc"]
    assert len(classes) == 1
    assert RESOURCE_CLASS.fullmatch(classes[0])
    traits = attributes[1:]
    assert [key for key, _value in traits] == [
        f"trait{number}" for number in range(len(traits))
    ]
    for _key, value in traits:
        assert TRAIT.fullmatch(value)
    assert len({value for _key, value in traits}) == len(traits)
    infos = [handle.attach_info for handle in deployable.attach_handle_list]
    assert len(infos) == len(set(infos))
    # A Xilinx card is one accelerator with two functions.
    each = 2 if deployable.driver_name == "XILINX" else 1
    assert len(infos) == each * deployable.num_accelerators
    for info in infos:
        assert len(info) <= 255
        content = json.loads(info)
        assert json.dumps(content, sort_keys=True) == info
        assert all(isinstance(value, str) for value in content.values())


def test_report_survives_rpc(case):
    """What the conductor gets is what the driver said, to the byte."""
    _name, driver = case
    found = driver.discover()
    serializer = base.CyborgObjectSerializer()
    wire = json.loads(json.dumps(serializer.serialize_entity(None, found)))
    received = serializer.deserialize_entity(None, wire)
    assert golden.text(received) == golden.text(found)
    assert [each.stub for each in received] == [each.stub for each in found]


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(random=strategies.randoms(use_true_random=False))
def test_listing_order_changes_nothing(case, random):
    """The kernel lists directories in whatever order it likes."""
    name, driver = case

    class Entries(list):
        def __enter__(self):
            return self

        def __exit__(self, *_error):
            pass

    real_list, real_scan = os.listdir, os.scandir

    def listdir(path):
        return random.sample(found := real_list(path), len(found))

    def scandir(path):
        with real_scan(path) as entries:
            found = list(entries)
        return Entries(random.sample(found, len(found)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        patch.setattr(os, "scandir", scandir)
        assert golden.text(driver.discover()) == golden.expected(name)


@pytest.mark.parametrize(
    "driver", sorted({r[2] for r in reports.REPORTS}, key=str)
)
class TestEveryDriver:
    """What holds whatever the card."""

    CONF = {"pci": {"passthrough_whitelist": ('{"address": "*:*:*.[0-6]"}',)}}

    def test_empty_host(self, driver, tmp_path):
        assert make("empty_host", tmp_path, self.CONF, driver).discover() == []

    def test_machine_that_cannot_be_read(self, driver, tmp_path):
        broken = driver(
            root=tmp_path,
            run=machine.Commands(),
            host="cn1",
            conf=driver_fixture.conf(**self.CONF),
        )
        with pytest.raises(Exception, match="sys/bus/pci/devices"):
            broken.discover()

    def test_this_machine(self, driver):
        """Whatever it is, its PCI bus is read without an error."""
        buses = pathlib.Path("/sys/bus/pci/devices")
        listed = {
            pci.address_info(path.name)
            for path in buses.iterdir()
            # Of a card that is divided, only the parts are offered.
            if not any(path.glob("virtfn*"))
        }
        found = driver(host="cn1", conf=driver_fixture.conf(**self.CONF))
        devices = {d.controlpath_id.cpid_info for d in found.discover()}
        if driver is pci_driver.PCIDriver:
            assert devices == listed
        else:
            assert devices <= listed

    def test_without_lspci(self, driver, tmp_path):
        """Only names are missing."""
        case = next(r for r in reports.REPORTS if r[2] is driver)
        with_names = make(case[1], tmp_path / "a", case[3], driver)
        without: Any = make(case[1], tmp_path / "b", case[3], driver)
        without.names._run = machine.Commands()
        named, unnamed = with_names.discover(), without.discover()
        for device in [*named, *unnamed]:
            device.model = "?"
        assert golden.text(unnamed) == golden.text(named)
