"""Pins of the RPC versions during an upgrade, group [upgrade_levels]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("upgrade_levels", title="RPC version pins")

_HELP = """
Highest RPC version to speak to %ss while they are being upgraded: ``1.0`` or
``1.1``. ``auto`` takes the lowest that the running ones have reported.
"""

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        peer, default="auto", regex=r"^(auto|1\.\d+)$", help=_HELP % peer
    )
    for peer in ("conductor", "agent")
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
