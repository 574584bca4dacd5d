"""The example driver on a recorded machine."""

import pathlib

from cyborg_driver_example import driver
import pytest

from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine

MACHINE = pathlib.Path(__file__).parent / "edu.txt"
LSPCI = (
    "Slot:\t0000:00:04.0\n"
    "Class:\tUnclassified device [00ff]\n"
    "Vendor:\tVendor [1234]\n"
    "Device:\tDevice [11e8]\n"
)


def make(tmp_path, **options):
    return driver.EduDriver(
        root=machine.unpack_text(MACHINE.read_text(), tmp_path),
        run=machine.Commands({"lspci": LSPCI}),
        host="cn1",
        conf=driver_fixture.conf(edu=options),
    )


def test_report(tmp_path):
    found = driver_fixture.plain(make(tmp_path).discover())
    assert len(found) == 2
    assert found[0] == {
        "vendor": "1234",
        "model": "Device",
        "type": "AICHIP",
        "std_board_info": '{"product_id": "11e8"}',
        "vendor_board_info": None,
        "stub": False,
        "cpid_type": "PCI",
        "cpid_info": '{"bus": "00", "device": "04", "domain": "0000", '
        '"function": "0"}',
        "deployables": [
            {
                "name": "cn1_0000:00:04.0",
                "num_accelerators": 1,
                "driver_name": "qemu",
                "attributes": [
                    ("rc", "CUSTOM_EDU"),
                    ("trait0", "CUSTOM_EDU_FACTORIAL"),
                ],
                "handles": [
                    (
                        "PCI",
                        '{"bus": "00", "device": "04", "domain": "0000", '
                        '"function": "0"}',
                    )
                ],
            }
        ],
    }


def test_trait_of_the_operator(tmp_path):
    device, _other = make(tmp_path, trait="CUSTOM_RACK_7").discover()
    assert driver_fixture.traits(device) == [
        "CUSTOM_EDU_FACTORIAL",
        "CUSTOM_RACK_7",
    ]


def test_trait_that_ends_the_agent(tmp_path):
    with pytest.raises(exception.ConfigInvalid):
        make(tmp_path, trait="RACK_7")
