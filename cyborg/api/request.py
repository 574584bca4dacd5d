"""What a handler gets: the request, with what the API knows about it."""

from collections.abc import Callable
import functools
from http import HTTPStatus
import json
from typing import Any
from typing import ClassVar
import urllib.parse

from oslo_config import cfg
import webob

from cyborg import context as cyborg_context
from cyborg.api import errors
from cyborg.api import text
from cyborg.api import versions
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.conductor import rpcapi

CONF = cfg.CONF

# Prefix of all links unless the web server mounts the API elsewhere.
DEFAULT_PREFIX = "/accelerator"

# The second is what a client may call the body of a PATCH.
_MEDIA_TYPES = ("application/json", "application/json-patch+json")


# Each costs a condition at most: no query that means something has as many.
MOST_ARGUMENTS = 100


class NoProject(exception.Forbidden):
    template = _("%(rule)s requires a token that is scoped to a project.")


def split_path(path: str) -> list[str]:
    """Return the segments of a path: [] for the root, else ``v2`` first.

    ``/accelerator`` in front, a slash at the end and a missing ``/v2`` make
    no difference.
    """
    segments = path.removesuffix("/").split("/")[1:]
    if segments[:1] == ["accelerator"]:
        segments = segments[1:]
    if segments == ["v2.json"]:
        return ["v2"]
    if segments and segments[0] != "v2":
        segments = ["v2", *segments]
    return segments


class Request(webob.BaseRequest):
    """A request, without the attributes that WebOb adds to the environment.

    :ivar segments: see :func:`split_path`
    :ivar status: what the answer's status will be
    :ivar link_header: what its ``Link`` header will be, if any
    """

    segments: list[str] = []
    context: cyborg_context.RequestContext
    version: versions.Version = versions.MINIMUM
    version_known: bool = False
    get_conductor: Callable[[], rpcapi.ConductorAPI]
    status: int = 200
    link_header: str | None = None

    # Pecan makes arguments of the query and the body; handlers get both
    # whole, so it shall not read the body at all.
    json: ClassVar[dict[str, Any]] = {}

    # What Pecan notes of it.
    pecan: dict[str, Any]

    @property
    def conductor(self) -> rpcapi.ConductorAPI:
        """What writes are sent to; made when it is first asked for.

        Reads, and the root document, need neither conductor nor bus.
        """
        return self.get_conductor()

    @property
    def params(self) -> Any:
        return self.GET

    @functools.cached_property
    def query(self) -> dict[str, list[str]]:
        """The query: each name with its values, ready to be looked for.

        :raises Invalid: it has too many arguments
        """
        if self.query_string.count("&") >= MOST_ARGUMENTS:
            raise exception.Invalid(
                _("query: %d arguments are the most.") % MOST_ARGUMENTS
            )
        found: dict[str, list[str]] = {}
        for name, value in self.GET.items():
            found.setdefault(name, []).append(text.to_find(value))
        return found

    def argument(self, name: str) -> str | None:
        """Return a value of the query, None if it is not there."""
        return self.query.get(name, [None])[0]

    def authorize(self, rule: str) -> None:
        """Pass if the caller may do what ``rule`` is about.

        :raises Forbidden: otherwise, and if the token has no project
        """
        if not self.context.project_id:
            raise NoProject(rule=rule)
        self.context.can(rule)

    @property
    def project_id(self) -> str:
        """The caller's project; :meth:`authorize` has seen that there is."""
        return str(self.context.project_id)

    def permits(self, rule: str) -> bool:
        """Tell whether the caller may do what ``rule`` is about."""
        try:
            self.authorize(rule)
        except exception.Forbidden:
            return False
        return True

    def read_json(self) -> Any:
        """Return the document in the body.

        :raises Invalid: it is no JSON
        :raises Explained: 413, 415
        """
        limit = CONF.oslo_middleware.max_request_body_size
        media_type = self.content_type.lower()
        if media_type and media_type not in _MEDIA_TYPES:
            raise errors.Explained(
                _("The body has to be application/json, not %s.")
                % self.content_type,
                errors.HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        if (self.content_length or 0) <= limit:
            try:
                content = self.body_file.read(limit + 1)
            except (OSError, ValueError) as error:
                # Its length or its chunks are not what the headers say.
                raise exception.Invalid(
                    _("The body cannot be read to its end.")
                ) from error
            if len(content) <= limit:
                return text.parse_json(content)
        raise errors.Explained(
            errors.too_large(), errors.HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )

    def respond(self, document: Any) -> webob.Response:
        """Return the answer: a JSON document, bytes of one, or nothing."""
        headers = []
        if document is None:
            body = b""
            if self.status == HTTPStatus.OK:
                self.status = HTTPStatus.NO_CONTENT
        else:
            body = (
                document
                if isinstance(document, bytes)
                else json.dumps(document).encode()
            )
            headers.append(("Content-Type", "application/json"))
        if self.status != HTTPStatus.NO_CONTENT:
            headers.append(("Content-Length", str(len(body))))
        if self.link_header is not None:
            headers.append(("Link", self.link_header))
        # WebOb finds all of this out by itself, which takes longer.
        return webob.Response(
            status=f"{self.status:d} {HTTPStatus(self.status).phrase}",
            headerlist=headers,
            app_iter=[body],
        )

    # -- links

    @functools.cached_property
    def base_url(self) -> str:
        """What links begin with, up to and without ``/v2``."""
        prefix = self.script_name.rstrip("/") or DEFAULT_PREFIX
        base = (CONF.api.public_endpoint or self.host_url).rstrip("/")
        # As the catalog may have it.
        base = base.removesuffix("/v2")
        # The host may be named like the prefix.
        path = urllib.parse.urlsplit(base).path
        return base if path.endswith(prefix) else base + prefix

    def link(self, *segments: str, rel: str = "self") -> dict[str, str]:
        """Return a link to a resource below ``/v2``."""
        return {
            "href": "/".join((self.base_url, "v2", *segments)),
            "rel": rel,
        }
