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

_CONFIG = """\
# Written at every start of cyborg-standalone; changes here are lost.
[api]
auth_strategy = noauth2

[placement_database]
connection = sqlite:///{state}/placement.sqlite
sync_on_startup = True
"""


def load(directory: pathlib.Path) -> Any:
    """Return Placement's WSGI application; its schema is made on first use.

    Placement keeps its database connection in a global of its own, so there
    is one in a process. On SQLite it needs a single thread.
    """
    path = directory / "placement.conf"
    path.write_text(_CONFIG.format(state=directory))
    config = cfg.ConfigOpts()
    placement_conf.register_opts(config)
    config([], project="placement", default_config_files=[str(path)])
    db_api.configure(config)
    return deploy.loadapp(config)
