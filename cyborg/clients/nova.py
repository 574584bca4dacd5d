"""Nova: events of instances, and whose they are."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import cast
from typing import TYPE_CHECKING
from typing import TypeVar
from urllib import parse

from keystoneauth1 import exceptions as ks_exceptions
from oslo_log import log as logging
import requests

from cyborg.clients import answers
from cyborg.clients import auth
from cyborg.common import exception

if TYPE_CHECKING:
    from openstack.compute.v2 import _proxy as sdk_compute
    from openstack.compute.v2 import server as sdk_server

LOG = logging.getLogger(__name__)

GROUP = "nova"

T = TypeVar("T")

# Shapes of answers.
_EVENTS = {"events": [{"server_uuid": str, "tag": str | None, "code": int}]}
_SERVERS = {"servers": [{"id": str}]}


def send_events(events: Sequence[dict[str, str]]) -> dict[int, int]:
    """Send events in one call; return Nova's code for each, by index.

    200: taken; 404: no such server; 422: the server has no host yet; 400: not
    an event; 403: Nova refuses this user.

    :param events: ``{"name", "server_uuid", "tag", "status"}`` each
    :raises NovaUnavailable: it is not known which of them were taken
    """
    try:
        codes = _called(lambda nova: _codes(nova, events))
    except requests.HTTPError as error:
        status = _answer(error).status_code
        if status == 400 and len(events) > 1:
            # One that Nova cannot read spoils the call for all.
            return {
                index: code
                for index, event in enumerate(events)
                for code in send_events([event]).values()
            }
        if status == 403:
            LOG.error(
                "Nova refuses events: the user of [%s] needs the right "
                "os_compute_api:os-server-external-events:create",
                GROUP,
            )
        if status in (400, 403, 404, 422):
            return dict.fromkeys(range(len(events)), status)
        raise _unavailable(_answer(error)) from error
    return {
        index: codes[event["server_uuid"], event["tag"]]
        for index, event in enumerate(events)
        if (event["server_uuid"], event["tag"]) in codes
    }


def _codes(
    nova: "sdk_compute.Proxy", events: Sequence[dict[str, str]]
) -> dict[tuple[str, str], int]:
    """Send events; return Nova's code for each, by server and tag."""
    answer = _read(
        nova.post("/os-server-external-events", json={"events": list(events)}),
        _EVENTS,
    )
    return {
        (event["server_uuid"], event["tag"]): event["code"]
        for event in answer["events"]
    }


def get_server(uuid: str) -> "sdk_server.Server":
    """Return a server; ``project_id`` is the project that owns it.

    :raises ServerNotFound: Nova has no such server
    :raises NovaUnavailable: Nova does not say
    """
    try:
        server = _called(
            lambda nova: nova.get_server(parse.quote(uuid, safe=""))
        )
    except requests.HTTPError as error:
        if _answer(error).status_code == 404:
            raise exception.ServerNotFound(uuid=uuid) from error
        raise _unavailable(_answer(error)) from error
    if not isinstance(server.project_id, str):
        # The SDK takes whatever there is for a server.
        raise exception.NovaUnavailable(
            reason=f"its answer is not the server {uuid}"
        )
    return server


def own_project() -> str | None:
    """Return the project that Nova is asked as; None where it does not tell.

    :raises NovaUnavailable: Keystone does not answer
    """
    try:
        user = auth.user(GROUP)
    except ks_exceptions.ClientException as error:
        raise exception.NovaUnavailable(reason=auth.reason(error)) from error
    return None if user is None else user.project_id


def may_see_all() -> bool:
    """Tell whether this user may list the servers of all projects.

    :raises NovaUnavailable: Nova does not say
    """
    try:
        _called(
            lambda nova: _read(
                nova.get("/servers/detail?all_tenants=True&limit=1"), _SERVERS
            )
        )
    except requests.HTTPError as error:
        if _answer(error).status_code >= 500:
            raise _unavailable(_answer(error)) from error
        return False
    return True


def find_owner(uuid: str) -> str | None:
    """Return the project that owns a server, None if Nova cannot say.

    :raises NovaUnavailable: Nova does not answer
    """
    try:
        return str(get_server(uuid)["project_id"])
    except exception.ServerNotFound:
        return None


def _called(call: Callable[["sdk_compute.Proxy"], T]) -> T:
    """Return what the SDK makes of Nova's answer.

    :raises requests.HTTPError: Nova refuses; it has the response
    :raises NovaUnavailable: Nova does not answer, or something else does
    """
    nova = cast("sdk_compute.Proxy", auth.proxy(GROUP))
    try:
        with auth.asking():
            return call(nova)
    except ks_exceptions.ClientException as error:
        raise exception.NovaUnavailable(reason=auth.reason(error)) from error


def _read(response: requests.Response, shape: answers.Shape) -> Any:
    """Return what an answer has.

    :raises requests.HTTPError: Nova refuses
    :raises ValueError: it has another shape
    """
    from openstack import exceptions as sdk_exceptions

    sdk_exceptions.raise_from_response(response)
    return answers.read(response, shape)


def _answer(error: requests.HTTPError) -> requests.Response:
    """Return the answer that the SDK raised this for."""
    return cast(requests.Response, error.response)


def _unavailable(response: requests.Response) -> exception.NovaUnavailable:
    text = answers.text(response)[:200]
    return exception.NovaUnavailable(reason=f"{response.status_code} {text}")
