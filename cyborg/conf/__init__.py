"""Configuration options, one module per group.

Importing this package registers every option on ``oslo_config.cfg.CONF``;
code reads them inside functions as ``CONF.group.name``.
"""

from oslo_config import cfg

from cyborg.conf import agent
from cyborg.conf import agent_transport
from cyborg.conf import api
from cyborg.conf import cleaning
from cyborg.conf import conductor
from cyborg.conf import cors
from cyborg.conf import database
from cyborg.conf import default
from cyborg.conf import devices
from cyborg.conf import health
from cyborg.conf import keystone
from cyborg.conf import peers
from cyborg.conf import profiler
from cyborg.conf import quota
from cyborg.conf import upgrade_levels

CONF = cfg.CONF

MODULES = (
    default,
    api,
    agent,
    agent_transport,
    cleaning,
    conductor,
    cors,
    database,
    devices,
    health,
    keystone,
    peers,
    profiler,
    quota,
    upgrade_levels,
)

for _module in MODULES:
    _module.register_opts(CONF)
