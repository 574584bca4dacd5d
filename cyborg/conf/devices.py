"""Options of the drivers: which cards to offer, and as what.

The groups ``[vgpu_<type>]`` and ``[<nic type>]`` are named by other options,
so their drivers register them, with the functions below, once at start.
"""

from oslo_config import cfg

DECLARED = cfg.OptGroup("declared", title="Declared devices")
GPU = cfg.OptGroup("gpu_devices", title="GPU driver")
NIC = cfg.OptGroup("nic_devices", title="NIC driver")
NVME = cfg.OptGroup("nvme", title="NVMe drives")
PCI = cfg.OptGroup("pci", title="Generic PCI driver")
PMEM = cfg.OptGroup("pmem_devices", title="Persistent memory driver")
QAT = cfg.OptGroup("qat_devices", title="QuickAssist driver")
SPDK = cfg.OptGroup("spdk", title="SPDK drivers")

DECLARED_OPTS = [
    cfg.StrOpt(
        "directory",
        default="/etc/cyborg/devices.d",
        help="""
Directory with files ``*.toml`` that declare devices for ``declared_driver``.
All that they declare is offered. A mistake in one stops the agent at start,
with file and line.
""",
    ),
    cfg.ListOpt(
        "known_devices",
        default=[],
        help="""
Names of devices to offer that Cyborg declares itself; the manual has a table
of them. A device of that name in ``directory`` takes its place. Read by
``declared_driver``.
""",
    ),
]

GPU_OPTS = [
    cfg.ListOpt(
        "enabled_vgpu_types",
        default=[],
        help="""
vGPU types to offer, for example ``nvidia-35``. Each has a group
``[vgpu_<type>]`` whose ``device_addresses`` lists its cards.
""",
    ),
    cfg.BoolOpt(
        "filter_sriov_vfs",
        default=False,
        help="""
Do not offer SR-IOV virtual functions of a GPU as GPUs of their own. Set this
where the cards themselves are offered whole.
""",
    ),
    cfg.BoolOpt(
        "precreate_mdev",
        default=True,
        help="""
Create the mediated device when a request is bound. Nova 34 and later does so
itself if need be; set this to False to leave it to Nova.
""",
    ),
    cfg.BoolOpt(
        "vendor_vfio",
        default=False,
        help="""
Offer vGPUs of cards that have no mediated devices but NVIDIA's own VFIO
framework, as one PCI handle per virtual function. Nova attaches PCI handles
in managed mode, which takes the function from its driver: switch this on
only where Nova honours ``managed`` = ``false``.
""",
    ),
]

VGPU_OPTS = [
    cfg.ListOpt(
        "device_addresses",
        default=[],
        help="""
PCI addresses of the cards, or of their virtual functions, that use this type,
for example ``0000:af:00.0,0000:b0:00.0``, also as ``nvidia-smi`` spells them.
One address has one type; one of no GPU is a warning.
""",
    ),
    cfg.IntOpt(
        "max_instances",
        min=1,
        help="""
How many vGPUs of this type one card holds at most, as Nova's option of the
same name. Of mediated devices the host driver tells itself; needed for
``vendor_vfio`` where the names of the types do not tell.
""",
    ),
    cfg.StrOpt(
        "type_name",
        help="""
What the host driver calls this type, for example ``NVIDIA L40S-48Q``. Needed
for ``vendor_vfio`` only, and only if each card is full whenever the agent
looks: a full card does not name its types, and what was read once is
remembered.
""",
    ),
]

NIC_OPTS = [
    cfg.ListOpt(
        "enabled_nic_types",
        default=[],
        help="""
Names of groups with the mappings of network cards, for example
``x710_static``.
""",
    ),
]

NIC_TYPE_OPTS = [
    cfg.ListOpt(
        "physical_device_mappings",
        default=[],
        help="""
Which physical network the ports of a card belong to, as
``physnet1:eth2|eth3``; several are separated by commas. Device profiles ask
for the trait ``CUSTOM_PHYSNET_PHYSNET1``.
""",
    ),
    cfg.ListOpt(
        "function_device_mappings",
        default=[],
        help="""
Which function the ports of a card were loaded with, as ``GTPv1:eth2|eth3``;
device profiles ask for the trait ``CUSTOM_GTPV1``.
""",
    ),
    cfg.ListOpt(
        "product_ids",
        default=[],
        help="""
Product ids this group is about, in hexadecimal. Empty means every card the
driver knows.
""",
    ),
    cfg.ListOpt(
        "device_addresses",
        default=[],
        help="""
PCI addresses of what may be offered of these cards, for example
``0000:18:00.0,0000:3b:0a.1``. A card that is listed is offered whole, or by
all of its virtual functions if it has any; of any other card only those
virtual functions that are listed, and the rest of it is left alone. Empty
offers everything. Where several groups are about a card their lists count as
one. Checked when the agent starts; an address of no card is a warning.
""",
    ),
]

NVME_OPTS = [
    cfg.MultiStrOpt(
        "device_spec",
        default=[],
        help="""
NVMe drives to manage, as JSON objects with any of ``vendor_id`` and
``product_id`` (hexadecimal), ``address`` (``0000:0a:00.*``, or an object of
regular expressions for ``domain``, ``bus``, ``slot`` and ``function``),
``clear_action`` (``auto``, ``sanitize`` or ``zero``) and ``clear_strategy``
(``auto``, ``crypto`` or ``block``). A drive is meant if one of the objects
matches, and a key that is absent matches all. May be given several times; the
first that matches counts. It says how a drive is cleaned that a driver
reports; what no object means is cleaned as with ``auto``. Which drives are
offered is the affair of the drivers' own options. Read by agents.
""",
    ),
    cfg.IntOpt(
        "cleanup_timeout",
        default=900,
        min=60,
        help="""
Seconds that a step of the cleaning of a drive, or of persistent memory, may
take. Read by agents.
""",
    ),
    cfg.IntOpt(
        "max_wear",
        default=100,
        min=1,
        help="""
Percentage of its life (``percent_used`` of ``nvme smart-log``) from which a
drive is cleaned only by a change of its key. One that cannot do that is not
cleaned. Read by agents.
""",
    ),
]

