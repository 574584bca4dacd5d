"""What agents offer on machines of people who run such hardware."""

import pytest

from cyborg.accelerator import spdk
from cyborg.tests.unit.agent.gate import whole

NVIDIA = "nvidia_gpu_driver"
DRIVE = "inspur_nvme_ssd_driver"
NIC = "intel_nic_driver"
PCI = "pci_driver"

A40 = "0000:41:00.0"
PARTS = [f"0000:41:00.{number}" for number in (4, 5, 6, 7)]
VGPUS = {
    "gpu_devices": {"enabled_vgpu_types": ["nvidia-559"]},
    "vgpu_nvidia-559": {
        "device_addresses": [
            *PARTS,
            *(f"0000:41:01.{number}" for number in range(4)),
        ]
    },
}


# -- a card and its parts


def test_card_whose_parts_are_still_to_come(unpack):
    """The host was restarted; the virtual functions are made later."""
    agent = whole.Agent(unpack("a40_after_boot"), NVIDIA, **VGPUS)
    assert agent.report() == {A40: ["parts-configured"]}


def test_card_whose_parts_are_there(unpack):
    agent = whole.Agent(unpack("a40_divided"), NVIDIA, **VGPUS)
    # As many as the card has room for.
    assert agent.offered() == VGPUS["vgpu_nvidia-559"]["device_addresses"][:6]


def test_card_of_which_a_guest_had_a_part_before_the_restart(unpack):
    """Nothing is configured any more, and a request is still bound."""
    agent = whole.Agent(unpack("a40_after_boot"), NVIDIA)
    assert agent.report(in_use=["0000:41:01.2"]) == {A40: ["part-in-use"]}
    assert agent.offered(in_use=["0000:99:01.2"]) == [A40]


@pytest.mark.parametrize("is_filtered", [True, False])
def test_divided_cards_beside_a_whole_one(unpack, is_filtered):
    agent = whole.Agent(
        unpack("carved_beside_whole"),
        NVIDIA,
        gpu_devices={"filter_sriov_vfs": is_filtered},
    )
    assert agent.offered() == ["0000:42:00.0"]


def test_divided_card_without_a_type(build):
    root = build(
        whole.divided(A40, "10de", "2235", "030200", *PARTS, driver="nvidia")
    )
    found = whole.Agent(root, NVIDIA).report()
    assert found.pop(A40) == ["has-parts", "no-vgpu-type"]
    assert found == {each: ["no-vgpu-type"] for each in PARTS}


def test_divided_card_whose_parts_the_operator_lists(build):
    """What is listed is offered, as the operator says what it is."""
    root = build(
        whole.divided(A40, "10de", "2235", "030200", *PARTS, driver="nvidia")
    )
    agent = whole.Agent(
        root,
        PCI,
        pci={"passthrough_whitelist": ('{"vendor_id": "10de"}',)},
    )
    assert agent.offered() == PARTS


@pytest.mark.parametrize(
    ("driver", "vendor", "product", "code"),
    [
        (DRIVE, "1bd4", "1003", "010802"),
        ("huawei_ascend_driver", "19e5", "d500", "120000"),
    ],
)
def test_divided_card_of_another_kind(build, driver, vendor, product, code):
    card, *parts = "0000:5e:00.0", "0000:5e:00.1", "0000:5e:00.2"
    root = build(
        whole.divided(card, vendor, product, code, *parts, driver="nvme"),
        whole.MOUNTS,
    )
    found = whole.Agent(root, driver).report()
    assert found.pop(card) == ["has-parts"]
    assert all(not rules for rules in found.values())


def test_listed_card_with_parts_that_are_not(build):
    card, *parts = "0000:af:00.0", "0000:af:00.1", "0000:af:00.2"
    root = build(
        whole.divided(
            card, "144d", "a824", "120000", *parts, part_product="a825"
        )
    )
    agent = whole.Agent(
        root,
        PCI,
        pci={
            "passthrough_whitelist": (
                '{"vendor_id": "144d", "product_id": "a824"}',
            )
        },
    )
    assert agent.report() == {card: ["has-parts"]}
    assert agent.offered(in_use=[card]) == [card]


