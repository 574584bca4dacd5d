"""Options of what is done to a device between two guests, group [cleaning]."""

from oslo_config import cfg
from oslo_config import types

GROUP = cfg.OptGroup("cleaning", title="Cleaning of devices")

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        help="""
Whether devices are cleaned after they are given back, by ``policy``. Not set,
those of hosts are that this release or a later one has seen first; nothing is
erased on hosts that were known before. ``true`` cleans on all hosts, ``false``
on none. Read by conductors.
""",
    ),
    cfg.Opt(
        "policy",
        type=types.Dict(
            types.String(
                choices=[
                    ("required", "Given to nobody before it is clean."),
                    ("wanted", "Cleaned, and given out also if that fails."),
                    ("off", "Given out as it is."),
                ]
            )
        ),
        default={"SSD": "required", "NVME": "required", "PMEM": "required"},
        help="""
What is done to a device before it is given out again: ``required``,
``wanted`` or ``off``, by device type or by the uuid of a device, which counts
before its type; for example ``SSD:required,GPU:wanted,
8c6f0f4e-9d0c-4c3b-8a35-5d9a6d2f8b11:off``. What is not listed is ``off``.
Read by conductors.
""",
    ),
    cfg.IntOpt(
        "attempts",
        default=3,
        min=1,
        help="""
Times that the cleaning of a device is tried. If the last fails, a device that
has to be clean is in state ``error``, and given to nobody until an operator
has it cleaned or released. A device that is still in use, or whose agent does
not answer, is waited for, and does not count. Read by conductors.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
