"""Cards that are sold today: each is claimed once, or left alone."""

import json

import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator import pci
from cyborg.agent import report
from cyborg.common import exception
from cyborg.tests.unit.agent.gate import whole

FPGA, XILINX, QAT, PCI = (
    "intel_fpga_driver",
    "xilinx_fpga_driver",
    "intel_qat_driver",
    "pci_driver",
)
ASCEND, NVIDIA = "huawei_ascend_driver", "nvidia_gpu_driver"


def listed(*entries):
    return {"passthrough_whitelist": tuple(map(json.dumps, entries))}


def described(agent):
    """Return driver, traits and addresses of handles, by card."""

    def place(text):
        return pci.format_address(json.loads(text))

    return {
        place(report.cpid_info(device)): (
            driver.name,
            {
                attribute["value"]
                for attribute in deployable["attribute_list"]
                if attribute["key"].startswith("trait")
            },
            [
                place(handle["attach_info"])
                for handle in deployable["attach_handle_list"]
            ],
        )
        for driver in agent.discovery.run()
        for device in driver.devices
        for deployable in device["deployable_list"]
    }


# -- Intel FPGAs

N6000 = "0000:3b:00.0"


def n6000(build, product="bcce", driver="vfio-pci"):
    extra = ["sriov_numvfs = 0"]
    if driver == "dfl-pci":
        extra.append(f"fpga_region/region0/dfl-port.0/afu_id = {'5a' * 16}")
    return build(
        whole.function(
            N6000,
            "8086",
            product,
            "120000",
            driver=driver,
            totalvfs=3,
            extra=extra,
        )
    )


