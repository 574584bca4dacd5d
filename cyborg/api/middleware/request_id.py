"""oslo.middleware's request ids, without an object of every answer.

It makes a WebOb response of each answer only to add one header, which takes
as long as a policy decision.
"""

from collections.abc import Iterable
from typing import Any

from oslo_context import context
from oslo_middleware import request_id
import webob


class RequestId(request_id.RequestId):
    """Gives a request its id, and the answer a header that says so."""

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        self.set_global_req_id(webob.Request(environ))
        number = context.generate_request_id()
        environ[request_id.ENV_REQUEST_ID] = number

        def start(status: str, headers: Any, *more: Any) -> Any:
            name = request_id.HTTP_RESP_HEADER_REQUEST_ID
            return start_response(status, [*headers, (name, number)], *more)

        assert self.application is not None
        answer: Iterable[bytes] = self.application(environ, start)
        return answer
