"""An image goes from a deployable's driver name to the vendor's program."""

import functools
import json
import pathlib

import pytest

from cyborg.accelerator.drivers import inspur_fpga
from cyborg.accelerator.drivers import intel_fpga
from cyborg.accelerator.drivers import xilinx_fpga
from cyborg.agent import discovery
from cyborg.agent import images
from cyborg.agent import intents
from cyborg.agent import report
from cyborg.agent import work
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import fpga_tools
from cyborg.tests.unit.agent import test_images

tool = fpga_tools.tool


@pytest.fixture
def host(tmp_path: pathlib.Path) -> discovery.Discovery:
    root = machine.unpack("fpga_server", tmp_path / "machine")

    def make(kind):
        return kind(
            root=root,
            host="cn1",
            conf=driver_fixture.conf(),
            run=machine.Commands(),
        )

    drivers = discovery.construct(
        discovery.Enabled(name, functools.partial(make, kind))
        for name, kind in (
            ("inspur_fpga_driver", inspur_fpga.InspurFPGADriver),
            ("intel_fpga_driver", intel_fpga.IntelFPGADriver),
            ("xilinx_fpga_driver", xilinx_fpga.XilinxFPGADriver),
        )
    )
    found = discovery.Discovery(drivers, report.Cache(tmp_path / "cache.json"))
    found.run()
    return found


@pytest.fixture
def glance() -> test_images.Glance:
    return test_images.Glance()


@pytest.fixture
def host_work(host, glance, tmp_path) -> work.HostWork:
    store = images.ImageStore(tmp_path / "images", glance)
    store.prepare()
    log = intents.IntentLog(tmp_path / "intents.json", "boot 1")
    return work.HostWork(host, log, store)


def deployable(host: discovery.Discovery, name: str, bus: str):
    """Return what a conductor sends: control path ID and driver name."""
    for device in host.known(name):
        info = json.loads(device["controlpath_id"]["cpid_info"])
        if info["bus"] == bus and info["domain"] == "0000":
            return (
                {"cpid_type": "PCI", "cpid_info": info},
                device["deployable_list"][0]["driver_name"],
            )
    raise LookupError(bus)


@pytest.mark.parametrize(
    ("name", "bus", "program", "suffix"),
    [
        ("intel_fpga_driver", "be", "/usr/bin/fpgaconf", ".gbs"),
        (
            "xilinx_fpga_driver",
            "d8",
            "/opt/xilinx/xrt/bin/xbmgmt",
            ".xsabin",
        ),
    ],
)
def test_program(host, host_work, glance, tool, name, bus, program, suffix):
    cpid, driver_name = deployable(host, name, bus)
    host_work.program("job", cpid, glance.add(b"bitstream"), driver_name)
    ((argv, _timeout),) = tool.calls
    assert argv[0] == program
    assert [word for word in argv if word.endswith(suffix)]
    # The same job is not done twice.
    host_work.program("job", cpid, glance.add(b"bitstream"), driver_name)
    assert len(tool.calls) == 1


def test_what_the_program_said_is_told(host, host_work, glance, tool):
    cpid, driver_name = deployable(host, "intel_fpga_driver", "5e")
    tool.answer = fpga_tools.REFUSED
    image = glance.add(b"bitstream")
    with pytest.raises(exception.DriverError, match="No suitable slots"):
        host_work.program("job", cpid, image, driver_name)
    tool.answer = ""
    host_work.program("job", cpid, image, driver_name)
    assert len(tool.calls) == 2


def test_card_without_program(host, host_work, glance, tool):
    cpid, driver_name = deployable(host, "inspur_fpga_driver", "87")
    with pytest.raises(LookupError, match="INSPUR"):
        host_work.program("job", cpid, glance.add(b"bitstream"), driver_name)
    assert tool.calls == []
