"""Cyborg's additions to oslo.db's group [database]."""

from oslo_config import cfg
from oslo_db import options as db_options

DEFAULT_CONNECTION = "sqlite:///$state_path/cyborg.sqlite"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "mysql_engine",
        default="InnoDB",
        help="""
Storage engine of the tables on MySQL and MariaDB. It has to be one with
transactions, which is InnoDB.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_opts(OPTS, group="database")
    # oslo.db keeps 5 and closes the others after every request, and to connect
    # costs more than a request does.
    db_options.set_defaults(
        conf, connection=DEFAULT_CONNECTION, max_pool_size=20
    )


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {"database": OPTS}
