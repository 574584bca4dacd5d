"""What is measured on cards."""

import pytest

from cyborg.accelerator.drivers import inspur_nvme_ssd
from cyborg.accelerator.drivers import intel_qat
from cyborg.accelerator.drivers import nvidia_gpu
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine


def stats(driver, name, tmp_path, **parts):
    made = driver(
        root=machine.unpack(name, tmp_path),
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(),
    )
    info = {"domain": "0000", "device": "00", "function": "0"} | parts
    return made.get_stats({"cpid_type": "PCI", "cpid_info": info})


def test_gpu(tmp_path):
    properties = {
        "id": "10de:15f7",
        "driver": "nvidia",
        "numa_node": "0",
        "temperature": "41",
        "power": "27.5",
        "current_link_speed": "8.0 GT/s PCIe",
        "current_link_width": "16",
        "max_link_speed": "8.0 GT/s PCIe",
        "max_link_width": "16",
        "aer_dev_correctable": "3",
        "aer_dev_nonfatal": "0",
        "aer_dev_fatal": "0",
    }
    found = stats(nvidia_gpu.NvidiaGPUDriver, "gpu_server", tmp_path, bus="3b")
    assert found == {
        "device": {
            "device_name": "0000:3b:00.0",
            "device_number": "",
            "properties": properties,
            "deploy": [
                {
                    "accelerator": {
                        "acc_name": "0000:3b:00.0",
                        "properties": properties,
                    }
                }
            ],
        }
    }


def test_drive(tmp_path):
    found = stats(
        inspur_nvme_ssd.InspurNVMeSSDDriver,
        "storage_server",
        tmp_path,
        bus="db",
    )["device"]
    assert found["device_number"] == "S0"
    assert found["properties"]["temperature"] == "33.85"
    assert found["properties"]["current_link_width"] == "4"


def test_card_without_sensors(tmp_path):
    found = stats(intel_qat.IntelQATDriver, "qat_server", tmp_path, bus="05")
    assert found["device"]["properties"] == {
        "id": "8086:37c8",
        "driver": "c6xx",
        "numa_node": "0",
    }
    names = [e["accelerator"]["acc_name"] for e in found["device"]["deploy"]]
    assert names == [f"0000:05:{1 + n // 8:02x}.{n % 8}" for n in range(16)]


@pytest.mark.parametrize("bus", ["03", "77"])
def test_other_card(tmp_path, bus):
    """Another driver's, or none."""
    with pytest.raises(exception.PciDeviceNotFoundById, match=f"0000:{bus}"):
        stats(nvidia_gpu.NvidiaGPUDriver, "gpu_server", tmp_path, bus=bus)


def test_no_pci_address(tmp_path):
    driver = nvidia_gpu.NvidiaGPUDriver(
        root=tmp_path, host="cn1", conf=driver_fixture.conf()
    )
    with pytest.raises(exception.InvalidType):
        driver.get_stats({"cpid_type": "PMEM", "cpid_info": {}})
