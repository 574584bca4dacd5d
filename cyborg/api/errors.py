"""The one form that every error takes.

``{"error_message": {"faultcode": "Client", "faultstring": "No device has
uuid x.", "debuginfo": null}}``. Up to 2.3 the object is JSON text, which is
what clients of those versions read.
"""

from http import HTTPStatus
import json
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_middleware import sizelimit
from webob import exc as webob_exc

from cyborg.api import text
from cyborg.api import versions
from cyborg.common import database
from cyborg.common import exception
from cyborg.common.i18n import _

CONF = cfg.CONF
CONF.register_opts(sizelimit.OPTS, group="oslo_middleware")

LOG = logging.getLogger(__name__)


class Explained(exception.CyborgException):
    """A server error whose text is meant for the client."""

    def __init__(
        self,
        message: str,
        code: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR,
    ) -> None:
        super().__init__(message)
        self.code = code


def body(status: int, message: str, environ: dict[str, Any]) -> bytes:
    """Return the body of an error response.

    :param environ: of the request, which says in which version
    """
    fault: Any = {
        "faultcode": "Client" if status < 500 else "Server",
        "faultstring": text.as_sent(message),
        "debuginfo": None,
    }
    if versions.of_errors(environ) < versions.STRICT:
        fault = json.dumps(fault)
    return json.dumps({"error_message": fault}).encode()


def too_large() -> str:
    """Return what to say about a body that is larger than the limit."""
    return _("The body is larger than %d bytes.") % (
        CONF.oslo_middleware.max_request_body_size
    )


def describe(error: BaseException, request_id: str | None) -> tuple[int, str]:
    """Return the status and the text for an error, and log what is ours.

    What went wrong inside is for the log: it may hold SQL, addresses and
    worse.
    """
    if isinstance(error, webob_exc.HTTPException):
        return error.status_int, error.detail or _REASONS.get(
            error.status_int, error.explanation
        )
    if isinstance(error, UnicodeDecodeError):
        return 400, _("The URL is not UTF-8.")
    if isinstance(error, exception.CyborgException):
        if error.code < 500:
            return int(error.code), error.faultstring
        if isinstance(error, _SHOWN) or error.code == 503:
            LOG.warning("%s: %s", type(error).__name__, error.faultstring)
            return int(error.code), _shown(error, request_id)
        status = int(error.code)
    elif (reason := database.refusal(error)) is not None:
        LOG.error("The database does not answer, or refuses: %s", reason)
        return 503, _(
            "The database does not answer; the log has the reason under "
            "request id %s."
        ) % request_id
    else:
        status = 500
    LOG.error("Request failed", exc_info=error)
    return status, _(
        "An internal error occurred; the log has the details under request "
        "id %s."
    ) % request_id


def _shown(error: exception.CyborgException, request_id: str | None) -> str:
    """Return what a client is told, without what a peer's client said."""
    reason = error.kwargs.get("reason")
    if error.code != 503 or not reason:
        return error.faultstring
    return _("%(text)s; the log has the reason under request id %(id)s.") % {
        "text": error.faultstring.removesuffix(f": {reason}"),
        "id": request_id,
    }


_SHOWN = (Explained, exception.ProgrammingFailed)

_REASONS = {
    404: _("Nothing is served at this path."),
    405: _("The method is not allowed at this path."),
    406: _("Only application/json is served; Accept does not admit it."),
}


# Seconds after which a peer that is away may be back.
_RETRY_AFTER = 10


def retry_headers(status: int) -> list[tuple[str, str]]:
    """Return what tells a client when to ask again, if that is of use."""
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return []
    return [("Retry-After", str(_RETRY_AFTER))]


def response_headers(length: int) -> list[tuple[str, str]]:
    return [
        ("Content-Type", "application/json"),
        ("Content-Length", str(length)),
    ]


def respond(
    environ: dict[str, Any], start_response: Any, status: int, message: str
) -> list[bytes]:
    """Answer with an error, from outside the application."""
    content = body(status, message, environ)
    phrase = HTTPStatus(status).phrase
    headers = response_headers(len(content)) + retry_headers(status)
    start_response(f"{status} {phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]
