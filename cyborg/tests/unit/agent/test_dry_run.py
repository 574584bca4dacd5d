"""What the operator is shown of a host, and told to look at."""

import io
import json

import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator.drivers import declared
from cyborg.accelerator.drivers import inspur_fpga
from cyborg.accelerator.drivers import xilinx_fpga
from cyborg.agent import discovery
from cyborg.agent import dry_run
from cyborg.common import exception
from cyborg.objects import report
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import reports


class Gives(driver_api.Driver):
    """Reports one device per address, without looking at the machine."""

    addresses: tuple[str, ...] = ()
    changes: dict[str, object] = {}
    attributes = (("rc", "CUSTOM_X"), ("trait0", "CUSTOM_Y"))

    def discover(self) -> list[report.DriverDevice]:
        return [self._device(address) for address in self.addresses]

    def _device(self, address: str) -> report.DriverDevice:
        domain, bus, rest = address.split(":")
        device, function = rest.split(".")
        info = json.dumps(
            {
                "bus": bus,
                "device": device,
                "domain": domain,
                "function": function,
            }
        )
        deployable = {
            "name": f"cn1_{address}",
            "num_accelerators": 1,
            "attribute_list": [
                report.DriverAttribute(key=key, value=value)
                for key, value in self.attributes
            ],
            "attach_handle_list": [
                report.DriverAttachHandle(attach_type="PCI", attach_info=info)
            ],
            "driver_name": "x",
        }
        return report.DriverDevice(
            vendor="8086",
            model="X",
            type="NIC",
            controlpath_id=report.DriverControlPathID(
                cpid_type="PCI", cpid_info=info
            ),
            deployable_list=[
                report.DriverDeployable(**{**deployable, **self.changes})
            ],
        )


def enabled(name, root, *addresses, **values) -> discovery.Enabled:
    kind = type("Given", (Gives,), {"addresses": addresses, **values})
    return make(name, kind, root)


def make(name, kind, root) -> discovery.Enabled:
    def factory():
        return kind(
            root=root,
            host="cn1",
            conf=driver_fixture.conf(),
            run=machine.Commands(),
        )

    (driver,) = discovery.construct([discovery.Enabled(name, factory)])
    return driver


def run(*drivers, as_json=True):
    out = io.StringIO()
    status = dry_run.main(as_json, drivers, out)
    text = out.getvalue()
    return status, json.loads(text) if as_json else text


def kinds(document) -> list[tuple[str, str]]:
    return [(each["device"], each["kind"]) for each in document["conflicts"]]


def test_text(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run.CONF, "host", "cn1")
    root = machine.unpack("fpga_server", tmp_path)
    status, text = run(
        make("xilinx_fpga_driver", xilinx_fpga.XilinxFPGADriver, root),
        make("inspur_fpga_driver", inspur_fpga.InspurFPGADriver, root),
        as_json=False,
    )
    assert text == (
        "Host cn1\n"
        "\n"
        "xilinx_fpga_driver (program, stats)\n"
        "  FPGA 0000:d8:00.0: 10ee 10ee:5000\n"
        "    cn1_0000:d8:00.0: 1 x FPGA\n"
        "      traits: CUSTOM_FPGA_XILINX, CUSTOM_FPGA_PRODUCT_ID_5000, "
        "CUSTOM_PROGRAMMABLE, OWNER_CYBORG\n"
        "      PCI 0000:d8:00.0\n"
        "      PCI 0000:d8:00.1\n"
        "  FPGA 0000:d9:00.0: 10ee 10ee:5004\n"
        "    cn1_0000:d9:00.0: 1 x FPGA\n"
        "      traits: CUSTOM_FPGA_XILINX, CUSTOM_FPGA_PRODUCT_ID_5004, "
        "CUSTOM_PROGRAMMABLE, OWNER_CYBORG\n"
        "      PCI 0000:d9:00.0\n"
        "      PCI 0000:d9:00.1\n"
        "  FPGA 0000:da:00.0: 10ee 10ee:d000\n"
        "    there, but keeps the records it has\n"
        "\n"
        "inspur_fpga_driver (stats)\n"
        "  FPGA 0000:87:00.0: 1bd4 1bd4:a115\n"
        "    cn1_0000:87:00.0: 1 x FPGA\n"
        "      traits: CUSTOM_FPGA_INSPUR, CUSTOM_FPGA_PRODUCT_ID_A115, "
        "OWNER_CYBORG\n"
        "      PCI 0000:87:00.0\n"
        "\n"
        "No conflicts\n"
    )
    assert status == 0


