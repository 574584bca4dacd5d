"""What pages of other sites may send and see, group [cors]."""

from oslo_config import cfg
from oslo_middleware import cors

GROUP = "cors"


def register_opts(conf: cfg.ConfigOpts) -> None:
    cors.set_defaults(
        allow_methods=["GET", "PUT", "POST", "DELETE", "PATCH"],
        allow_headers=[
            "X-Auth-Token",
            "X-OpenStack-Request-ID",
            "OpenStack-API-Version",
        ],
        expose_headers=[
            "X-OpenStack-Request-ID",
            "OpenStack-API-Version",
            "OpenStack-API-Minimum-Version",
            "OpenStack-API-Maximum-Version",
            "Link",
        ],
    )
    conf.register_opts(cors.OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    # The namespace oslo.middleware.cors has them.
    return {}
