"""The DevStack plugin's simulated cards: who is given which function."""

import json
import pathlib

import pytest

from cyborg.tests.unit.devstack import test_plugin

devstack = test_plugin.devstack

# Two physical functions with two virtual ones each, and a card of another.
PHYSICAL = ["0000:0e:00.0", "0000:0f:00.0"]
VIRTUAL = {
    "0000:0e:00.1": "0000:0e:00.0",
    "0000:0e:00.2": "0000:0e:00.0",
    "0000:0f:00.1": "0000:0f:00.0",
    "0000:0f:00.2": "0000:0f:00.0",
}


@pytest.fixture
def machine(devstack: test_plugin.DevStack) -> pathlib.Path:
    devices = devstack.directory / "sys/bus/pci/devices"

    def add(address: str, vendor: str, product: str) -> pathlib.Path:
        directory = devices / address
        directory.mkdir(parents=True)
        (directory / "vendor").write_text(f"0x{vendor}\n")
        (directory / "device").write_text(f"0x{product}\n")
        return directory

    add("0000:00:02.0", "8086", "1000")
    for address in PHYSICAL:
        directory = add(address, "1d55", "1000")
        (directory / "sriov_numvfs").write_text("0\n")
    for address, physical in VIRTUAL.items():
        directory = add(address, "1d55", "1001")
        (directory / "physfn").symlink_to(f"../{physical}")
    devstack.settings |= {
        "PCI_SIM_SYSFS": str(devstack.directory / "sys"),
        "CYBORG_BIN_DIR": "/bin",
    }
    return devices


def addresses(text: str) -> list[str]:
    entries = json.loads(text)
    for entry in entries:
        assert entry["vendor_id"] == "1d55"
        assert entry["product_id"] == "1001"
    return [entry["address"] for entry in entries]


def configure(
    devstack: test_plugin.DevStack, **settings: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is written for Nova and for Cyborg."""
    ended = devstack.run(
        f'source "{test_plugin.PLUGIN}/lib/pci-sim"\n'
        "configure_pci_sim_nova\nconfigure_pci_sim_cyborg",
        **settings,
    )
    assert ended.returncode == 0, ended.stderr
    calls = devstack.calls()
    conf = str(devstack.conf_dir / "cyborg.conf")
    return (
        test_plugin.written(calls, "nova.conf"),
        test_plugin.written(calls, conf),
    )


@pytest.mark.usefixtures("machine")
def test_no_function_is_given_to_both(devstack: test_plugin.DevStack) -> None:
    nova, cyborg = configure(devstack, ENABLE_PCI_SIM="True")
    assert addresses(nova["pci.device_spec"]) == [
        "0000:0e:00.1",
        "0000:0e:00.2",
    ]
    assert addresses(cyborg["pci.passthrough_whitelist"]) == [
        "0000:0f:00.1",
        "0000:0f:00.2",
    ]
    assert cyborg["agent.enabled_drivers"] == "fake_driver,pci_driver"
    assert nova["pci.report_in_placement"] == "True"
    assert nova["filter_scheduler.pci_in_placement"] == "True"
    assert json.loads(nova["pci.alias"]) == {
        "vendor_id": "1d55",
        "product_id": "1001",
        "device_type": "type-VF",
        "name": "pci_sim_vf",
    }


@pytest.mark.usefixtures("machine")
def test_cyborg_alone_is_given_all(devstack: test_plugin.DevStack) -> None:
    nova, cyborg = configure(
        devstack,
        PCI_SIM_CONFIGURE_CYBORG_PCI="True",
        CYBORG_ENABLED_DRIVERS="pci_driver,fake_driver",
    )
    assert nova == {}
    assert addresses(cyborg["pci.passthrough_whitelist"]) == list(VIRTUAL)
    assert "agent.enabled_drivers" not in cyborg


@pytest.mark.usefixtures("machine")
def test_nothing_without_pci_sim(devstack: test_plugin.DevStack) -> None:
    assert configure(devstack) == ({}, {})


def test_build_runs_in_the_background(devstack: test_plugin.DevStack) -> None:
    calls = devstack.phase("stack", "install", PCI_SIM_BUILD="True")
    assert ["async_runfunc", "build_pci_sim"] in calls
    calls = devstack.phase("stack", "post-config", PCI_SIM_BUILD="True")
    assert ["async_wait", "build_pci_sim"] in calls


def test_build(devstack: test_plugin.DevStack) -> None:
    source = devstack.directory / "pci-sim"
    build = f'source "{test_plugin.PLUGIN}/lib/pci-sim"; build_pci_sim'
    ended = devstack.run(build, PCI_SIM_DIR=str(source))
    assert ended.returncode == 1
    (died,) = test_plugin.named(devstack.calls(), "die")
    assert "PCI_SIM_REPO" in died[1]
    source.mkdir()
    (source / "Makefile").touch()
    ended = devstack.run(
        build, PCI_SIM_DIR=str(source), PCI_SIM_REPO="https://example.org/sim"
    )
    assert ended.returncode == 0, ended.stderr
    calls = devstack.calls()
    assert [
        "git_clone",
        "https://example.org/sim",
        str(source),
        "master",
    ] in calls
    assert ["make", "-C", str(source)] in calls


@pytest.mark.usefixtures("machine")
def test_load(devstack: test_plugin.DevStack) -> None:
    source = devstack.directory / "pci-sim"
    source.mkdir()
    for name in ("pci_sim", "pci_sim_vfio_pci"):
        (source / f"{name}.ko").touch()
    ended = devstack.run(
        # What the first module says of itself.
        "function modinfo { [[ $3 == */pci_sim.ko ]] || return 0; "
        'echo "num_pfs:number of functions (int)"; }\n'
        f'source "{test_plugin.PLUGIN}/lib/pci-sim"; load_pci_sim',
        PCI_SIM_LOAD="True",
        PCI_SIM_DIR=str(source),
        PCI_SIM_MODULE_ARGS="debug=1 seed=2",
    )
    assert ended.returncode == 0, ended.stderr
    devices = f"{devstack.directory}/sys/bus/pci/devices"
    assert test_plugin.named(devstack.calls(), "sudo") == [
        ["sudo", "modprobe", "vfio-pci"],
        [
            "sudo",
            "insmod",
            f"{source}/pci_sim.ko",
            "num_pfs=2",
            "debug=1",
            "seed=2",
        ],
        ["sudo", "insmod", f"{source}/pci_sim_vfio_pci.ko"],
        *(
            ["sudo", "tee", f"{devices}/{address}/sriov_numvfs"]
            for address in PHYSICAL
        ),
    ]


def test_flavors(devstack: test_plugin.DevStack) -> None:
    calls = devstack.phase("stack", "test-config", ENABLE_PCI_SIM="True")
    nova, profile, cyborg = test_plugin.named(calls, "openstack")
    assert nova[-2:] == [
        "pci_passthrough:alias=pci_sim_vf:1",
        "pci-sim-nova",
    ]
    assert profile[-2] == "pci-sim-cyborg-dp"
    assert json.loads(profile[-1]) == [
        {
            "resources:CUSTOM_PCI": "1",
            "trait:CUSTOM_PCI_PRODUCT_ID_1001": "required",
        }
    ]
    assert cyborg[-2:] == [
        "accel:device_profile=pci-sim-cyborg-dp",
        "pci-sim-cyborg",
    ]
