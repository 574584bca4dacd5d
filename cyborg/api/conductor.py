"""The conductor this API talks to."""

import functools

from oslo_config import cfg
from oslo_utils import importutils

from cyborg.conductor import rpcapi
from cyborg.context import get_admin_context
from cyborg.db import conductor as conductor_db

CONF = cfg.CONF

_MANAGER = "cyborg.conductor.manager.ConductorManager"


@functools.cache
def get() -> rpcapi.ConductorAPI:
    """Return the interface that ``[conductor] mode`` chooses.

    Made on first use, so that every worker process has connections of its
    own; the conductor's code is only loaded where it runs.
    """
    if CONF.conductor.mode == "local":
        manager = importutils.import_object(_MANAGER, notify=rpcapi.notifier())
        return rpcapi.local(manager)
    # What the oldest conductor knows; those that come later know more.
    lowest = conductor_db.lowest_rpc_version(
        get_admin_context(), CONF.conductor.service_down_time
    )
    return rpcapi.remote(lowest)
