"""Glance: bitstreams and firmware, read as the service user.

It is the SDK's proxy that is called, but not its methods: ``images`` takes no
property that it does not know, ``download_image`` asks for the record first,
and neither takes the id of the request that it is for.
"""

from collections.abc import Callable
import functools
import time
from typing import Any
from typing import BinaryIO
from typing import TypeVar
from urllib import parse

from keystoneauth1 import exceptions as ks_exceptions
from oslo_config import cfg
from oslo_log import log as logging
import requests

from cyborg.clients import answers
from cyborg.clients import auth
from cyborg.common import exception

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

GROUP = "glance"
CHUNK_SIZE = 1024 * 1024
# Seconds before a call is repeated; [glance] num_retries says how often.
PAUSE = 1

T = TypeVar("T")

# Shapes of answers. Of an image, what is read here and in bitstreams.
_IMAGE = {
    "id": str,
    "size": int | None,
    **dict.fromkeys(
        (
            *("name", "status", "visibility", "owner"),
            *("checksum", "os_hash_algo", "os_hash_value"),
        ),
        str | None,
    ),
}
_IMAGES = {"images": [_IMAGE], "next": str | None}
_MEMBERS = {"members": [{"member_id": str, "status": str}]}


def get_image(image_id: str, request_id: str | None = None) -> dict[str, Any]:
    """Return an image's record: id, status, size, os_hash_value, and so on.

    :raises ImageNotFound: no such image, or not for this user
    :raises ImageNotAuthorized: the service user may not read it
    :raises ImageBadRequest: Glance does not take the id
    :raises GlanceConnectionFailed: Glance does not answer
    """
    path = f"/v2/images/{parse.quote(image_id, safe='')}"
    return _repeated(lambda: _ask_json(path, image_id, request_id, _IMAGE))


def find_images(
    request_id: str | None = None, **properties: str
) -> list[dict[str, Any]]:
    """Return the images that the service user sees and that are so.

    Whatever their visibility: without being asked, Glance leaves out those
    of the community.

    :param properties: such as ``{"accel:function_id": "..."}``, ``name`` or
        ``tag``
    :raises GlanceConnectionFailed: Glance does not answer
    """
    path = "/v2/images?" + parse.urlencode({**properties, "visibility": "all"})
    what = ", ".join(f"{key}={value}" for key, value in properties.items())
    images: list[dict[str, Any]] = []
    next_path: str | None = path
    seen = set()
    while next_path is not None:
        if next_path in seen:
            raise _failed("its pages go round in a circle")
        seen.add(next_path)
        body = _repeated(
            functools.partial(_ask_json, next_path, what, request_id, _IMAGES)
        )
        images += body["images"]
        next_path = body.get("next")
    return images


def accepted_members(
    image_id: str, request_id: str | None = None
) -> frozenset[str]:
    """Return the projects that an image is shared with and that took it.

    Glance tells whoever is not its owner of the own project only.

    :raises GlanceConnectionFailed: Glance does not answer
    """
    path = f"/v2/images/{parse.quote(image_id, safe='')}/members"
    try:
        body = _repeated(
            lambda: _ask_json(path, image_id, request_id, _MEMBERS)
        )
    except (exception.ImageNotFound, exception.ImageNotAuthorized):
        # It is shared with nobody, or with others.
        return frozenset()
    return frozenset(
        member["member_id"]
        for member in body["members"]
        if member["status"] == "accepted"
    )


def own_project() -> str | None:
    """Return the project of the service user; None if Keystone has none.

    :raises GlanceConnectionFailed: Keystone does not answer
    """
    try:
        user = auth.user(GROUP)
    except exception.ConfigInvalid as error:
        raise _failed(error.faultstring) from error
    except ks_exceptions.ClientException as error:
        raise _failed(auth.reason(error)) from error
    return user.project_id if user else None


def download(
    image_id: str,
    fileobj: BinaryIO,
    chunk_size: int = CHUNK_SIZE,
    request_id: str | None = None,
) -> None:
    """Write an image's data to a file, a chunk in memory at a time.

    The call is repeated only while nothing was written. What ``fileobj``
    raises ends the download: whoever wants the data checked does it there.

    :raises ImageUnacceptable: the image has no data
    :raises GlanceConnectionFailed: Glance does not answer, or stopped halfway
    """
    path = f"/v2/images/{parse.quote(image_id, safe='')}/file"
    response = _repeated(lambda: _ask(path, image_id, request_id, stream=True))
    with response:
        if response.status_code == 204:
            raise exception.ImageUnacceptable(
                image=image_id, reason="it has no data"
            )
        chunks = response.iter_content(chunk_size)
        while True:
            try:
                chunk = next(chunks, None)
            except requests.RequestException as error:
                raise _failed(auth.reason(error)) from error
            if chunk is None:
                return
            fileobj.write(chunk)


class Client:
    """The functions of this module, for who takes them as an argument."""

    get_image = staticmethod(get_image)
    find_images = staticmethod(find_images)
    accepted_members = staticmethod(accepted_members)
    own_project = staticmethod(own_project)
    download = staticmethod(download)


def get_client() -> Client:
    """Return the functions as an object."""
    return Client()


def _repeated(call: Callable[[], T]) -> T:
    left = CONF.glance.num_retries
    while True:
        try:
            return call()
        except exception.ConfigInvalid as error:
            # Where there is no Glance, users are told so.
            raise _failed(error.faultstring) from error
        except exception.GlanceConnectionFailed as error:
            if left <= 0:
                raise
            left -= 1
            LOG.warning("%s; trying again", error.faultstring)
            time.sleep(PAUSE)


def _ask_json(
    path: str, image_id: str, request_id: str | None, shape: answers.Shape
) -> dict[str, Any]:
    response = _ask(path, image_id, request_id)
    try:
        return dict(answers.read(response, shape))
    except ValueError as error:
        raise _failed(f"its answer makes no sense, as {error}") from error


def _ask(
    path: str,
    image_id: str,
    request_id: str | None,
    stream: bool = False,
) -> requests.Response:
    proxy = auth.proxy(GROUP)
    options: dict[str, Any] = {}
    if stream:
        options = {"stream": True, "log": False}
    try:
        with auth.asking():
            # Some catalogs have the version in the endpoint, most do not.
            endpoint = proxy.get_endpoint()
            if endpoint is None:
                raise _failed("the catalog has no endpoint of it")
            response = proxy.get(
                endpoint.rstrip("/").removesuffix("/v2") + path,
                headers={
                    "Accept": "application/octet-stream" if stream else "*/*"
                },
                global_request_id=request_id,
                **options,
            )
    except ks_exceptions.ClientException as error:
        raise _failed(auth.reason(error)) from error
    status = response.status_code
    if status == 200 or (stream and status == 204):
        return response
    text = answers.text(response)[:200]
    if stream:
        response.close()
    if status == 404:
        raise exception.ImageNotFound(image=image_id)
    if status in (401, 403):
        raise exception.ImageNotAuthorized(image=image_id)
    if status == 400:
        raise exception.ImageBadRequest(image=image_id)
    raise _failed(f"{status} {text}")


def _failed(reason: str) -> exception.GlanceConnectionFailed:
    return exception.GlanceConnectionFailed(
        server=CONF.glance.endpoint_override or "its endpoint", reason=reason
    )
