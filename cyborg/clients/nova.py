"""Nova: events of instances, and whose they are."""

from collections.abc import Sequence
from typing import Any
from urllib import parse

from keystoneauth1 import exceptions as ks_exceptions
from oslo_log import log as logging
import requests

from cyborg.clients import auth
from cyborg.common import exception

LOG = logging.getLogger(__name__)

GROUP = "nova"
# Knows the event accelerator-request-bound.
MICROVERSION = "2.82"

EVENTS = "/os-server-external-events"


def send_events(
    events: Sequence[dict[str, str]], request_id: str | None = None
) -> dict[int, int]:
    """Send events in one call; return Nova's code for each, by index.

    200: taken; 404: no such server; 422: the server has no host yet; 400: not
    an event; 403: Nova refuses this user.

    :param events: ``{"name", "server_uuid", "tag", "status"}`` each
    :raises NovaUnavailable: it is not known which of them were taken
    """
    response = _ask("POST", EVENTS, {"events": list(events)}, request_id)
    status = response.status_code
    if status in (200, 207):
        return _codes(events, response)
    if status == 400 and len(events) > 1:
        # One that Nova cannot read spoils the call for all.
        return {
            index: send_events([event], request_id)[0]
            for index, event in enumerate(events)
        }
    if status == 403:
        LOG.error(
            "Nova refuses events: the user of [%s] needs the right "
            "os_compute_api:os-server-external-events:create",
            GROUP,
        )
    if status in (400, 403, 404, 422):
        return dict.fromkeys(range(len(events)), status)
    raise _unavailable(response)


def _codes(
    events: Sequence[dict[str, str]], response: requests.Response
) -> dict[int, int]:
    if response.status_code == 200:
        return dict.fromkeys(range(len(events)), 200)
    try:
        answers = response.json()["events"]
        codes = {
            (answer["server_uuid"], answer.get("tag")): int(answer["code"])
            for answer in answers
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unavailable(response) from error
    return {
        index: codes[event["server_uuid"], event["tag"]]
        for index, event in enumerate(events)
        if (event["server_uuid"], event["tag"]) in codes
    }


def get_server(uuid: str, request_id: str | None = None) -> dict[str, Any]:
    """Return a server's record; ``tenant_id`` is the project that owns it.

    :raises ServerNotFound: Nova has no such server
    :raises NovaUnavailable: Nova does not say
    """
    response = _ask(
        "GET", f"/servers/{parse.quote(uuid, safe='')}", None, request_id
    )
    if response.status_code == 404:
        raise exception.ServerNotFound(uuid=uuid)
    if response.status_code != 200:
        raise _unavailable(response)
    try:
        server: dict[str, Any] = response.json()["server"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unavailable(response) from error
    return server


def find_owner(uuid: str) -> str | None:
    """Return the project that owns a server, None if Nova cannot say.

    :raises NovaUnavailable: Nova does not answer
    """
    try:
        project = get_server(uuid).get("tenant_id")
    except exception.ServerNotFound:
        return None
    return project if isinstance(project, str) else None


def _ask(
    method: str, path: str, body: Any, request_id: str | None
) -> requests.Response:
    adapter = auth.adapter(GROUP)
    try:
        return adapter.request(
            path,
            method,
            json=body,
            headers=auth.headers(request_id)
            | {"OpenStack-API-Version": f"compute {MICROVERSION}"},
            raise_exc=False,
        )
    except ks_exceptions.ClientException as error:
        raise exception.NovaUnavailable(reason=auth.reason(error)) from error


def _unavailable(response: requests.Response) -> exception.NovaUnavailable:
    text = " ".join(response.text.split())[:200]
    return exception.NovaUnavailable(reason=f"{response.status_code} {text}")
