"""Tracing with osprofiler, where ``[profiler] enabled`` is set."""

from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from osprofiler import initializer
from osprofiler import opts
from osprofiler import web

CONF = cfg.CONF


def factory(
    global_conf: dict[str, Any], **local_conf: Any
) -> Callable[[Any], Any]:
    """Return what puts tracing in front of an application, if wanted."""

    def wrap(application: Any) -> Any:
        opts.set_defaults(CONF)
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
