"""``GET /healthcheck``: whether this API can do its work.

It asks the database, and whether something listens where the message bus
should be; what is behind it is left to oslo.middleware's own check, which
``[healthcheck]`` configures: ``disable_by_file`` takes a node out of service.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_middleware import healthcheck
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.api import errors
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.common.i18n import _
from cyborg.db import engine

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

PATH = "/healthcheck"

# What a server is asked that may be a replica, or was told to be one.
_IS_READ_ONLY = {
    "mysql": "SELECT @@global.read_only",
    "postgresql": "SHOW transaction_read_only",
}

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def check_database() -> None:
    """Pass if the database answers, and takes what is written.

    :raises DatabaseUnavailable: it is read-only
    """
    with engine.reading(cyborg_context.get_admin_context()) as connection:
        question = _IS_READ_ONLY.get(connection.dialect.name, "SELECT 0")
        said = connection.execute(sa.text(question)).scalar()
    if said in (1, "on"):
        raise exception.DatabaseUnavailable(reason="it is read-only")


def check_messaging() -> None:
    """Pass if the message bus is there, or not needed.

    :raises OSError: it is not
    """
    if CONF.conductor.mode != "local":
        rpc.check_bus()


class HealthcheckMiddleware:
    """Answers one path and passes everything else on."""

    def __init__(self, application: Application, conf: dict[str, Any]) -> None:
        self._application = application
        self._path = conf.get("path", PATH)
        self._inner = healthcheck.Healthcheck(None, conf)

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != self._path:
            return self._application(environ, start_response)
        for name, check in (
            (_("The database"), check_database),
            (_("The message bus"), check_messaging),
        ):
            try:
                check()
            except Exception:
                LOG.exception("%s does not answer", name)
                return errors.respond(
                    environ,
                    start_response,
                    503,
                    _("%s does not answer.") % name,
                )
        return self._inner(environ, start_response)

    @classmethod
    def factory(
        cls, global_conf: dict[str, Any], **local_conf: Any
    ) -> Callable[[Application], "HealthcheckMiddleware"]:
        conf = {**global_conf, **local_conf}

        def wrap(application: Application) -> HealthcheckMiddleware:
            return cls(application, conf)

        return wrap
