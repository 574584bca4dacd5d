"""A Nova that takes every event, as a WSGI application."""

from collections.abc import Iterable
import json
from typing import Any


def application(
    environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    """Answer as a Nova whose servers all have a host."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    events = json.loads(body)["events"] if body else []
    answer = json.dumps(
        {"events": [event | {"code": 200} for event in events]}
    ).encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer))),
        ],
    )
    return [answer]
