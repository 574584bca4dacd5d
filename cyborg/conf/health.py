"""Options of what agents see of the cards' health, group [health]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("health", title="Health of devices")

OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=True,
        help="""
Whether cyborg-agent looks at the health of the devices that it reports.
""",
    ),
    cfg.ListOpt(
        "disabled_sensors",
        default=[],
        help="""
Sensors that cyborg-agent does not read, of ``pcie``, ``aer``, ``kmsg``,
``nvme``, ``nic``, ``qat``, ``dfl`` and ``hwmon``; for example ``pcie`` where
cards with 16 lanes are in slots that are wired with eight.
""",
    ),
    cfg.FloatOpt(
        "sensor_timeout",
        default=5.0,
        min=0.1,
        help="""
Seconds after which cyborg-agent goes on without the answer of a sensor. What
is then not known of a device withholds it from nobody.
""",
    ),
    cfg.IntOpt(
        "clear_after",
        default=300,
        min=0,
        help="""
Seconds for which cyborg-agent has to find a device well before it says so.
Each time that it was wrong, within a day, the time doubles, up to 64 times.
Signs that need a reset stay until the device was cleaned, or an operator
deletes the condition.
""",
    ),
    cfg.StrOpt(
        "fence",
        default="hard",
        mutable=True,
        choices=[
            ("none", "Nothing: conditions are shown, and that is all."),
            (
                "hard",
                "Devices that nobody can be given: their registers cannot be "
                "read, or their driver cannot open them.",
            ),
            (
                "all",
                "Also those that link, AER, hwmon, kernel log and the like "
                "say are sick, up to ``max_fenced_percent``.",
            ),
        ],
        help="""
Which devices cyborg-conductor reserves for what sensors see.
""",
    ),
    cfg.IntOpt(
        "max_fenced_percent",
        default=10,
        min=0,
        max=100,
        mutable=True,
        help="""
How many percent of all devices, and of the devices of each type, are reserved
at most because a sensor says that they are sick, with ``fence = all``: a
sensor that is wrong everywhere must not take the cloud down. One device of
each host may always be. Devices that nobody can be given do not count.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
