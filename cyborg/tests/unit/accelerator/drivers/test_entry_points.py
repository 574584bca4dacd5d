"""Every driver can be loaded by its name."""

import inspect
from typing import Any

import pytest
from stevedore import driver as stevedore_driver

from cyborg.accelerator import driver as driver_api
from cyborg.common import constants
from cyborg.tests.fixtures import driver as driver_fixture

NAMES = {
    "declared_driver": ["stats"],
    "fake_driver": ["program", "update", "mdev", "stats"],
    "huawei_ascend_driver": ["stats"],
    "inspur_fpga_driver": ["stats"],
    "inspur_nvme_ssd_driver": ["stats"],
    "intel_fpga_driver": ["program", "stats"],
    "intel_nic_driver": ["stats"],
    "intel_pmem_driver": None,
    "intel_qat_driver": ["stats"],
    "nvidia_gpu_driver": ["mdev", "stats"],
    "nvmf_spdk_driver": None,
    "pci_driver": ["stats"],
    "vhost_spdk_driver": None,
    "xilinx_fpga_driver": ["program", "stats"],
}


@pytest.mark.parametrize("name", NAMES)
def test_loads(name):
    loaded: Any = stevedore_driver.DriverManager(
        "cyborg.accelerator.driver", name
    ).driver
    assert issubclass(loaded, driver_api.Driver)
    assert loaded.TYPE == "" or loaded.TYPE in tuple(constants.DeviceType)
    made = loaded(conf=driver_fixture.conf(), host="cn1")
    if NAMES[name] is not None:
        assert driver_api.capabilities(made) == NAMES[name]


@pytest.mark.parametrize("name", NAMES)
def test_needs_no_arguments(name):
    loaded: Any = stevedore_driver.DriverManager(
        "cyborg.accelerator.driver", name
    ).driver
    inspect.signature(loaded).bind()
