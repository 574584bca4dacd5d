"""Options of osprofiler, which traces requests."""

from oslo_config import cfg
from osprofiler import opts


def register_opts(conf: cfg.ConfigOpts) -> None:
    opts.set_defaults(conf)


def list_opts() -> dict[str, list[cfg.Opt]]:
    # The namespace osprofiler has them.
    return {}
