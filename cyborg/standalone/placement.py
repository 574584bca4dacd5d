"""A real Placement in this process, over its own SQLite file."""

import pathlib
from typing import Any

from oslo_config import cfg
from placement import conf as placement_conf
from placement import db_api
from placement import deploy

# Placement's own local authentication takes the token "admin" for an
# administrator's.
TOKEN = "admin"


def load(directory: pathlib.Path) -> Any:
    """Return Placement's WSGI application; its schema is made on first use.

    Placement keeps its database connection in a global of its own, so there
    is one in a process. On SQLite it needs a single thread.
    """
    config = cfg.ConfigOpts()
    placement_conf.register_opts(config)
    config([], project="placement", default_config_files=[])
    config.set_override("auth_strategy", "noauth2", group="api")
    config.set_override(
        "connection",
        f"sqlite:///{directory / 'placement.sqlite'}",
        group="placement_database",
    )
    config.set_override("sync_on_startup", True, group="placement_database")
    db_api.configure(config)
    return deploy.loadapp(config)
