"""Shared cards: no more is offered than they have room for."""

import json

import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator import sysfs
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent.gate import whole

NVIDIA = "nvidia_gpu_driver"
A40 = "0000:41:00.0"
PARTS = [
    *(f"0000:41:00.{number}" for number in (4, 5, 6, 7)),
    *(f"0000:41:01.{number}" for number in range(4)),
]
P40 = "0000:02:00.0"
FOREIGN = "0b5fd3fb-2389-4a22-ba70-52969a26b9d5"
OURS = "1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d1{}"


def vgpus(kind, *addresses, gpu=None, **options):
    """Return the configuration of one type."""
    return {
        "gpu_devices": {"enabled_vgpu_types": [kind], **(gpu or {})},
        f"vgpu_{kind}": {"device_addresses": list(addresses), **options},
    }


def mdev(root, address, kind, uuid, room=None):
    """Make an mdev; ``room`` is what the type says it has afterwards."""
    path = root / "sys/bus/pci/devices" / address / "mdev_supported_types"
    (path / kind / "devices" / uuid).mkdir(parents=True)
    if room is not None:
        (path / kind / "available_instances").write_text(f"{room}\n")


# -- a card whose virtual functions have one mdev each


def test_functions_of_a_card_that_holds_fewer(unpack):
    """Which stays so while mdevs are made, whatever the card tells then."""
    root = unpack("a40_shared")
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-559", *PARTS))
    assert agent.totals() == dict.fromkeys(PARTS[:6], ("VGPU", 1))
    before = agent.report(in_use=[], made=[])
    assert before[PARTS[6]] == before[PARTS[7]] == ["card-full"]
    made = []
    for number, part in enumerate(PARTS[:6]):
        made.append(OURS.format(number))
        mdev(root, part, "nvidia-559", made[-1], room=0)
        in_use = agent.handles([], made)[: number + 1]
        assert agent.report(in_use, made) == before
    for part in PARTS[6:]:
        path = root / f"sys/bus/pci/devices/{part}/mdev_supported_types"
        (path / "nvidia-559/available_instances").write_text("0\n")
    assert agent.report(agent.handles([], made), made) == before


def test_function_that_a_guest_has_comes_first(unpack):
    """Whichever that is, the number is what the card has room for."""
    root = unpack("a40_shared")
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-559", *PARTS), agent={})
    last = agent.handles()[-1].replace('"function": "1"', '"function": "3"')
    mdev(root, PARTS[7], "nvidia-559", OURS.format(7), room=0)
    offered = agent.offered([last], [OURS.format(7)])
    assert offered == [*PARTS[:5], PARTS[7]]


@pytest.mark.parametrize(("most", "count"), [(4, 4), (1, 1), (6, 6), (32, 6)])
def test_number_that_the_operator_gives(unpack, most, count):
    conf = vgpus("nvidia-559", *PARTS, max_instances=most)
    agent = whole.Agent(unpack("a40_shared"), NVIDIA, **conf)
    assert agent.offered() == PARTS[:count]


def test_mdevs_of_others_on_a_divided_card(unpack):
    """One has a function of its own, and room of the card."""
    root = unpack("a40_shared")
    mdev(root, PARTS[0], "nvidia-559", FOREIGN, room=0)
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-559", *PARTS))
    # Nobody knows yet whose it is.
    assert len(agent.offered()) == 6
    assert agent.offered([], []) == PARTS[1:6]
    # Also where it is on a function that is not ours to give.
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-559", *PARTS[1:]))
    assert agent.offered([], []) == PARTS[1:6]


def test_divided_card_that_is_full_of_others(unpack):
    root = unpack("a40_shared")
    for number, part in enumerate(PARTS):
        path = root / f"sys/bus/pci/devices/{part}/mdev_supported_types"
        (path / "nvidia-559/available_instances").write_text("0\n")
        if number < 6:
            mdev(root, part, "nvidia-559", FOREIGN[:-1] + str(number))
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-559", *PARTS))
    found = agent.report([], [])
    assert set(found) == set(PARTS)
    assert all(rules == ["card-full"] for rules in found.values())


# -- a card that has all mdevs itself


