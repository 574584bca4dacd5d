"""CPU time of a discovery, beside the least that reads the same files.

Makes a machine of many PCI functions in a temporary directory and lets a
driver discover it. The floor opens and reads the same files, follows the same
links and lists the same directories, without looking at anything. Real sysfs
files cost the kernel some time more, in both.

    python benchmarks/discovery.py [functions]
"""

import argparse
from collections.abc import Callable
import gc
import os
import pathlib
import statistics
import sys
import tempfile
import time

from oslo_config import cfg
from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

from cyborg.accelerator import pci  # noqa: E402
from cyborg.accelerator.drivers import intel_qat  # noqa: E402
from cyborg.conf import agent  # noqa: E402
from cyborg.conf import default  # noqa: E402
from cyborg.conf import devices  # noqa: E402
from cyborg.tests.fixtures import machine  # noqa: E402

FUNCTIONS = 512
VIRTUAL = 15  # of each card
REPEATS = 9
FILES = (
    "vendor",
    "device",
    "class",
    "revision",
    "subsystem_vendor",
    "subsystem_device",
    "numa_node",
)
LINKS = ("driver", "iommu_group")


def text(count: int) -> str:
    """Return a machine of cards with virtual functions, one card a bus."""
    parts = []
    for number in range(0, count, VIRTUAL + 1):
        bus = number // (VIRTUAL + 1)
        address = f"0000:{bus:02x}:00.0"
        virtual = [
            f"0000:{bus:02x}:{1 + index // 8:02x}.{index % 8}"
            for index in range(min(VIRTUAL, count - number - 1))
        ]
        extra = [
            "subsystem_vendor = 0x8086",
            "subsystem_device = 0x0002",
            "numa_node = 0",
            "iommu_group -> ../../../kernel/iommu_groups/1",
        ]
        parts.append(
            machine.function(
                address,
                "8086",
                "37c8",
                "0b4000",
                driver="c6xx",
                virtfns=virtual,
                totalvfs=16,
                extra=extra,
            )
        )
        parts += [
            machine.function(
                each,
                "8086",
                "37c9",
                "0b4000",
                driver="c6xxvf",
                physfn=address,
                extra=extra,
            )
            for each in virtual
        ]
    return "\n".join(parts)


def floor(root: pathlib.Path) -> None:
    """Read what a discovery needs to, and do nothing with it."""
    buses = os.path.join(root, pci.DEVICES)
    for name in os.listdir(buses):
        path = f"{buses}/{name}"
        entries = os.listdir(path)
        for file in FILES:
            descriptor = os.open(f"{path}/{file}", os.O_RDONLY)
            os.read(descriptor, 4096)
            os.close(descriptor)
        for link in LINKS:
            os.readlink(f"{path}/{link}")
        for entry in entries:
            if entry.startswith(("virtfn", "physfn")):
                os.readlink(f"{path}/{entry}")


def cpu(work: Callable[[], object]) -> float:
    """Return the median of the milliseconds of CPU that a call takes."""
    work()
    taken = []
    for _repeat in range(REPEATS):
        gc.collect()
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) * 1000)
    return statistics.median(taken)


def main() -> None:
    """Print what a discovery costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="?", type=int, default=FUNCTIONS)
    count = parser.parse_args().functions
    conf = cfg.ConfigOpts()
    for module in (default, agent, devices):
        module.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    with tempfile.TemporaryDirectory() as directory:
        root = machine.unpack_text(text(count), pathlib.Path(directory))
        driver = intel_qat.IntelQATDriver(root=root, host="cn1", conf=conf)
        # Names are asked of lspci once in the life of a driver.
        driver.names.learn = (  # type: ignore[method-assign]
            lambda functions: None
        )
        found = len(pci.read_functions(root))
        deployables = sum(
            len(device.deployable_list) for device in driver.discover()
        )
        least = cpu(lambda: floor(root))
        scan = cpu(lambda: pci.read_functions(root))
        whole = cpu(driver.discover)
    sys.stdout.write(
        f"{found} functions, {deployables} deployables\n"
        f"floor, files read only   {least:7.1f} ms CPU\n"
        f"scan of the PCI bus      {scan:7.1f} ms CPU, {scan / least:.1f} x\n"
        f"discovery by a driver    {whole:7.1f} ms CPU, "
        f"{whole / least:.1f} x\n"
    )


if __name__ == "__main__":
    main()
