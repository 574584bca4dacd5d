"""The drivers on recorded machines, and what each is to report there."""

import pathlib
from typing import Any

from cyborg.accelerator import driver
from cyborg.accelerator.drivers import declared
from cyborg.accelerator.drivers import huawei_ascend
from cyborg.accelerator.drivers import inspur_fpga
from cyborg.accelerator.drivers import inspur_nvme_ssd
from cyborg.accelerator.drivers import intel_fpga
from cyborg.accelerator.drivers import intel_nic
from cyborg.accelerator.drivers import intel_qat
from cyborg.accelerator.drivers import nvidia_gpu
from cyborg.accelerator.drivers import pci
from cyborg.accelerator.drivers import xilinx_fpga
from cyborg.tests import fixtures

DEVICES = pathlib.Path(fixtures.__file__).with_name("devices.d")
T4_VGPUS = {
    "gpu_devices": {"enabled_vgpu_types": ["nvidia-222"]},
    "vgpu_nvidia-222": {
        "device_addresses": ["0000:AF:00.0", "0000:b0:00.0", "0000:b1:00.0"]
    },
}
NIC_MAPPINGS = {
    "nic_devices": {"enabled_nic_types": ["x710_static", "e810"]},
    "x710_static": {
        "physical_device_mappings": ["physnet1:eth2|eth9", "physnet-2:eth3"],
        "function_device_mappings": ["GTPv1:eth2"],
    },
    "e810": {
        "product_ids": ["0x159B"],
        "physical_device_mappings": ["sriov net:eth4"],
    },
}

# Name of the report, machine, driver, configuration.
REPORTS: list[tuple[str, str, type[driver.Driver], dict[str, Any]]] = [
    ("gpu_server.whole", "gpu_server", nvidia_gpu.NvidiaGPUDriver, {}),
    (
        "gpu_server.shared",
        "gpu_server",
        nvidia_gpu.NvidiaGPUDriver,
        {
            **T4_VGPUS,
            "gpu_devices": {
                **T4_VGPUS["gpu_devices"],
                "filter_sriov_vfs": True,
            },
        },
    ),
    (
        "gpu_ampere",
        "gpu_ampere",
        nvidia_gpu.NvidiaGPUDriver,
        {
            "gpu_devices": {"enabled_vgpu_types": ["nvidia-557"]},
            "vgpu_nvidia-557": {
                "device_addresses": ["0000:41:00.4", "0000:41:00.5"]
            },
        },
    ),
    (
        "gpu_hopper",
        "gpu_hopper",
        nvidia_gpu.NvidiaGPUDriver,
        {
            "gpu_devices": {
                "enabled_vgpu_types": ["nvidia-1414"],
                "vendor_vfio": True,
            },
            "vgpu_nvidia-1414": {"device_addresses": ["0000:c1:00.0"]},
        },
    ),
    ("qat_server", "qat_server", intel_qat.IntelQATDriver, {}),
    (
        "qat_server.4xxx",
        "qat_server",
        intel_qat.IntelQATDriver,
        {"qat_devices": {"product_ids": ["0x4940"]}},
    ),
    ("nic_server", "nic_server", intel_nic.IntelNICDriver, {}),
    (
        "nic_server.mapped",
        "nic_server",
        intel_nic.IntelNICDriver,
        NIC_MAPPINGS,
    ),
    (
        "storage_server",
        "storage_server",
        inspur_nvme_ssd.InspurNVMeSSDDriver,
        {},
    ),
    (
        "ascend_server",
        "ascend_server",
        huawei_ascend.HuaweiAscendDriver,
        {},
    ),
    ("fpga_server.intel", "fpga_server", intel_fpga.IntelFPGADriver, {}),
    ("dfl_server", "dfl_server", intel_fpga.IntelFPGADriver, {}),
    ("fpga_server.inspur", "fpga_server", inspur_fpga.InspurFPGADriver, {}),
    ("fpga_server.xilinx", "fpga_server", xilinx_fpga.XilinxFPGADriver, {}),
    (
        "pci_sim",
        "pci_sim",
        pci.PCIDriver,
        {
            "pci": {
                "passthrough_whitelist": (
                    '{"vendor_id": "1D55", "product_id": "0x1001"}',
                    '[{"devname": "eth7", "physical_network": "physnet7"}]',
                )
            }
        },
    ),
    (
        "declared_server",
        "declared_server",
        declared.DeclaredDriver,
        {"declared": {"directory": str(DEVICES)}},
    ),
]
