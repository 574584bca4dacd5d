"""Gives the errors of everything behind it the one form.

The application does so itself; this is for the filters in front of it.
"""

from collections.abc import Callable
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from oslo_middleware import request_id
import webob

from cyborg.api import errors

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ErrorsMiddleware:
    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            status_line, headers, body = request.call_application(
                self._application
            )
        except Exception as error:
            status, text = errors.describe(
                error, environ.get(request_id.ENV_REQUEST_ID)
            )
            return errors.respond(environ, start_response, status, text)
        if status_line < "400":
            start_response(status_line, headers)
            answer: Iterable[bytes] = body
            return answer
        response = webob.Response(
            status=status_line, headerlist=headers, app_iter=body
        )
        if response.content_type != "application/json":
            explanation = _plain_text(response)
            status = response.status_int
            response.body = errors.body(status, explanation, environ)
            response.content_type = "application/json"
            response.charset = None
        result: Iterable[bytes] = response(environ, start_response)
        return result

    @classmethod
    def factory(
        cls, global_conf: dict[str, Any], **local_conf: Any
    ) -> Callable[[Application], "ErrorsMiddleware"]:
        return cls


def _plain_text(response: webob.Response) -> str:
    """Return what an error of another form says, or what its status means."""
    if response.status_int == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # The filter leaves the number out.
        return errors.too_large()
    if response.content_type == "text/plain" and response.text.strip():
        return " ".join(response.text.split())
    return response.status.split(" ", 1)[-1]