def test_mdev_that_somebody_else_made(unpack):
    root = unpack("p40_foreign_mdev")
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-285", P40))
    assert agent.totals([], []) == {P40: ("VGPU", 2)}
    # So it stays while ours are made, and when they are gone.
    first, second = agent.handles([], [])
    mdev(root, P40, "nvidia-285", OURS.format(1), room=1)
    made = [OURS.format(1)]
    assert agent.totals([first], made) == {P40: ("VGPU", 2)}
    mdev(root, P40, "nvidia-285", OURS.format(2), room=0)
    made.append(OURS.format(2))
    assert agent.totals([first, second], made) == {P40: ("VGPU", 2)}
    assert agent.totals([], made) == {P40: ("VGPU", 2)}


def test_mdev_of_an_earlier_release_is_ours(unpack):
    """As long as the conductor has not said which are."""
    agent = whole.Agent(
        unpack("p40_foreign_mdev"), NVIDIA, **vgpus("nvidia-285", P40)
    )
    assert agent.totals() == {P40: ("VGPU", 3)}
    assert agent.totals([], [FOREIGN]) == {P40: ("VGPU", 3)}


def test_card_that_others_filled_with_another_type(unpack):
    root = unpack("p40_foreign_mdev")
    types = root / f"sys/bus/pci/devices/{P40}/mdev_supported_types"
    (types / "nvidia-285/devices" / FOREIGN).rename(
        types / "nvidia-284/devices" / FOREIGN
    )
    (types / "nvidia-285/available_instances").write_text("0\n")
    agent = whole.Agent(root, NVIDIA, **vgpus("nvidia-285", P40))
    assert agent.totals([], []) == {P40: ("VGPU", 0)}
    assert agent.handles([], []) == []


def test_number_of_a_whole_card(unpack):
    root = unpack("p40_foreign_mdev")
    conf = vgpus("nvidia-285", P40, max_instances=2)
    agent = whole.Agent(root, NVIDIA, **conf)
    assert agent.totals() == {P40: ("VGPU", 2)}
    assert agent.totals([], []) == {P40: ("VGPU", 1)}


# -- a card with NVIDIA's own VFIO framework

L40S = "0000:61:00.0"
L40S_PARTS = [
    f"0000:61:{place >> 3:02x}.{place & 7}" for place in range(4, 36)
]
TYPES = {
    1424: "NVIDIA L40S-1B",
    1425: "NVIDIA L40S-12Q",
    1426: "NVIDIA L40S-16Q",
    1427: "NVIDIA L40S-24Q",
    1428: "NVIDIA L40S-48Q",
}


def listed(*numbers):
    lines = [f"{number} : {TYPES[number]}" for number in numbers]
    return "\\n".join(["ID : vGPU Name", *lines]) if lines else ""


@pytest.fixture
def l40s(build):
    """Return a card whose functions are nothing yet."""
    return build(
        whole.function(
            L40S,
            "10de",
            "26b9",
            "030200",
            driver="nvidia",
            virtfns=L40S_PARTS,
            totalvfs=32,
        ),
        *(
            whole.function(
                part,
                "10de",
                "26b9",
                "030200",
                driver="nvidia",
                physfn=L40S,
                extra=[
                    "nvidia/current_vgpu_type = 0",
                    f"nvidia/creatable_vgpu_types = {listed(*TYPES)}",
                ],
            )
            for part in L40S_PARTS
        ),
    )


def become(root, number, *parts):
    """Make functions vGPUs; the card is full, and lists nothing any more."""
    for part in L40S_PARTS:
        path = root / f"sys/bus/pci/devices/{part}/nvidia"
        if part in parts:
            (path / "current_vgpu_type").write_text(f"{number}\n")
        (path / "creatable_vgpu_types").write_text("")


def again(root, creatable=tuple(TYPES)):
    """Make all functions nothing."""
    for part in L40S_PARTS:
        path = root / f"sys/bus/pci/devices/{part}/nvidia"
        (path / "current_vgpu_type").write_text("0\n")
        text = listed(*creatable).replace("\\n", "\n")
        (path / "creatable_vgpu_types").write_text(text)


