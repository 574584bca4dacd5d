"""Inspur FPGA cards beside other devices of the same vendor."""

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator.drivers import inspur_fpga
from cyborg.accelerator.drivers import inspur_nvme_ssd
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine

# pciutils 3.9.0, pci.ids of 2023-04.
LSPCI = (
    "Slot:\t0000:87:00.0\n"
    "Class:\tProcessing accelerators [1200]\n"
    "Vendor:\tInspur Electronic Information Industry Co., Ltd. [1bd4]\n"
    "Device:\tDevice [a115]\n"
    "Rev:\t04\n"
)


def make(tmp_path, kind=inspur_fpga.InspurFPGADriver, **answers):
    return kind(
        root=machine.unpack("fpga_server", tmp_path),
        host="cn1",
        conf=driver_fixture.conf(),
        run=machine.Commands(answers),
    )


def test_report(tmp_path):
    found = make(tmp_path, lspci=LSPCI).discover()
    assert driver_fixture.plain(found) == [
        {
            "vendor": "1bd4",
            "model": "Inspur Electronic Information Industry Co., Ltd. Device",
            "type": "FPGA",
            "std_board_info": '{"product_id": "a115", "controller": '
            '"Processing accelerators"}',
            "vendor_board_info": '{"vendor_info": "fpga_vb_info"}',
            "stub": False,
            "cpid_type": "PCI",
            "cpid_info": '{"bus": "87", "device": "00", "domain": "0000", '
            '"function": "0"}',
            "deployables": [
                {
                    "name": "cn1_0000:87:00.0",
                    "num_accelerators": 1,
                    "driver_name": "INSPUR",
                    "attributes": [
                        ("rc", "FPGA"),
                        ("trait0", "CUSTOM_FPGA_INSPUR"),
                        ("trait1", "CUSTOM_FPGA_PRODUCT_ID_A115"),
                    ],
                    "handles": [
                        (
                            "PCI",
                            '{"bus": "87", "device": "00", '
                            '"domain": "0000", "function": "0"}',
                        )
                    ],
                }
            ],
        }
    ]


def test_without_lspci_only_the_name_is_missing(tmp_path):
    named = driver_fixture.plain(make(tmp_path / "a", lspci=LSPCI).discover())
    bare = driver_fixture.plain(make(tmp_path / "b").discover())
    assert bare[0].pop("model") == "1bd4:a115"
    named[0].pop("model")
    assert bare == named


def test_drives_are_left_to_their_driver(tmp_path):
    cards = make(tmp_path / "a").discover()
    drives = make(
        tmp_path / "b", inspur_nvme_ssd.InspurNVMeSSDDriver
    ).discover()
    known = {each.controlpath_id.cpid_info for each in cards}
    assert len(drives) == 1
    assert known.isdisjoint(each.controlpath_id.cpid_info for each in drives)


def test_is_not_programmable(tmp_path):
    assert driver_api.capabilities(make(tmp_path)) == ["stats"]