def bind(root, driver):
    """Bind the card to another driver, which shows nothing of it."""
    path = root / f"sys/devices/pci0000:3b/{N6000}"
    (path / "driver").unlink()
    (path / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    (path / "fpga_region").rename(path / "gone")


@pytest.mark.parametrize("order", [(FPGA, PCI), (PCI, FPGA)])
def test_n6000_that_is_bound_to_vfio(build, order):
    """It is an FPGA, and nothing else, from the start."""
    agent = whole.Agent(
        n6000(build), *order, pci=listed({"vendor_id": "8086"})
    )
    assert agent.stubs() == [N6000]
    assert agent.report() == {}


@pytest.mark.parametrize("product", ["bcce", "1234"])
def test_fpga_that_is_bound_to_vfio_later(build, product):
    root = n6000(build, product, "dfl-pci")
    conf = {"pci": listed({"vendor_id": "8086"})}
    agent = whole.Agent(root, FPGA, PCI, **conf)
    before = described(agent)
    assert before[N6000][0] == FPGA
    bind(root, "vfio-pci")
    for again in (agent, whole.Agent(root, FPGA, PCI, **conf)):
        assert described(again) == before
        assert again.stubs() == [N6000]


def test_another_card_in_the_slot_of_an_fpga(build):
    root = n6000(build, "1234", "dfl-pci")
    conf = {"pci": listed({"vendor_id": "8086"})}
    assert whole.Agent(root, FPGA, PCI, **conf).stubs() == []
    bind(root, "vfio-pci")
    (root / f"sys/devices/pci0000:3b/{N6000}/device").write_text("0x4321")
    found = described(whole.Agent(root, FPGA, PCI, **conf))
    assert found[N6000][0] == PCI


# -- Xilinx

CARD = "0000:81:00"


def xilinx(build, *products, **values):
    return build(
        *(
            whole.function(
                f"{CARD}.{number}", "10ee", product, "120000", **values
            )
            for number, product in enumerate(products)
        )
    )


def test_card_with_three_functions(build):
    agent = whole.Agent(xilinx(build, "50b4", "50b5", "50b6"), XILINX)
    assert agent.totals() == {f"{CARD}.0": ("FPGA", 1)}
    (found,) = described(agent).values()
    assert found[2] == [f"{CARD}.0", f"{CARD}.1"]
    assert "CUSTOM_PROGRAMMABLE" not in found[1]
    driver = agent.drivers[0].get()
    assert isinstance(driver, driver_api.Programmable)
    with pytest.raises(exception.DriverError, match="not loaded with xbmgmt"):
        driver.program(
            {
                "cpid_type": "PCI",
                "cpid_info": json.loads(pci.address_info(f"{CARD}.0")),
            },
            "/nonexistent",
        )


def test_third_function_is_nobody_elses(build):
    agent = whole.Agent(
        xilinx(build, "50b4", "50b5", "50b6"),
        XILINX,
        PCI,
        pci=listed({"vendor_id": "10ee"}),
    )
    assert list(agent.totals()) == [f"{CARD}.0"]


def test_virtual_functions_in_the_slot_of_a_card(build):
    """They are no handles of the card, and may be listed."""
    parts = [f"{CARD}.4", f"{CARD}.5"]
    root = build(
        whole.divided(
            f"{CARD}.0", "10ee", "5058", "120000", *parts, part_product="a058"
        ),
        whole.function(f"{CARD}.1", "10ee", "5059", "120000"),
    )
    agent = whole.Agent(root, XILINX)
    assert agent.report() == {f"{CARD}.0": ["has-parts"]}
    assert described(agent)[f"{CARD}.0"][2] == [f"{CARD}.0", f"{CARD}.1"]
    agent = whole.Agent(root, XILINX, PCI, pci=listed({"product_id": "a058"}))
    assert agent.offered() == parts


def test_design_with_a_single_function(build):
    root = xilinx(build, "9038")
    agent = whole.Agent(root, XILINX)
    assert agent.report() == {} and agent.stubs() == []
    agent = whole.Agent(root, XILINX, PCI, pci=listed({"vendor_id": "10ee"}))
    assert agent.totals() == {f"{CARD}.0": ("CUSTOM_PCI", 1)}


def test_card_of_which_one_function_is_to_be_seen(build):
    agent = whole.Agent(
        xilinx(build, "5000"),
        XILINX,
        PCI,
        pci=listed({"vendor_id": "10ee"}),
    )
    assert agent.stubs() == [f"{CARD}.0"]
    assert agent.report() == {}


def test_first_driver_has_the_card_whose_address_is_another(build):
    """One names the card by its first function, the other each function."""
    conf = {"pci": listed({"vendor_id": "10ee"})}
    root = xilinx(build, "9034", "9134")
    agent = whole.Agent(root, XILINX, PCI, **conf)
    assert list(agent.totals()) == [f"{CARD}.0"]
    assert described(agent)[f"{CARD}.0"][0] == XILINX


# -- QuickAssist

CPM = "0000:6b:00.0"


@pytest.mark.parametrize("product", ["4940", "4942", "4944"])
def test_quickassist_card_that_nobody_configured(build, product):
    parts = [f"0000:6b:{number >> 3:02x}.{number & 7}" for number in (1, 2)]
    root = build(
        whole.divided(
            CPM,
            "8086",
            product,
            "0b4000",
            *parts,
            part_product=f"{product[:3]}{int(product[3]) + 1}",
        )
    )
    agent = whole.Agent(root, QAT)
    assert agent.report() == {}
    assert agent.warnings() == [
        f"{CPM} is a QuickAssist card that is not offered: {product} is not "
        "in [qat_devices] product_ids"
    ]
    agent = whole.Agent(root, QAT, qat_devices={"product_ids": [product]})
    assert agent.offered() == parts
    assert agent.warnings() == []


def test_traits_of_parts_and_whole_cards(build):
    whole_card, card, part = "0000:05:00.0", "0000:06:00.0", "0000:06:01.0"
    root = build(
        whole.function(whole_card, "8086", "37c8", "0b4000"),
        whole.divided(card, "8086", "37c8", "0b4000", part),
    )
    found = described(whole.Agent(root, QAT))
    assert "CUSTOM_QAT_PF" in found[whole_card][1]
    assert "CUSTOM_QAT_VF" in found[card][1]
    assert "CUSTOM_QAT_PF" not in found[card][1]


# -- what the operator lists


def test_vendor_is_in_a_trait(build):
    """Product ids of two vendors may be equal."""
    cards = {
        "0000:05:00.0": ("1002", "74a1", "120000"),
        "0000:33:00.0": ("1da3", "1020", "120000"),
        "0000:34:00.0": ("15b3", "1020", "020000"),
    }
    root = build(
        *(whole.function(address, *ids) for address, ids in cards.items())
    )
    agent = whole.Agent(
        root,
        PCI,
        pci=listed(*({"vendor_id": v} for v, _, _ in cards.values())),
    )
    found = described(agent)
    for address, (vendor, product, _class) in cards.items():
        assert found[address][1] >= {
            f"CUSTOM_PCI_VENDOR_ID_{vendor.upper()}",
            f"CUSTOM_PCI_PRODUCT_ID_{product.upper()}",
        }
    assert len({frozenset(traits) for _, traits, _ in found.values()}) == 3


# -- all together


def test_odd_cards(unpack):
    """Each is claimed once or left alone, and a golden image is a stub."""
    agent = whole.Agent(unpack("odd_cards"), NVIDIA, FPGA, XILINX, QAT, ASCEND)
    assert agent.totals() == {
        "0000:18:00.0": ("PGPU", 1),
        "0009:01:00.0": ("PGPU", 1),
        "0000:21:00.0": ("FPGA", 1),
        "0000:22:00.0": ("FPGA", 1),
        "0000:81:00.0": ("FPGA", 1),
        "0000:01:00.0": ("CUSTOM_AICHIP", 1),
        "0000:9d:00.0": ("CUSTOM_AICHIP", 1),
        "0000:9f:00.0": ("CUSTOM_AICHIP", 1),
    }
    assert agent.stubs() == ["0000:17:00.0"]


@pytest.mark.parametrize(
    ("vendor", "offered"),
    [
        ("1002", ["0000:05:02.0", "0000:83:00.0", "0000:c6:02.0"]),
        ("1da3", ["0000:33:00.0"]),
        # Only what is no Alveo card.
        ("10ee", ["0000:b1:00.0"]),
    ],
)
def test_odd_cards_that_are_listed(unpack, vendor, offered):
    agent = whole.Agent(
        unpack("odd_cards"),
        XILINX,
        NVIDIA,
        PCI,
        pci=listed({"vendor_id": vendor}),
    )
    found = described(agent)
    assert offered == sorted(
        address for address in found if found[address][0] == PCI
    )