VFIO = {"vendor_vfio": True}


def test_type_of_which_a_card_holds_one(l40s):
    """Before and after it is bound, and when it is free again."""
    agent = whole.Agent(l40s, NVIDIA, **vgpus("nvidia-1428", L40S, gpu=VFIO))
    (handle,) = agent.handles()
    assert json.loads(handle)["function"] == "4"
    become(l40s, 1428, L40S_PARTS[0])
    assert agent.handles([handle]) == [handle]
    assert agent.totals([handle]) == {L40S: ("VGPU", 1)}
    again(l40s)
    assert agent.handles() == [handle]


@pytest.mark.parametrize(
    ("kind", "count"), [(1424, 32), (1425, 4), (1426, 3), (1427, 2)]
)
def test_number_is_in_the_names_of_types(l40s, kind, count):
    conf = vgpus(f"nvidia-{kind}", L40S, gpu=VFIO)
    assert whole.Agent(l40s, NVIDIA, **conf).totals() == {
        L40S: ("VGPU", count)
    }


@pytest.mark.parametrize(("most", "count"), [(1, 1), (3, 2)])
def test_number_that_the_operator_gives_of_vgpus(l40s, most, count):
    conf = vgpus("nvidia-1427", L40S, gpu=VFIO, max_instances=most)
    assert whole.Agent(l40s, NVIDIA, **conf).totals() == {
        L40S: ("VGPU", count)
    }


def test_number_at_which_a_card_was_full_is_remembered(l40s):
    """Where names do not tell: the card holds fewer of them."""
    conf = vgpus("nvidia-1425", L40S, gpu=VFIO)
    agent = whole.Agent(l40s, NVIDIA, **conf)
    assert agent.totals() == {L40S: ("VGPU", 4)}
    become(l40s, 1425, *L40S_PARTS[:3])
    assert agent.totals() == {L40S: ("VGPU", 3)}
    again(l40s)
    assert agent.totals() == {L40S: ("VGPU", 3)}
    # Also by an agent that was started again.
    assert whole.Agent(l40s, NVIDIA, **conf).totals() == {L40S: ("VGPU", 3)}


def test_card_that_is_full_when_the_agent_starts(l40s):
    """What it is full of was read once, or is configured."""
    conf = vgpus("nvidia-1427", L40S, gpu=VFIO)
    become(l40s, 1427, *L40S_PARTS[:2])
    agent = whole.Agent(l40s, NVIDIA, **conf)
    assert agent.totals() == {} and agent.stubs() == [L40S]
    named = vgpus("nvidia-1427", L40S, gpu=VFIO, type_name="NVIDIA L40S-24Q")
    agent = whole.Agent(l40s, NVIDIA, **named)
    assert agent.totals() == {L40S: ("VGPU", 2)} and agent.stubs() == []
    again(l40s)
    whole.Agent(l40s, NVIDIA, **conf).report()
    become(l40s, 1427, *L40S_PARTS[:2])
    agent = whole.Agent(l40s, NVIDIA, **conf)
    assert agent.totals() == {L40S: ("VGPU", 2)} and agent.stubs() == []


def test_card_on_which_others_made_another_type(l40s):
    conf = vgpus("nvidia-1427", L40S, gpu=VFIO)
    agent = whole.Agent(l40s, NVIDIA, **conf)
    assert agent.totals() == {L40S: ("VGPU", 2)}
    become(l40s, 1428, L40S_PARTS[9])
    assert agent.totals() == {L40S: ("VGPU", 0)}


def test_report_stays_while_vgpus_are_made(l40s, monkeypatch):
    monkeypatch.setattr(
        sysfs, "write_sysfs", machine.FakeKernel(vgpu_capacity=2)
    )
    conf = vgpus("nvidia-1427", L40S, gpu=VFIO)
    agent = whole.Agent(l40s, NVIDIA, **conf)
    before = agent.handles()
    driver = agent.drivers[0].get()
    assert isinstance(driver, driver_api.MdevProvider)
    for part in L40S_PARTS[:2]:
        driver.create_mdev(part, "nvidia-1427", OURS.format(1))
        assert agent.handles() == before