def test_parts_of_a_card_that_a_guest_has(build):
    card, *parts = "0000:af:00.0", "0000:af:00.1", "0000:af:00.2"
    root = build(whole.divided(card, "144d", "a824", "120000", *parts))
    agent = whole.Agent(
        root, PCI, pci={"passthrough_whitelist": ('{"vendor_id": "144d"}',)}
    )
    assert agent.offered(in_use=[]) == parts
    assert agent.report(in_use=[card]) == {
        each: ["whole-in-use"] for each in parts
    }
    assert agent.offered(in_use=parts[:1]) == parts


def test_listed_parts_that_are_still_to_come(build):
    card = "0000:af:00.0"
    root = build(
        whole.function(
            card,
            "144d",
            "a824",
            "120000",
            totalvfs=4,
            extra=["sriov_offset = 1", "sriov_stride = 2"],
        )
    )

    def offered(*addresses: str) -> list[str]:
        entries = [f'{{"address": "{address}"}}' for address in addresses]
        agent = whole.Agent(
            root, PCI, pci={"passthrough_whitelist": tuple(entries)}
        )
        return agent.offered()

    assert offered(card) == [card]
    assert offered(card, "0000:af:00.2") == [card]
    assert offered(card, "0000:af:00.3") == []
    assert offered(card, "0000:af:00.7") == []
    assert offered(card, "0000:b0:00.3") == [card]


def test_card_whose_parts_are_mapped_by_name(build):
    card = "0000:5e:00.0"
    root = build(
        whole.function(card, "8086", "1572", "020000", totalvfs=64),
        whole.netdev(card, "enp94s0f0"),
    )

    def offered(mapping: str) -> list[str]:
        agent = whole.Agent(
            root,
            NIC,
            nic_devices={"enabled_nic_types": ["x710"]},
            x710={"physical_device_mappings": [mapping]},
        )
        return agent.offered()

    assert offered("physnet1:enp94s0f0") == [card]
    assert offered("physnet1:enp94s0f0v2") == []


# -- the host lives on it


def test_mounted_drive(unpack):
    agent = whole.Agent(unpack("mounted_drive"), DRIVE)
    assert agent.report() == {"0000:5e:00.0": ["host-uses-it"]}


def test_mounted_drive_as_a_container_sees_it(unpack):
    agent = whole.Agent(unpack("mounted_drive_contained"), DRIVE)
    assert agent.report() == {"0000:5e:00.0": ["host-uses-it"]}


CONTAINED = (
    "proc/self/mountinfo = 612 398 0:52 / / rw - overlay overlay rw\n"
    "proc/self/ns/pid -> pid:[4026532777]\n"
    "proc/1/mountinfo = 612 398 0:52 / / rw - overlay overlay rw\n"
)


def test_container_with_a_free_drive_a_mounted_one_and_a_gpu(build):
    root = build(
        whole.drive("0000:5e:00.0", 0),
        whole.drive("0000:5f:00.0", 1),
        whole.function("0000:af:00.0", "10de", "1eb8", "030200"),
        CONTAINED,
        "sys/fs/xfs/nvme1n1/error/\n",
    )
    agent = whole.Agent(root, DRIVE, NVIDIA)
    assert agent.report() == {
        "0000:5e:00.0": [],
        "0000:5f:00.0": ["host-uses-it"],
        "0000:af:00.0": [],
    }


def test_process_1_of_a_container_is_not_believed(build):
    """Its mounts read well, and are not the host's."""
    root = build(whole.drive("0000:5e:00.0", 0), CONTAINED)
    assert whole.Agent(root, DRIVE).report() == {
        "0000:5e:00.0": ["evidence-missing"]
    }


