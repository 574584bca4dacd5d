"""CPU time of the gate, beside that of the scan whose outcome it judges.

Makes a machine of many PCI functions, lets a driver discover it, and judges
what it found by all rules, with part of it in use.

    python -m benchmarks.gate [functions]
"""

import argparse
import logging
import pathlib
import sys
import tempfile

from oslo_config import cfg

from benchmarks import discovery as machines
from cyborg.accelerator import pci
from cyborg.accelerator.drivers import intel_qat
from cyborg.agent import report
from cyborg.agent.gate import gate
from cyborg.conf import agent
from cyborg.conf import default
from cyborg.conf import devices
from cyborg.tests.fixtures import machine

IN_USE = 4  # every fourth function


def main() -> None:
    """Print what judging costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "functions", nargs="?", type=int, default=machines.FUNCTIONS
    )
    count = parser.parse_args().functions
    logging.disable()
    conf = cfg.ConfigOpts()
    for module in (default, agent, devices):
        module.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    with tempfile.TemporaryDirectory() as directory:
        root = machine.unpack_text(
            machines.text(count), pathlib.Path(directory)
        )
        driver = intel_qat.IntelQATDriver(root=root, host="cn1", conf=conf)
        found = report.Found(
            "intel_qat_driver",
            [report.plain(device) for device in driver.discover()],
            complete=True,
            error=None,
            capabilities=[],
        )
        infos = [
            handle["attach_info"]
            for device in found.devices
            for deployable in device["deployable_list"]
            for handle in deployable["attach_handle_list"]
        ]
        judge = gate.make(root, conf, [], keep=False)
        scan = machines.cpu(lambda: pci.read_functions(root))
        whole = machines.cpu(lambda: judge.judge([found], infos[::IN_USE]))
    sys.stdout.write(
        f"{count} functions, {len(infos)} of them offered, "
        f"{len(infos[::IN_USE])} in use\n"
        f"scan of the PCI bus      {scan:7.1f} ms CPU\n"
        f"gate, with a scan        {whole:7.1f} ms CPU\n"
        f"gate beside the scan     {whole - scan:7.1f} ms CPU\n"
    )


if __name__ == "__main__":
    main()