PCI_OPTS = [
    cfg.MultiStrOpt(
        "passthrough_whitelist",
        default=[],
        help="""
PCI devices to offer, as JSON objects or lists of objects with ``vendor_id``,
``product_id``, ``address`` or ``devname``, for example ``{"vendor_id":
"1d55", "product_id": "1001"}``. Optional ``type``, ``class`` (resource
class), ``traits`` (list), ``physical_network`` and ``managed``. Another key,
or an object that selects every device, is refused when the agent starts. May
be given several times; empty offers nothing.
""",
    ),
    cfg.BoolOpt(
        "type_from_class",
        default=False,
        help="""
Derive the type of a device from its PCI class instead of calling everything
a GPU, as earlier releases did.
""",
    ),
]

PMEM_OPTS = [
    cfg.ListOpt(
        "pmem_namespaces",
        default=[],
        deprecated_opts=[cfg.DeprecatedOpt("pmem_namespaces", group="agent")],
        help="""
Namespaces of persistent memory to offer, grouped by a label, as
``6GB:ns0|ns1|ns2,LARGE:ns3``. They have to exist in mode devdax. Must not
overlap Nova's option of the same name.
""",
    ),
]

QAT_OPTS = [
    cfg.ListOpt(
        "product_ids",
        default=["37c8"],
        help="""
Product ids of the QuickAssist cards (vendor 8086) to offer, in hexadecimal.
Known: 37c8 C62x, 0435 DH895xCC, 19e2 C3xxx, 6f54 D15xx, 4940 4xxx, 4942
401xx, 4944 402xx, 4946 420xx.
""",
    ),
]

_OLD_SPDK_GROUPS = ("backend_defaults", "DEFAULT")


def _old_spdk_names(name: str) -> list[cfg.DeprecatedOpt]:
    return [cfg.DeprecatedOpt(name, group=group) for group in _OLD_SPDK_GROUPS]


SPDK_OPTS = [
    cfg.BoolOpt(
        "report_bdevs",
        default=False,
        help="""
Report the NVMe block devices an SPDK process owns. They are shown, and never
scheduled: Nova has no way to attach one.
""",
    ),
    cfg.StrOpt(
        "nvmf_socket",
        default="/var/tmp/spdk.sock",
        help="""
Unix socket of the NVMe-oF target's JSON-RPC server, for nvmf_spdk_driver. The
agent's user needs write access to it.
""",
    ),
    cfg.StrOpt(
        "vhost_socket",
        default="/var/tmp/vhost.sock",
        help="""
Unix socket of the vhost target's JSON-RPC server, for vhost_spdk_driver. The
agent's user needs write access to it.
""",
    ),
    cfg.StrOpt(
        "spdk_conf_file",
        default="/etc/cyborg/spdk.conf",
        deprecated_opts=_old_spdk_names("spdk_conf_file"),
        deprecated_for_removal=True,
        deprecated_reason="The agent starts no SPDK process.",
        help="SPDK configuration file; unused.",
    ),
    cfg.ListOpt(
        "accelerator_servers",
        default=["vhost", "nvmf", "iscsi"],
        deprecated_opts=_old_spdk_names("accelerator_servers"),
        deprecated_for_removal=True,
        deprecated_reason="Enable nvmf_spdk_driver or vhost_spdk_driver.",
        help="SPDK servers; unused.",
    ),
    cfg.StrOpt(
        "spdk_dir",
        default="/usr/local/spdk",
        deprecated_opts=_old_spdk_names("spdk_dir"),
        deprecated_for_removal=True,
        deprecated_reason="The agent starts no SPDK process.",
        help="Directory of SPDK; unused.",
    ),
    cfg.StrOpt(
        "device_type",
        default="NVMe",
        deprecated_opts=_old_spdk_names("device_type"),
        deprecated_for_removal=True,
        deprecated_reason="Only NVMe block devices are reported.",
        help="Kind of the backend devices; unused.",
    ),
    cfg.BoolOpt(
        "remoteable",
        default=False,
        deprecated_opts=_old_spdk_names("remoteable"),
        deprecated_for_removal=True,
        deprecated_reason="It never had an effect.",
        help="Unused.",
    ),
]

_GROUPS = (
    (DECLARED, DECLARED_OPTS),
    (GPU, GPU_OPTS),
    (NIC, NIC_OPTS),
    (NVME, NVME_OPTS),
    (PCI, PCI_OPTS),
    (PMEM, PMEM_OPTS),
    (QAT, QAT_OPTS),
    (SPDK, SPDK_OPTS),
)


def register_vgpu_type(conf: cfg.ConfigOpts, name: str) -> str:
    """Register the group of one vGPU type and return the group's name."""
    group = f"vgpu_{name}"
    conf.register_opts(VGPU_OPTS, group=group)
    return group


def register_nic_type(conf: cfg.ConfigOpts, name: str) -> str:
    """Register the group of one NIC type and return the group's name."""
    conf.register_opts(NIC_TYPE_OPTS, group=name)
    return name


def register_opts(conf: cfg.ConfigOpts) -> None:
    for group, options in _GROUPS:
        conf.register_group(group)
        conf.register_opts(options, group=group)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {group.name: list(options) for group, options in _GROUPS} | {
        "vgpu_nvidia-35": list(VGPU_OPTS),
        "x710_static": list(NIC_TYPE_OPTS),
    }