def test_mounts_that_cannot_be_read(build):
    root = build(
        whole.drive("0000:5e:00.0", 0),
        whole.function("0000:af:00.0", "10de", "1eb8", "030200"),
    )
    agent = whole.Agent(root, DRIVE, NVIDIA)
    assert agent.report() == {
        "0000:5e:00.0": ["evidence-missing"],
        "0000:af:00.0": [],
    }
    (root / "sys/fs/ext4").mkdir(parents=True)
    assert agent.offered() == ["0000:5e:00.0", "0000:af:00.0"]


def test_owners_of_disks_without_holders(unpack):
    agent = whole.Agent(unpack("disk_owners"), DRIVE)
    found = agent.report()
    assert found == {
        "0000:5e:00.0": ["carries-data"],
        "0000:5f:00.0": ["carries-data"],
        "0000:60:00.0": ["carries-data"],
        "0000:61:00.0": ["evidence-missing"],
    }


def test_signature_of_a_drive_that_a_guest_had(unpack):
    """It may have written it; cleaning decides, not the signature."""
    root = unpack("disk_owners")
    agent = whole.Agent(root, DRIVE)
    assert "0000:5f:00.0" not in agent.offered(in_use=[])
    assert agent.report(in_use=["0000:5f:00.0"])["0000:5f:00.0"] == []
    assert "0000:5f:00.0" in agent.offered(in_use=[])
    # So it is for an agent that was started again.
    assert "0000:5f:00.0" in whole.Agent(root, DRIVE).offered(in_use=[])


def test_signature_of_a_drive_that_an_earlier_release_offered(unpack):
    root = unpack("disk_owners")
    before = whole.Agent(root, DRIVE)
    before.report()
    (root.with_name("disk_owners-state") / "agent/given.json").unlink()
    assert "0000:5f:00.0" in whole.Agent(root, DRIVE).offered()


def test_uplink_and_console(unpack):
    agent = whole.Agent(unpack("uplink_and_console"), NIC, NVIDIA)
    assert agent.report() == {
        "0000:05:00.0": ["host-uses-it"],
        "0000:05:00.1": [],
        "0000:01:00.0": ["host-uses-it"],
    }


def test_card_of_the_console_that_is_ready_for_guests(unpack):
    root = unpack("uplink_and_console")
    link = root / "sys/bus/pci/devices/0000:01:00.0/driver"
    link.unlink()
    link.symlink_to("../../../bus/pci/drivers/vfio-pci")
    assert whole.Agent(root, NVIDIA).offered() == ["0000:01:00.0"]


def test_bond_and_part_with_the_default_route(build):
    card, *parts = "0000:5e:00.0", "0000:5e:02.0", "0000:5e:02.1"
    other = "0000:5e:00.1"
    root = build(
        whole.divided(
            card, "8086", "1572", "020000", *parts, part_product="154c"
        ),
        whole.function(other, "8086", "1572", "020000", totalvfs=64),
        whole.netdev(card, "eno1"),
        whole.netdev(parts[0], "eno1v0", "master -> ../../ovs-system"),
        whole.netdev(parts[1], "eno1v1"),
        whole.netdev(other, "eno2", "master -> ../../bond0"),
        "sys/class/net/br-ex/lower_eno1v0/\n",
        whole.default_route("br-ex"),
    )
    assert whole.Agent(root, NIC).report() == {
        parts[0]: ["host-uses-it", "host-uses-it"],
        parts[1]: [],
        other: ["host-uses-it"],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys/devices/pci0000:5e/0000:5e:00.0/net/eno1/upper_vlan7/", True),
        (
            f"proc/net/route = {whole.ROUTE}\\neno1 000011AC 00000000 0001 0 "
            "0 100 0000FFFF 0 0 0",
            True,
        ),
        (
            "proc/net/if_inet6 = 20010db8000000000000000000000001 02 40 00 80"
            " eno1",
            True,
        ),
        (
            "proc/net/if_inet6 = fe800000000000000000000000000001 02 40 20 80"
            " eno1",
            False,
        ),
    ],
)
def test_card_with_an_address_or_something_on_it(build, text, reason):
    card = "0000:5e:00.0"
    root = build(
        whole.function(card, "8086", "1572", "020000"),
        whole.netdev(card, "eno1"),
        text,
    )
    expected = ["host-uses-it"] if reason else []
    assert whole.Agent(root, NIC).report() == {card: expected}


