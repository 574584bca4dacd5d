"""Stands where Nova's API would: takes its events and knows any server."""

from collections.abc import Callable
from collections.abc import Iterable
import json
import threading
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

_EVENTS = "/os-server-external-events"
_SERVERS = "/servers/"


class EventRecorder:
    """A WSGI application that remembers the events it was sent.

    :param project_id: the owner of every server
    """

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id
        self._arrived = threading.Condition()
        self._events: list[dict[str, Any]] = []

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "POST" and path.endswith(_EVENTS):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = self._record(json.loads(environ["wsgi.input"].read(length)))
        elif _SERVERS in path:
            uuid = path.rsplit("/", 1)[-1]
            body = {"server": {"id": uuid, "tenant_id": self._project_id}}
        else:
            start_response("404 Not Found", [])
            return []
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    def _record(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._arrived:
            self._events += body["events"]
            self._arrived.notify_all()
        for event in body["events"]:
            LOG.info(
                "Nova would be told: server %s, ARQ %s: %s",
                event["server_uuid"],
                event["tag"],
                event["status"],
            )
        return {"events": [event | {"code": 200} for event in body["events"]]}

    def wait_for(self, tag: str, timeout: float) -> dict[str, Any] | None:
        """Return the event about an ARQ, or None if none comes in time."""

        def found() -> dict[str, Any] | None:
            return next(
                (event for event in self._events if event["tag"] == tag), None
            )

        with self._arrived:
            self._arrived.wait_for(found, timeout)
            return found()
