"""The fake driver: what it reports, and that it does as it is told."""

import hashlib
import json
import threading

import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator.drivers import fake
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden

INFO = {"domain": "0000", "bus": "0c", "device": "00", "function": "0"}
CPID = {"cpid_type": "PCI", "cpid_info": INFO}
ADDRESS = "0000:0c:00.0"
UUID = "1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d11"


@pytest.fixture
def control(tmp_path):
    """Writes the control file."""

    def write(**content):
        (tmp_path / "fake-driver.json").write_text(json.dumps(content))

    return write


@pytest.fixture
def driver(tmp_path):
    return fake.FakeDriver(
        host="cn1.example.org",
        conf=driver_fixture.conf(DEFAULT={"state_path": tmp_path}),
    )


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"bits")
    return str(path)


def handles(device):
    (deployable,) = device.deployable_list
    return [
        (handle.attach_type, handle.attach_info)
        for handle in deployable.attach_handle_list
    ]


def test_report(driver):
    (device,) = driver.discover()
    text = golden.text([device])
    assert text.startswith(
        "FPGA 0xABCD, miss model info\n"
        '  std {"device_id": "0xabcd", "class": "Fake class"}\n'
        "  vendor fake_vendor_info\n"
        '  at PCI {"domain":"0000","bus":"0c","device":"00","function":"0"}\n'
        "  cn1_example_org_FakeDevice of fake counts 16\n"
        "    traits1 = CUSTOM_FAKE_DEVICE\n"
        "    rc = FPGA\n"
        '    TEST_PCI {"domain": "0000", "bus": "0c", "device": "0", '
        '"function": "1"}\n'
    )
    assert handles(device)[-1] == (
        "TEST_PCI",
        '{"domain": "0000", "bus": "0c", "device": "2", "function": "0"}',
    )
    assert golden.text(driver.discover()) == text


@pytest.mark.parametrize("count", [16, 255, 1000])
def test_handles_are_addresses(driver, control, count):
    control(handles=count)
    (device,) = driver.discover()
    infos = [json.loads(info) for _type, info in handles(device)]
    assert len(infos) == min(count, 255)
    assert len({tuple(info.values()) for info in infos}) == len(infos)
    assert {(info["domain"], info["bus"]) for info in infos} == {
        ("0000", "0c")
    }
    assert all(int(info["device"]) < 32 for info in infos)
    assert all(int(info["function"]) < 8 for info in infos)


def test_more_devices(driver, control):
    control(devices=3, traits=["custom-x"])
    found = driver.discover()
    assert len({device.controlpath_id.cpid_info for device in found}) == 3
    assert [device.deployable_list[0].name for device in found] == [
        "cn1_example_org_FakeDevice",
        "cn1_example_org_FakeDevice_1",
        "cn1_example_org_FakeDevice_2",
    ]
    assert driver_fixture.traits(found[0])[-1] == "CUSTOM_X"
    infos = [info for device in found for _type, info in handles(device)]
    assert len(set(infos)) == 48


def test_capabilities(driver):
    assert driver_api.capabilities(driver) == [
        "program",
        "update",
        "mdev",
        "stats",
    ]


def test_program(driver, image):
    assert driver.program(CPID, image) is True
    digest = hashlib.sha256(b"bits").hexdigest()
    stats = driver.get_stats(CPID)["device"]
    assert stats["device_name"] == ADDRESS
    assert stats["properties"]["image"] == digest
    assert stats["deploy"][0]["accelerator"]["properties"]["handles"] == "16"


@pytest.mark.parametrize("operation", ["program", "update"])
def test_program_as_told(driver, control, image, operation):
    load = getattr(driver, operation)
    control(**{operation: {"result": False}})
    assert load(CPID, image) is False
    control(**{operation: {"fail": "no power"}})
    with pytest.raises(exception.DriverError, match="no power"):
        load(CPID, image)
    assert driver.get_stats(CPID)["device"]["properties"]["image"] == ""
    control(**{operation: {"seconds": 0.1}})
    assert load(CPID, image) is True


def test_hang_ends_with_the_control_file(driver, control, image, tmp_path):
    control(program={"hang": True})
    results = []
    thread = threading.Thread(
        target=lambda: results.append(driver.program(CPID, image))
    )
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    (tmp_path / "fake-driver.json").unlink()
    thread.join(5)
    assert results == [True]


def test_discovery_as_told(driver, control):
    control(discover={"fail": "bus error"})
    with pytest.raises(exception.DriverError, match="bus error"):
        driver.discover()


@pytest.mark.parametrize(
    ("cpid", "error"),
    [
        ({**CPID, "cpid_type": "PMEM"}, exception.InvalidType),
        (
            {**CPID, "cpid_info": {**INFO, "bus": "0d"}},
            exception.PciDeviceNotFoundById,
        ),
    ],
)
def test_program_something_else(driver, image, cpid, error):
    with pytest.raises(error):
        driver.program(cpid, image)


def test_mdevs(driver, control, tmp_path):
    control(attach_type="MDEV", handles=2)
    (device,) = driver.discover()
    assert handles(device) == [
        (
            "MDEV",
            '{"asked_type": "fake-1", "bus": "0c", "device": "00", '
            '"domain": "0000", "function": "0", '
            f'"vgpu_mark": "fake-1_{index}"}}',
        )
        for index in range(2)
    ]
    made = tmp_path / "fake-driver/mdev" / ADDRESS / "fake-1" / UUID
    for _time in range(2):
        driver.create_mdev(ADDRESS, "fake-1", UUID)
    assert made.exists()
    for _time in range(2):
        driver.remove_mdev(ADDRESS, "fake-1", UUID)
    assert not made.exists()


def test_mdevs_as_told(driver, control):
    control(create_mdev={"result": False}, remove_mdev={"fail": "busy"})
    with pytest.raises(exception.DriverError, match="refused"):
        driver.create_mdev(ADDRESS, "fake-1", UUID)
    with pytest.raises(exception.DriverError, match="busy"):
        driver.remove_mdev(ADDRESS, "fake-1", UUID)
    with pytest.raises(exception.PciDeviceNotFoundById):
        control()
        driver.create_mdev("0000:af:00.0", "fake-1", UUID)


def test_an_mdev_of_a_card_that_is_gone_is_gone(driver, control):
    control(devices=2)
    driver.create_mdev("0000:0d:00.0", "fake-1", UUID)
    control(devices=1)
    driver.remove_mdev("0000:0d:00.0", "fake-1", UUID)
    with pytest.raises(exception.CyborgException):
        driver.remove_mdev("../images", "fake-1", UUID)
