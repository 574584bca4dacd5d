"""What the hardware says of itself: never an offer, and never forgotten."""

import json

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator.drivers import intel_pmem
from cyborg.agent import discovery
from cyborg.agent import report
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent.gate import whole

FPGA, GPU = "0000:01:00.0", "0000:3b:00.0"
DRIVERS = ("intel_fpga_driver", "nvidia_gpu_driver")
FAILS = ["hardware-fails"]
REGION = "CUSTOM_FPGA_REGION_INTEL_BFAC4D851EE856FE8C95865CE1BBAA2D"


def path_of(root, address):
    return root / "sys/devices" / f"pci{address[:7]}" / address


def fall_off(root, *addresses):
    """Have the registers of functions read as all ones."""
    for address in addresses:
        (path_of(root, address) / "config").write_bytes(b"\xff" * 64)


def traits(agent, in_use=None):
    return {
        attribute["value"]
        for driver in agent.discovery.run(in_use)
        for device in driver.devices
        for deployable in device["deployable_list"]
        for attribute in deployable["attribute_list"]
        if attribute["key"].startswith("trait")
    }


# -- off the bus


def test_cards_that_fall_off_the_bus(unpack):
    root = unpack("cards_on_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    assert agent.offered() == [FPGA, GPU]
    before = traits(agent)
    assert REGION in before
    fall_off(root, FPGA, GPU)
    for path in path_of(root, FPGA).rglob("*_id"):
        path.write_text("f" * 32 + "\n")
    for again in (agent, whole.Agent(root, *DRIVERS)):
        found = again.report()
        assert found.keys() == {FPGA, GPU}
        assert all("hardware-fails" in rules for rules in found.values())
        assert traits(again) == before
    # What guests have is not withdrawn.
    assert agent.offered(in_use=[GPU]) == [GPU]
    assert agent.report(in_use=[FPGA, GPU]) == {FPGA: [], GPU: []}


def test_cards_that_were_off_the_bus_from_the_start(unpack):
    root = unpack("cards_off_the_bus")
    fall_off(root, FPGA, GPU)
    agent = whole.Agent(root, *DRIVERS)
    assert agent.report() == {GPU: FAILS}
    assert agent.stubs() == [FPGA]
    assert not any("FFFF" in trait for trait in traits(agent))


def test_card_that_is_back(unpack):
    root = unpack("cards_on_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    before = agent.report()
    fall_off(root, GPU)
    assert agent.report() == {FPGA: [], GPU: FAILS}
    (path_of(root, GPU) / "config").write_bytes(b"\xde\x10\xb9\x26" * 16)
    assert agent.report() == before


def test_link_that_is_gone(unpack):
    root = unpack("cards_on_the_bus")
    (path_of(root, GPU) / "current_link_width").write_text("63\n")
    assert whole.Agent(root, *DRIVERS).report()[GPU] == FAILS


def test_registers_of_what_sleeps_are_not_read(unpack):
    """That would wake the card up."""
    root = unpack("cards_on_the_bus")
    fall_off(root, GPU)
    power = path_of(root, GPU) / "power"
    power.mkdir()
    (power / "runtime_status").write_text("suspended\n")
    assert whole.Agent(root, *DRIVERS).report()[GPU] == []
    (power / "runtime_status").write_text("active\n")
    assert whole.Agent(root, *DRIVERS).report()[GPU] == FAILS


def test_parts_of_a_card_that_fell_off_the_bus(build):
    card, *parts = "0000:5e:00.0", "0000:5e:00.1", "0000:5e:00.2"
    root = build(whole.divided(card, "8086", "37c8", "0b4000", *parts))
    agent = whole.Agent(root, "intel_qat_driver")
    assert agent.offered() == parts
    fall_off(root, parts[0])
    assert agent.offered() == parts[1:]
    fall_off(root, card)
    assert agent.offered() == []


def test_fpga_with_one_id_of_ones(unpack):
    root = unpack("cards_on_the_bus")
    (path,) = path_of(root, FPGA).rglob("interface_id")
    path.write_text("F" * 32 + "\n")
    agent = whole.Agent(root, *DRIVERS)
    assert agent.stubs() == [FPGA]
    assert FPGA not in agent.report()


# -- ids that are none


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vendor", ""),
        ("vendor", "0xgarbage"),
        ("vendor", "0xffff"),
        ("device", "0xffff"),
        ("device", ""),
        ("class", ""),
        ("class", "0xffffff"),
        ("class", "none"),
    ],
)
def test_card_without_ids_keeps_its_records(unpack, name, text):
    root = unpack("cards_on_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    before = traits(agent)
    (path_of(root, GPU) / name).write_text(text)
    # Also after a new start, when no driver knows the card any more.
    for again in (agent, whole.Agent(root, *DRIVERS)):
        assert again.report() == {FPGA: [], GPU: FAILS}
        assert traits(again) == before
    assert agent.offered(in_use=[GPU]) == [FPGA, GPU]


def test_card_that_never_had_ids_costs_nobody_else(unpack):
    root = unpack("cards_on_the_bus")
    (path_of(root, GPU) / "vendor").write_text("0xffff\n")
    assert whole.Agent(root, *DRIVERS).report() == {FPGA: []}


def test_card_that_is_gone_is_no_stub(unpack):
    root = unpack("cards_on_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    agent.report()
    (root / "sys/bus/pci/devices" / GPU).unlink()
    assert agent.report() == {FPGA: []}
    assert agent.stubs() == []


# -- persistent memory


def namespace(number, **values):
    device = {
        "chardev": f"dax{number}.0",
        "size": 1054867456,
        "align": 2097152,
        "mode": "devdax",
        **values.pop("device", {}),
    }
    return {
        "dev": f"namespace{number}.0",
        "mode": "devdax",
        "size": 1054867456,
        "uuid": f"445664fa-8def-4dfc-85aa-aa7ded8b4f5{number}",
        "daxregion": {"id": number, "devices": [device]},
        "align": 2097152,
        "name": f"ns{number}",
        **values,
    }


class Memory:
    """A driver of two namespaces that are told of in ``second``."""

    def __init__(self, tmp_path, second):
        self.commands = machine.Commands()
        self.tell(second)
        conf = driver_fixture.conf(
            DEFAULT={"state_path": tmp_path},
            agent={"filesystem_root": tmp_path},
            pmem_devices={"pmem_namespaces": ["1GB:ns0|ns1"]},
        )

        def make():
            return intel_pmem.IntelPMEMDriver(
                root=tmp_path, run=self.commands, host="cn1", conf=conf
            )

        drivers = discovery.construct(
            [discovery.Enabled("intel_pmem_driver", make)]
        )
        self.discovery = discovery.Discovery(
            drivers, report.Cache(tmp_path / "last.json")
        )

    def tell(self, second):
        self.commands.answers["ndctl"] = json.dumps([namespace(0), second])

    def offered(self, in_use=()):
        """Return the names of the namespaces, None of what is withheld."""
        (driver,) = self.discovery.run(in_use)
        (device,) = driver.devices
        (deployable,) = device["deployable_list"]
        assert deployable["num_accelerators"] == len(
            deployable["attach_handle_list"]
        )
        if deployable["withheld"]:
            return None
        return [
            json.loads(handle["attach_info"])["namespace"]
            for handle in deployable["attach_handle_list"]
        ]

    def infos(self):
        (driver,) = self.discovery.run()
        return [
            handle["attach_info"]
            for handle in driver.devices[0]["deployable_list"][0][
                "attach_handle_list"
            ]
        ]


@pytest.fixture
def pmem(tmp_path):
    (tmp_path / "agent").mkdir()
    return Memory(tmp_path, namespace(1))


@pytest.mark.parametrize(
    "second",
    [
        namespace(1, device={"mode": "system-ram", "online_memblocks": 7}),
        namespace(1, device={"state": "disabled"}),
        namespace(1, badblock_count=8, badblocks=[{"offset": 32768}]),
        namespace(1, state="disabled"),
    ],
)
def test_namespace_that_must_not_be_given(pmem, second):
    assert pmem.offered() == ["ns0", "ns1"]
    infos = pmem.infos()
    pmem.tell(second)
    assert pmem.offered() == ["ns0"]
    # A guest has it already.
    assert pmem.offered(in_use=infos[1:]) == ["ns0", "ns1"]
    pmem.tell(namespace(1))
    assert pmem.offered() == ["ns0", "ns1"]


def test_label_of_which_no_namespace_may_be_given(pmem):
    bad = {"device": {"mode": "system-ram"}}
    pmem.commands.answers["ndctl"] = json.dumps(
        [namespace(0, **bad), namespace(1, **bad)]
    )
    assert pmem.offered() is None


@pytest.mark.parametrize(
    "second",
    [
        namespace(1),
        # As ndctl 58 has it.
        {
            **namespace(1),
            "daxregion": {"devices": [{"chardev": "dax1.0", "size": 1}]},
        },
        namespace(1, device={"mode": "dax"}),
    ],
)
def test_namespace_that_may_be_given(pmem, second):
    pmem.tell(second)
    assert pmem.offered() == ["ns0", "ns1"]


def test_reasons_stay_the_same(unpack):
    """Or each report would be another."""
    root = unpack("cards_on_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    agent.report()
    fall_off(root, FPGA, GPU)
    found = [agent.discovery.run() for _time in range(2)]
    digests = {report.Report.of(each, "cn1").digest for each in found}
    assert len(digests) == 1


def test_address_info_is_what_drivers_say(unpack):
    """What is broken is told by the text that the report has."""
    root = unpack("cards_off_the_bus")
    agent = whole.Agent(root, *DRIVERS)
    agent.report()
    broken = agent.drivers[0].get().broken()
    assert list(broken) == [pci.address_info(FPGA)]
