"""Options of cyborg-agent, group [agent]."""

import socket

from oslo_config import cfg

GROUP = cfg.OptGroup("agent", title="cyborg-agent")

OPTS = [
    cfg.ListOpt(
        "enabled_drivers",
        default=["fake_driver"],
        help="""
Drivers to load, by their name in the entry point group
``cyborg.accelerator.driver``. Where two drivers claim the same card, the one
named first gets it. An empty list reports nothing and removes nothing.

For example ``nvidia_gpu_driver,intel_qat_driver``. ``cyborg-agent --dry-run``
shows what they find.
""",
    ),
    cfg.IntOpt(
        "resource_provider_startup_retries",
        default=3,
        min=0,
        help="""
How often, at start, the look-up of this host's resource provider is
repeated, with pauses of 1, 2, 4 ... seconds. After that it is tried once
every ``periodic_interval``.
""",
    ),
    cfg.StrOpt(
        "resource_provider_name",
        default=socket.getfqdn(),
        sample_default="<fully qualified host name>",
        help="""
Name of this host's resource provider in Placement: the hypervisor hostname
that nova-compute reports, normally the fully qualified host name. If no
provider has it, ``[DEFAULT] host`` is tried.
""",
    ),
    cfg.IntOpt(
        "heartbeat_interval",
        default=60,
        min=0,
        help="""
Seconds after which an agent that has sent nothing says that it is alive. 0
means only after a discovery.
""",
    ),
    cfg.StrOpt(
        "machine_id_file",
        help="""
File with the host's ``machine-id`` (see ``machine-id(5)``), for an agent that
may not read ``/sys/class/dmi/id/product_uuid``. Two machines under one host
name are told apart by it. Unset, ``/etc/machine-id`` is read, but not in a
container: there it is the image's, and says nothing about the host. Name the
place where the host's own file is mounted, such as ``/host/etc/machine-id``.
""",
    ),
    cfg.StrOpt(
        "filesystem_root",
        default="/",
        advanced=True,
        help="""
Directory that drivers take for the root of the file system when they read
hardware. Another value than ``/`` is for tests on recorded machines.
""",
    ),
    cfg.IntOpt(
        "command_timeout",
        default=30,
        min=1,
        help="""
Seconds that a program started by a driver to look at hardware may take, such
as ``lspci`` or ``ndctl``. Loading a bitstream has ``program_timeout``.
""",
    ),
    cfg.ListOpt(
        "withhold",
        default=[],
        help="""
PCI functions that are not to be offered, whatever the drivers find: addresses,
or patterns of addresses with ``*`` and ``?``.

For example ``0000:5e:00.0,0000:af:*``. Guests keep what they have.
""",
    ),
    cfg.ListOpt(
        "offer_anyway",
        default=[],
        help="""
Rules of the agent that are not to be heeded for a PCI function:
``<rule>:<address or pattern>``. The rules have their names in the log, in
``cyborg-agent --dry-run`` and in the manual; no other rule is overridden, and
every entry is logged when the agent starts.

For example ``carries-data:0000:5e:00.0``.
""",
    ),
    cfg.IntOpt(
        "image_cache_size",
        default=10240,
        min=0,
        help="""
Most MiB of bitstreams an agent keeps under ``$state_path``, so that an image
used before need not be fetched again. 0 keeps none.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
