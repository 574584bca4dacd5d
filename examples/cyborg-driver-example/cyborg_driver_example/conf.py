"""Options of the example driver, group [edu]."""

from oslo_config import cfg

OPTS = [
    cfg.StrOpt(
        "trait",
        help="""
A trait all cards of this host get, for example ``CUSTOM_RACK_7``. It must
begin with ``CUSTOM_``.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_opts(OPTS, group="edu")


def list_opts() -> dict[str, list[cfg.Opt]]:
    """Return the options, for the sample configuration."""
    return {"edu": OPTS}