def test_drive_of_the_root_file_system_that_is_listed(build):
    root = build(
        whole.drive("0000:5e:00.0", 0),
        "proc/1/mountinfo = 24 1 259:0 / / rw - ext4 /dev/root rw\n"
        "proc/self/ns/pid -> pid:[4026531836]\n",
    )
    agent = whole.Agent(
        root, PCI, pci={"passthrough_whitelist": ('{"vendor_id": "1bd4"}',)}
    )
    assert agent.report() == {"0000:5e:00.0": ["host-uses-it"]}


HOST = (
    whole.MOUNTS + "proc/self/ns/pid -> pid:[4026531836]\nproc/1/comm = init\n"
)


def test_drive_that_spdk_has(build):
    root = build(
        whole.drive("0000:5e:00.0", 0, driver="vfio-pci"),
        whole.drive("0000:5f:00.0", 0, driver="vfio-pci"),
        HOST,
        "var/tmp/spdk_pci_lock_0000:5e:00.0 =\n",
    )
    agent = whole.Agent(root, DRIVE)
    assert agent.report() == {
        "0000:5e:00.0": ["host-uses-it"],
        "0000:5f:00.0": [],
    }
    # The process that left it is no more.
    lock = root / "var/tmp/spdk_pci_lock_0000:5e:00.0"
    lock.write_bytes((4711).to_bytes(4, "little"))
    assert agent.offered() == ["0000:5e:00.0", "0000:5f:00.0"]
    (root / "proc/4711").mkdir()
    assert agent.offered() == ["0000:5f:00.0"]


@pytest.mark.parametrize(
    ("name", "in_use", "rules"),
    [
        ("reactor_0", None, ["held-by-process"]),
        ("reactor_0", [], ["held-by-process"]),
        ("qemu-kvm", [], ["held-by-process"]),
        ("qemu-kvm", None, []),
        ("qemu-kvm", ["0000:5e:00.0"], []),
    ],
)
def test_drive_that_a_process_has_open(build, name, in_use, rules):
    root = build(
        whole.function(
            "0000:5e:00.0",
            "1bd4",
            "1001",
            "010802",
            driver="vfio-pci",
            group=23,
        ),
        HOST,
        f"proc/77/comm = {name}\nproc/77/fd/9 -> /dev/vfio/23\n"
        "proc/77/fd/8 -> /dev/vfio/vfio\n",
    )
    assert whole.Agent(root, DRIVE).report(in_use) == {"0000:5e:00.0": rules}


def test_card_that_a_process_has_open_by_a_node_of_its_own(build):
    root = build(
        whole.function(
            "0000:af:00.0",
            "10de",
            "1eb8",
            "030200",
            driver="vfio-pci",
            extra=["vfio-dev/vfio3/"],
        ),
        HOST,
        "proc/77/comm = dpdk-app\nproc/77/fd/9 -> /dev/vfio/devices/vfio3\n",
    )
    assert whole.Agent(root, NVIDIA).report() == {
        "0000:af:00.0": ["held-by-process"]
    }


@pytest.mark.parametrize(
    "text",
    [
        "sys/fs/ext4/nvme0n1/",
        "sys/fs/f2fs/nvme0n1/",
        "sys/fs/btrfs/1d4f/devices/nvme0n1 -> ../../../../nvme0n1",
        "sys/fs/bcachefs/1d4f/dev-0/block -> ../../../../nvme0n1",
        "sys/kernel/config/nvmet/subsystems/a/namespaces/1/device_path = "
        "/dev/nvme0n1",
        "sys/kernel/config/target/core/iblock_0/d/udev_path = /dev/nvme0n1",
        "proc/swaps = Filename Type\\n/dev/nvme0n1 partition 1 0 -2",
    ],
)
def test_disk_in_use(build, text):
    root = build(whole.drive("0000:5e:00.0", 0), whole.MOUNTS, text)
    assert whole.Agent(root, DRIVE).report() == {
        "0000:5e:00.0": ["host-uses-it"]
    }


