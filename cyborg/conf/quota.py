"""Options of quotas, group [quota]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("quota", title="Quotas")

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "driver",
        default="none",
        choices=[
            ("none", "Nothing is limited."),
            ("unified_limits", "Limits are Keystone's unified limits."),
        ],
        help="""
Where the limits on accelerator requests come from. Register the limits
``accelerator_requests`` and ``class:<resource class>`` for the service and
the region of the accelerator endpoint, and configure ``[oslo_limit]``, before
switching them on: a limit that is not registered counts as 0.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
