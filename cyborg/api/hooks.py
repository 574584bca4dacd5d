"""What happens to every request before and after its handler."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from oslo_config import cfg
from oslo_middleware import request_id
from pecan import hooks
import webob

from cyborg import context as cyborg_context
from cyborg.api import errors
from cyborg.api import request as api_request
from cyborg.api import routing
from cyborg.api import versions
from cyborg.conductor import rpcapi

CONF = cfg.CONF

_ABOUT_VERSIONS = (
    ("Vary", versions.HEADER),
    (versions.MINIMUM_HEADER, str(versions.MINIMUM)),
    (versions.MAXIMUM_HEADER, str(versions.MAXIMUM)),
)


def make_context(environ: dict[str, Any]) -> cyborg_context.RequestContext:
    """Return who asks, as the authentication middleware found out."""
    context = cyborg_context.RequestContext.from_environ(environ)
    accepted = set(CONF.keystone_authtoken.service_token_roles)
    context.is_service_request = environ.get(
        "HTTP_X_SERVICE_IDENTITY_STATUS"
    ) == "Confirmed" and not accepted.isdisjoint(context.service_roles)
    return context


class RequestHook(hooks.PecanHook):
    """Finds out who asks, for what, and in which version.

    :param get_conductor: called by requests that write, and only then
    """

    def __init__(
        self, get_conductor: Callable[[], rpcapi.ConductorAPI]
    ) -> None:
        self._get_conductor = get_conductor

    def on_route(self, state: Any) -> None:
        request = state.request
        request.context = make_context(request.environ)
        request.get_conductor = self._get_conductor
        request.segments = api_request.split_path(request.path_info)
        if request.segments:
            # The root document has no version.
            request.version = versions.requested(
                request.headers.get(versions.HEADER)
            )
            request.version_known = True

    def after(self, state: Any) -> None:
        request, headers = state.request, state.response.headerlist
        if not request.segments:
            return
        headers += _ABOUT_VERSIONS
        if request.version_known:
            headers.append(
                (
                    versions.HEADER,
                    f"{versions.SERVICE_TYPE} {request.version}",
                )
            )


class ErrorHook(hooks.PecanHook):
    """Gives every error its one form."""

    def on_error(self, state: Any, error: Exception) -> webob.Response:
        # The context is missing where it could not be made.
        number = state.request.environ.get(
            request_id.ENV_REQUEST_ID,
            getattr(state.request.context, "request_id", None),
        )
        status, text = errors.describe(error, number)
        response = webob.Response(
            status=status,
            body=errors.body(status, text, state.request.environ),
            content_type="application/json",
            charset=None,
        )
        response.headers.extend(errors.retry_headers(status))
        if status == HTTPStatus.METHOD_NOT_ALLOWED and isinstance(
            error, routing.MethodNotAllowed
        ):
            response.headers["Allow"] = error.kwargs["allow"]
        return response