# -- isolation


def test_cards_that_share_a_group_with_the_uplink(unpack):
    agent = whole.Agent(unpack("shared_group"), NVIDIA)
    assert agent.report() == {
        "0000:01:00.0": ["group-not-viable"],
        "0000:02:00.0": ["group-not-viable"],
    }


def shared(*drivers: str, group: int = 14) -> str:
    """Two GPUs, the first with an audio function, in one group."""
    first, audio, second = drivers
    return "".join(
        [
            whole.function(
                "0000:01:00.0",
                "10de",
                "2bb5",
                "030000",
                driver=first or None,
                group=group,
            ),
            whole.function(
                "0000:01:00.1",
                "10de",
                "22e8",
                "040300",
                driver=audio or None,
                group=group,
            ),
            whole.function(
                "0000:02:00.0",
                "10de",
                "2330",
                "030200",
                driver=second or None,
                group=group,
            ),
            whole.function(
                "0000:00:01.0",
                "8086",
                "2020",
                "060400",
                driver="something",
                group=group,
            ),
        ]
    )


def test_one_of_a_group_is_offered(build):
    root = build(shared("vfio-pci", "vfio-pci", "vfio-pci"))
    agent = whole.Agent(root, NVIDIA)
    one, other = "0000:01:00.0", "0000:02:00.0"
    assert agent.report() == {one: [], other: ["group-shared"]}
    # The one that a guest has.
    assert agent.report(in_use=[other]) == {one: ["group-shared"], other: []}
    assert agent.offered(in_use=[one, other]) == [one, other]


def test_what_is_withheld_takes_nobodys_place(build):
    root = build(shared("", "pci-stub", ""))
    agent = whole.Agent(root, NVIDIA, agent={"withhold": ["00000000:01:00.0"]})
    assert agent.report() == {
        "0000:01:00.0": ["operator-withholds"],
        "0000:02:00.0": [],
    }


@pytest.mark.parametrize(
    ("drivers", "offered"),
    [
        (("nvidia", "vfio-pci", "vfio-pci"), ["0000:01:00.0"]),
        (("nvidia", "snd_hda_intel", "vfio-pci"), []),
        (("nvidia", "", "nvidia"), []),
        (("", "", "nvgrace_gpu_vfio_pci"), ["0000:01:00.0"]),
    ],
)
def test_drivers_in_a_group(build, drivers, offered):
    root = build(shared(*drivers))
    assert whole.Agent(root, NVIDIA).offered() == offered


def test_companion_is_no_offer(build):
    root = build(shared("vfio-pci", "vfio-pci", "vfio-pci", group=0))
    agent = whole.Agent(
        root, PCI, pci={"passthrough_whitelist": ('{"vendor_id": "10de"}',)}
    )
    assert agent.report() == {
        "0000:01:00.0": [],
        "0000:01:00.1": ["companion"],
        "0000:02:00.0": [],
    }


def test_host_without_an_iommu_says_so_once(build, caplog):
    root = build(shared("nvidia", "snd_hda_intel", "nvidia", group=0))
    agent = whole.Agent(root, NVIDIA)
    for _time in range(3):
        assert len(agent.offered()) == 2
    assert caplog.text.count("has an IOMMU group") == 1


# -- two claims


def test_first_driver_has_it(build):
    root = build(whole.drive("0000:5e:00.0", 0), whole.MOUNTS)
    listed = {"pci": {"passthrough_whitelist": ('{"vendor_id": "1bd4"}',)}}
    assert whole.Agent(root, DRIVE, PCI, **listed).offered() == [
        "0000:5e:00.0"
    ]


