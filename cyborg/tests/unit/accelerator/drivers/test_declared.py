"""What the driver of declared devices makes of a machine."""

import json
import pathlib
import shutil
from typing import Any

from oslo_config import cfg
import pytest

from cyborg.accelerator import pci
from cyborg.accelerator.declared import reader
from cyborg.accelerator.drivers import declared
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import reports

ENTRY = """\
[[device]]
name = "{name}"
match = {{{match}}}
kind = "{kind}"
type = "AICHIP"
resource_class = "CUSTOM_{rc}"
"""


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return machine.unpack("declared_server", tmp_path / "root")


def conf(directory: pathlib.Path, **options: Any) -> cfg.ConfigOpts:
    return driver_fixture.conf(
        DEFAULT={"state_path": str(directory.parent)},
        declared={"directory": str(directory), **options},
    )


def make(
    root: pathlib.Path, directory: pathlib.Path = reports.DEVICES, **options
) -> declared.DeclaredDriver:
    return declared.DeclaredDriver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=conf(directory, **options),
    )


def places(driver: declared.DeclaredDriver) -> dict[str, list[str]]:
    """Return the functions that are offered, by resource class."""
    found: dict[str, list[str]] = {}
    for device in driver.discover():
        for deployable in device.deployable_list:
            (rc,) = [
                a.value for a in deployable.attribute_list if a.key == "rc"
            ]
            for handle in deployable.attach_handle_list:
                info = json.loads(handle.attach_info)
                found.setdefault(rc, []).append(pci.format_address(info))
    return found


def declare(directory: pathlib.Path, *entries: dict[str, str]) -> pathlib.Path:
    directory.mkdir(exist_ok=True)
    text = "".join(
        ENTRY.format(
            **{"name": f"n{n}", "kind": "whole", "rc": f"C{n}"} | entry
        )
        for n, entry in enumerate(entries)
    )
    (directory / "a.toml").write_text(text)
    return directory


def test_nothing_declared(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    driver = make(root, tmp_path / "none")
    assert driver.discover() == []
    assert driver.warnings() == []
    assert driver.explain("0000:3b:00.0") == ["no device is declared"]


def test_what_the_operator_may_not_have_meant(root: pathlib.Path) -> None:
    driver = make(root)
    driver.discover()
    place = f"{reports.DEVICES}/cards.toml"
    assert driver.warnings() == [
        "0000:5f:00.0 has no virtual functions yet, and "
        f"mlx5-vfs ({place}:15) offers nothing else of it"
    ]


def test_an_entry_about_nothing(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory = declare(tmp_path / "d", {"match": 'vendor = "1da3"'})
    driver = make(root, directory)
    assert driver.discover() == []
    assert driver.warnings() == [
        f"no device of this host is meant by n0 ({directory}/a.toml:1)"
    ]


def test_explanations(root: pathlib.Path) -> None:
    driver = make(root)
    place = f"{reports.DEVICES}/cards.toml"
    assert driver.explain("0000:3b:00.0") == [f"wormhole ({place}:3) takes it"]
    assert driver.explain("0000:5e:00.2") == [
        f"mlx5-vfs ({place}:15) takes it, as a part of 0000:5e:00.0"
    ]
    assert driver.explain("0000:82:00.0")[3] == (
        f"scratch ({place}:31) does not take it: its subsystem is 1028:2188, "
        "not 144d:a801"
    )


def test_a_drive_that_a_guest_has_stays(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Also where the agent starts anew meanwhile."""
    directory = tmp_path / "devices.d"
    shutil.copytree(reports.DEVICES, directory)
    (tmp_path / "agent").mkdir()
    before = places(make(root, directory))
    assert before["CUSTOM_SCRATCH"] == ["0000:81:00.0"]
    for address in ("0000:81:00.0", "0000:82:00.0"):
        link = root / "sys/devices" / f"pci{address[:7]}" / address / "driver"
        link.unlink()
        link.symlink_to("../../../bus/pci/drivers/vfio-pci")
    again = make(root, directory)
    assert places(again) == before
    info = {"cpid_type": "PCI", "cpid_info": {}}
    domain, bus, device, function = pci.parse_address("0000:81:00.0")
    info["cpid_info"] = {
        "domain": domain,
        "bus": bus,
        "device": device,
        "function": function,
    }
    assert again.card(info).address == "0000:81:00.0"


def test_statistics_of_files_of_its_own(root: pathlib.Path) -> None:
    driver = make(root)
    device = driver.discover()[0]
    cpid = {
        "cpid_type": "PCI",
        "cpid_info": json.loads(device.controlpath_id.cpid_info),
    }
    properties = driver.get_stats(cpid)["device"]["properties"]
    assert properties["clock"] == "1000"
    assert properties["id"] == "1e52:401e"


def test_the_operators_entry_wins_over_ours(
    root: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By name altogether, else for what both mean."""
    known = declare(
        tmp_path / "known",
        {"name": "ours", "match": 'vendor = "1e52"', "rc": "OURS"},
        {"name": "drives", "match": 'class = "0108"', "rc": "DRIVES"},
        {"name": "off", "match": 'vendor = "15b3"', "rc": "OFF"},
    )
    own = declare(
        tmp_path / "own",
        {"name": "mine", "match": 'address = "0000:3c:00.0"', "rc": "MINE"},
        {
            "name": "drives",
            "match": 'class = "0108", address = "0000:81:*"',
            "rc": "DRIVES",
        },
    )
    monkeypatch.setattr(reader, "KNOWN", known)
    driver = make(root, own, known_devices=["ours", "drives"])
    assert places(driver) == {
        "CUSTOM_OURS": ["0000:3b:00.0"],
        "CUSTOM_MINE": ["0000:3c:00.0"],
        "CUSTOM_DRIVES": ["0000:81:00.0"],
    }


def test_a_card_is_not_offered_with_its_parts(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory = declare(
        tmp_path / "d", {"match": 'vendor = "15b3"', "rc": "NIC"}
    )
    assert places(make(root, directory)) == {
        "CUSTOM_NIC": ["0000:5e:00.2", "0000:5e:00.3", "0000:5f:00.0"]
    }


def test_a_mistake_stops_the_agent(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory = declare(tmp_path / "d", {"match": 'vendr = "15b3"'})
    with pytest.raises(
        exception.ConfigInvalid, match=r"a\.toml:3.*did you mean vendor\?"
    ):
        make(root, directory)


def test_what_two_entries_mean_is_offered_by_none(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """And costs no other card anything."""
    directory = declare(
        tmp_path / "d",
        {"match": 'class = "1200"'},
        {"match": 'address = "0000:3b:*"'},
    )
    driver = make(root, directory)
    assert [device.stub for device in driver.discover()] == [True, False]
    path = f"{directory}/a.toml"
    assert driver.explain("0000:3b:00.0") == [
        f"n0 ({path}:1) and n1 ({path}:7) both mean it, so none offers it"
    ]


def test_a_card_that_is_given_out_once(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory = declare(tmp_path / "d", {"match": 'vendor = "1e52"'})
    with (directory / "a.toml").open("a") as file:
        file.write("one_time_use = true\n")
    for device in make(root, directory).discover():
        assert driver_fixture.traits(device) == ["HW_PCI_ONE_TIME_USE"]
