"""Network devices of functions that guests have."""

import dataclasses

from oslo_config import cfg
import pytest

from cyborg.accelerator import netdevs
from cyborg.accelerator import pci
from cyborg.tests.fixtures import driver as driver_fixture

CARD = pci.Function(
    "0000:18:00.0", "/", vendor="8086", product="1572", netdevs=("eth2",)
)
GONE = dataclasses.replace(CARD, netdevs=())


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "agent").mkdir()
    return driver_fixture.conf(DEFAULT={"state_path": tmp_path})


def seen(memory, *functions):
    found = memory.complete({item.address: item for item in functions})
    return [item.netdevs for item in found.values()]


def test_remembers(conf):
    memory = netdevs.Memory(conf, "nic")
    assert seen(memory, GONE) == [()]
    assert seen(memory, CARD) == [("eth2",)]
    assert seen(memory, GONE) == [("eth2",)]


def test_remembers_after_a_restart(conf):
    seen(netdevs.Memory(conf, "nic"), CARD)
    assert seen(netdevs.Memory(conf, "nic"), GONE) == [("eth2",)]


def test_dry_run_writes_nothing(conf, tmp_path):
    conf.register_opt(cfg.BoolOpt("dry_run", default=True))
    memory = netdevs.Memory(conf, "nic")
    seen(memory, CARD)
    assert seen(memory, GONE) == [("eth2",)]
    assert list((tmp_path / "agent").iterdir()) == []


def test_new_name_replaces_the_old(conf):
    memory = netdevs.Memory(conf, "nic")
    seen(memory, CARD)
    seen(memory, dataclasses.replace(CARD, netdevs=("eth5",)))
    assert seen(netdevs.Memory(conf, "nic"), GONE) == [("eth5",)]


def test_other_card_in_the_same_slot(conf):
    memory = netdevs.Memory(conf, "nic")
    seen(memory, CARD)
    assert seen(memory, dataclasses.replace(GONE, product="158b")) == [()]


def test_name_that_another_card_has_now(conf):
    memory = netdevs.Memory(conf, "nic")
    seen(memory, CARD)
    other = dataclasses.replace(CARD, address="0000:18:00.1")
    assert seen(memory, GONE, other) == [(), ("eth2",)]


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_broken_file(conf, tmp_path, content):
    (tmp_path / "agent/nic.json").write_text(content)
    memory = netdevs.Memory(conf, "nic")
    assert seen(memory, GONE) == [()]
    assert seen(memory, CARD) == [("eth2",)]


def test_without_the_agents_directory(conf, tmp_path):
    (tmp_path / "agent").rmdir()
    memory = netdevs.Memory(conf, "nic")
    seen(memory, CARD)
    assert seen(memory, GONE) == [("eth2",)]
    assert list(tmp_path.iterdir()) == []
