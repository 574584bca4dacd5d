"""Placement, as a WSGI application that counts its requests."""

from collections.abc import Iterable
import json
from typing import Any

from placement.wsgi import api

from benchmarks import common

_requests = 0


def application(
    environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    """Answer as Placement; at :data:`common.COUNT`, say how often it did."""
    global _requests
    if environ["PATH_INFO"] != common.COUNT:
        # One thread serves.
        _requests += 1
        answer: Iterable[bytes] = api.application(environ, start_response)
        return answer
    body = json.dumps(_requests).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
