"""Tracing with osprofiler, where ``[profiler] enabled`` is set.

A request is traced that comes with a trace's id, signed with one of
``[profiler] hmac_keys``; ``openstack --os-profile KEY`` sends that.
"""

from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from osprofiler import initializer
from osprofiler import web

CONF = cfg.CONF


def factory(
    global_conf: dict[str, Any], **local_conf: Any
) -> Callable[[Any], Any]:
    """Return what puts tracing in front of an application, if wanted."""

    def wrap(application: Any) -> Any:
        if not CONF.profiler.enabled:
            return application
        initializer.init_from_conf(
            conf=CONF,
            context={},
            project="cyborg",
            service="api",
            host=CONF.host,
        )
        return web.WsgiMiddleware(
            application, enabled=True, hmac_keys=CONF.profiler.hmac_keys
        )

    return wrap