def test_json(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    status, document = run(enabled("x_driver", root, "0000:04:00.0"))
    assert status == 0
    assert document["conflicts"] == []
    assert document["drivers"] == [
        {
            "name": "x_driver",
            "error": None,
            "warnings": [],
            "capabilities": [],
            "devices": [
                {
                    "type": "NIC",
                    "vendor": "8086",
                    "model": "X",
                    "cpid_info": '{"bus": "04", "device": "00", '
                    '"domain": "0000", "function": "0"}',
                    "where": "0000:04:00.0",
                    "stub": False,
                    "deployables": [
                        {
                            "name": "cn1_0000:04:00.0",
                            "resource_classes": ["CUSTOM_X"],
                            "total": 1,
                            "withheld": [],
                            "traits": ["CUSTOM_Y", "OWNER_CYBORG"],
                            "handles": [
                                {
                                    "type": "PCI",
                                    "where": "0000:04:00.0",
                                    "attach_info": '{"bus": "04", '
                                    '"device": "00", "domain": "0000", '
                                    '"function": "0"}',
                                }
                            ],
                        }
                    ],
                }
            ],
        }
    ]


def test_two_drivers_claim_one_device(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    first = enabled("a_driver", root, "0000:04:00.0", "0000:19:00.0")
    second = enabled("b_driver", root, "0000:19:00.0")
    status, document = run(first, second)
    assert status == 1
    (conflict,) = document["conflicts"]
    assert conflict["device"] == "0000:19:00.0"
    assert conflict["driver"] == "b_driver"
    assert conflict["kind"] == "claimed-twice"
    assert "a_driver" in conflict["reason"]


def test_one_driver_reports_a_device_twice(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    driver = enabled("a_driver", root, "0000:04:00.0", "0000:04:00.0")
    assert kinds(run(driver)[1]) == [("0000:04:00.0", "claimed-twice")]


def test_what_the_host_uses(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    addresses = [f"0000:0{bus}:00.0" for bus in range(1, 8)]
    addresses += ["0000:18:00.0", "0000:18:00.1", "0000:19:00.0"]
    status, document = run(enabled("pci_driver", root, *addresses))
    assert status == 1
    assert {kind for _device, kind in kinds(document)} == {"host-uses-it"}
    assert set(addresses) - {device for device, _ in kinds(document)} == {
        "0000:04:00.0",
        "0000:19:00.0",
    }
    text = dry_run.render(document)
    assert (
        "CONFLICT host-uses-it: 0000:02:00.0 of pci_driver: 0000:02:00.0 has "
        "the disk nvme1n1, used as swap space" in text
    )


def test_driver_that_fails_leaves_the_others(tmp_path):
    root = machine.unpack("busy_host", tmp_path)

    def fail(self):
        raise exception.DriverError(reason="no bus")

    broken = enabled("a_driver", root, discover=fail)
    status, document = run(broken, enabled("b_driver", root, "0000:04:00.0"))
    assert status == 1
    assert document["drivers"][0]["error"] == "DriverError: no bus"
    assert len(document["drivers"][1]["devices"]) == 1
    assert "failed: DriverError: no bus" in dry_run.render(document)


def test_driver_that_cannot_be_made():
    def factory():
        raise RuntimeError("no library")

    (driver,) = discovery.construct([discovery.Enabled("a_driver", factory)])
    status, document = run(driver)
    assert status == 1
    assert document["drivers"][0]["error"] == "RuntimeError: no library"


def test_what_placement_would_refuse(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    handle = report.DriverAttachHandle(
        attach_type="PMEM", attach_info='{"size": 1}'
    )
    bad = enabled(
        "a_driver",
        root,
        "0000:04:00.0",
        attributes=(("trait0", "custom-y"),),
        changes={"name": "x" * 201, "attach_handle_list": [handle, handle]},
    )
    status, document = run(bad)
    assert status == 1
    reasons = "\n".join(each["reason"] for each in document["conflicts"])
    assert "name is longer than 200" in reasons
    assert "has 0 resource classes" in reasons
    assert "'custom-y' is not A-Z" in reasons
    assert "twice" in reasons
    assert "no JSON object of texts" in reasons


def test_two_deployables_of_one_name(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    driver = enabled(
        "a_driver",
        root,
        "0000:04:00.0",
        "0000:19:00.0",
        changes={"name": "same"},
    )
    assert kinds(run(driver)[1]) == [("0000:19:00.0", "same-name")]


def test_unknown_driver_is_one_line(monkeypatch, capsys):
    def load(names):
        raise exception.InvalidDriver(name="no_driver", known="fake_driver")

    monkeypatch.setattr(discovery, "load", load)
    assert dry_run.main() == 1
    assert "no_driver" in capsys.readouterr().err


def test_what_a_driver_warns_of_is_no_conflict(tmp_path):
    driver = enabled("one", tmp_path, warnings=lambda self: ["no card"])
    status, document = run(driver)
    assert status == 0
    assert document["drivers"][0]["warnings"] == ["no card"]
    assert "\n  warning: no card\n" in run(driver, as_json=False)[1]


def explained(address, *drivers, capsys):
    out = io.StringIO()
    status = dry_run.main(False, drivers, out, explained=address)
    return status, out.getvalue(), capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        (
            "0000:3C:00.0",
            [
                "0000:3c:00.0 is 1e52:401e, class 1200, of tenstorrent",
                "declared_driver: reports it as AICHIP Wormhole",
                "declared_driver: offers it as CUSTOM_AICHIP",
                "declared_driver: wormhole (DIR/cards.toml:3) takes it",
                "given_driver: does not report it",
            ],
        ),
        (
            "0000:5e:00.3",
            [
                "0000:5e:00.3 is 15b3:101e, class 0200, of no driver",
                "declared_driver: offers it as CUSTOM_NIC",
                "declared_driver: mlx5-vfs (DIR/cards.toml:15) takes it, as "
                "a part of 0000:5e:00.0",
                "given_driver: does not report it",
            ],
        ),
        (
            "0000:82:00.0",
            [
                "0000:82:00.0 is 144d:a824, class 0108, of nvme",
                "declared_driver: wormhole (DIR/cards.toml:3) does not take "
                "it: its vendor is 144d, not 1e52",
                "declared_driver: mlx5-vfs (DIR/cards.toml:15) does not take "
                "it: its vendor is 144d, not 15b3",
                "declared_driver: mlx5-guests (DIR/cards.toml:24) does not "
                "take it: its vendor is 144d, not 15b3",
                "declared_driver: scratch (DIR/cards.toml:31) does not take "
                "it: its subsystem is 1028:2188, not 144d:a801",
                "given_driver: does not report it",
            ],
        ),
    ],
)
def test_explanations(address, lines, tmp_path, capsys):
    root = machine.unpack("declared_server", tmp_path / "root")
    (driver,) = discovery.construct(
        [
            discovery.Enabled(
                "declared_driver",
                lambda: declared.DeclaredDriver(
                    root=root,
                    host="cn1",
                    run=machine.Commands(),
                    conf=driver_fixture.conf(
                        declared={"directory": str(reports.DEVICES)}
                    ),
                ),
            )
        ]
    )
    status, text, _error = explained(
        address,
        driver,
        enabled("given_driver", root),
        capsys=capsys,
    )
    assert status == 0
    assert text.replace(str(reports.DEVICES), "DIR").splitlines() == lines


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("3b:00", "The PCI address 3b:00 has an invalid format.\n"),
        ("0000:ff:00.0", "No PCI device 0000:ff:00.0.\n"),
    ],
)
def test_nothing_to_explain(address, said, tmp_path, capsys):
    machine.unpack("declared_server", tmp_path / "root")
    status, text, error = explained(address, capsys=capsys)
    assert (status, text, error) == (1, "", said)
