"""The conductor this API talks to."""

import functools

from oslo_config import cfg
from oslo_utils import importutils

from cyborg.conductor import rpcapi

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
    return rpcapi.remote()