@pytest.mark.parametrize("spdk_first", [True, False])
def test_drive_that_spdk_shows(build, monkeypatch, spdk_first):
    """Its program has it, whichever driver is enabled first."""
    bdevs = [
        {
            "name": "Nvme0n1",
            "block_size": 512,
            "num_blocks": 1000,
            "driver_specific": {
                "nvme": [
                    {
                        "trid": {
                            "trtype": "PCIe",
                            "traddr": "0000:5e:00.0",
                        }
                    }
                ]
            },
        }
    ]
    monkeypatch.setattr(
        spdk.Client, "__call__", lambda self, method, params=None: bdevs
    )
    root = build(
        whole.drive("0000:5e:00.0", 0, driver="vfio-pci"),
        whole.drive("0000:5f:00.0", 1, driver="vfio-pci"),
        HOST,
    )
    drivers = ["nvmf_spdk_driver", DRIVE]
    agent = whole.Agent(
        root,
        *(drivers if spdk_first else drivers[::-1]),
        spdk={"report_bdevs": True},
    )
    given = [place for place in agent.handles() if '"5e"' in place]
    assert given == []
    assert any('"5f"' in place for place in agent.handles())


# -- the operator's word


def test_withhold(unpack):
    agent = whole.Agent(
        unpack("vmd"),
        PCI,
        NVIDIA,
        agent={"withhold": ["10001:8b:*"]},
        pci={"passthrough_whitelist": ('{"vendor_id": "1344"}',)},
    )
    found = agent.report()
    assert found.pop("10001:8b:00.0") == ["operator-withholds"]
    assert all(not rules for rules in found.values())
    assert len(found) > 1


def test_offer_anyway(unpack, caplog):
    agent = whole.Agent(
        unpack("uplink_and_console"),
        NIC,
        NVIDIA,
        agent={"offer_anyway": ["host-uses-it:0000:05:00.0"]},
    )
    assert agent.offered() == ["0000:05:00.0", "0000:05:00.1"]
    assert "offer_anyway: host-uses-it:0000:05:00.0" in caplog.text


def test_entry_that_means_no_function(unpack, caplog):
    agent = whole.Agent(
        unpack("uplink_and_console"),
        NIC,
        agent={
            "withhold": ["0000:05:00.1", "00000000:99:00.0"],
            "offer_anyway": ["has-parts:0000:9a:*"],
        },
    )
    for _time in range(2):
        assert agent.offered() == []
    idle = [text for text in caplog.messages if "means no PCI" in text]
    assert idle == [
        "[agent] withhold: 00000000:99:00.0 means no PCI function here",
        "[agent] offer_anyway: has-parts:0000:9a:* means no PCI function here",
    ]


def test_offer_anyway_is_about_one_rule(unpack):
    agent = whole.Agent(
        unpack("uplink_and_console"),
        NIC,
        agent={"offer_anyway": ["carries-data:0000:05:00.*"]},
    )
    assert agent.offered() == ["0000:05:00.1"]


def test_what_a_guest_has_is_never_withheld(unpack):
    agent = whole.Agent(
        unpack("uplink_and_console"),
        NIC,
        NVIDIA,
        agent={"withhold": ["*"]},
    )
    assert agent.offered(in_use=["0000:05:00.0"]) == ["0000:05:00.0"]


# -- what is right stays right


@pytest.mark.parametrize(
    ("name", "drivers", "count"),
    [
        ("vmd", (PCI, NVIDIA), 4),
        ("switchdev", (NIC,), 6),
        ("dpu", (NIC,), 4),
        ("intel_fpgas", ("intel_fpga_driver",), 3),
    ],
)
def test_nothing_is_withheld(unpack, name, drivers, count):
    conf = {
        "nic_devices": {"enabled_nic_types": ["e810"]},
        "e810": {"product_ids": ["159b"]},
        "pci": {"passthrough_whitelist": ('{"vendor_id": "1344"}',)},
    }
    agent = whole.Agent(unpack(name), *drivers, **conf)
    assert len(agent.offered()) == len(agent.report()) == count
