"""Operations, and which path and method leads to which.

A controller is a class whose methods are made operations by
:func:`operation`. Pecan asks :class:`Router` for every request.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import inspect
from typing import Any
from typing import TypeVar

import pecan

from cyborg.api import request as api_request
from cyborg.api import text
from cyborg.api import validation
from cyborg.api import versions
from cyborg.common import exception
from cyborg.common.i18n import _

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)
Request = api_request.Request

NO_QUERY: validation.Schemas = {
    versions.BASE: {"type": "object", "additionalProperties": False}
}


class NoSuchPath(exception.NotFound):
    template = _("Nothing is served at %(path)s.")


class MethodNotAllowed(exception.CyborgException):
    code = exception.HTTPStatus.METHOD_NOT_ALLOWED
    template = _("%(method)s is not allowed at this path; allowed: %(allow)s.")


@dataclasses.dataclass(frozen=True)
class Operation:
    """What is known of an operation besides its code.

    :ivar paths: ``/v2/devices/{uuid}`` for example; the first is the one to
        document
    :ivar rule: policy rule; None = public
    :ivar since: microversion before which it is not served
    :ivar status: of a success; a handler may set another
    :ivar answer: schemas of the body of a success; at versions before the
        first there is none
    :ivar also: other statuses of a success, which then has no body
    :ivar stores: whether text of the request's body is stored
    :ivar refuses: statuses of errors, besides those that :meth:`errors`
        finds by itself
    """

    method: str
    paths: tuple[str, ...]
    rule: str | None
    since: versions.Version
    status: int
    query: validation.Validator | None
    body: validation.Validator | None
    answer: validation.Validator | None
    also: tuple[int, ...]
    stores: bool
    refuses: tuple[int, ...]

    def errors(self) -> frozenset[int]:
        """Return the statuses that an error can have.

        But for 500: no request is meant to cause it, except where it is one
        of :attr:`refuses`.
        """
        found = {406, *self.refuses}
        if self.rule is not None:
            # 503: Keystone is away, or a conductor.
            found |= {400, 401, 403, 503}
        if any(map(is_variable, api_request.split_path(self.paths[0]))):
            found.add(404)
        if self.body is not None:
            found |= {413, 415}
        return frozenset(found)

    def answers(
        self, version: versions.Version
    ) -> dict[int, validation.Schema | None]:
        """Return the schema of each success; of no body it is None."""
        if self.status >= 400:
            return {}
        schema = None if self.answer is None else self.answer.schema(version)
        status = 204 if self.status == 200 and not schema else self.status
        return {status: schema} | dict.fromkeys(self.also)


def operation(
    method: str,
    *paths: str,
    rule: str | None,
    since: versions.Version = versions.BASE,
    status: int = 200,
    query: validation.Schemas | None = NO_QUERY,
    body: validation.Schemas | None = None,
    answer: validation.Schemas | None = None,
    also: tuple[int, ...] = (),
    stores: bool = True,
    refuses: tuple[int, ...] = (),
) -> Callable[[F], F]:
    """Make a method of a controller an operation of the API.

    The method gets the request, what stands for the variables of the path,
    and, if there is a schema for it, the body. What it returns becomes the
    body of the answer, as JSON; None means that there is none.

    See :class:`Operation` for the parameters.

    :param query: schemas of the query, whose values are lists; None = any
        query is ignored
    """
    described = Operation(
        method,
        paths,
        rule,
        since,
        status,
        None if query is None else validation.Validator("query", query),
        None if body is None else validation.Validator("body", body),
        None if answer is None else validation.Validator("answer", answer),
        also,
        stores,
        refuses,
    )

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def handler(
            self: Any, request: Request, response: Any, *segments: str
        ) -> Any:
            request.status = described.status
            if described.rule is not None:
                request.authorize(described.rule)
            arguments: list[Any] = list(map(text.to_find, segments))
            if described.query is not None:
                described.query.check(request.query, request.version)
            if described.body is not None:
                document = request.read_json()
                if described.stores:
                    text.check(document, "body")
                described.body.check(document, request.version)
                arguments.append(document)
            return request.respond(function(self, request, *arguments))

        handler.operation = described  # type: ignore[attr-defined]
        return pecan.expose(content_type="application/json")(handler)

    return decorate


def operations(controller: Any) -> list[tuple[Operation, Handler]]:
    """Return the operations of a controller and their bound methods."""
    return [
        (method.operation, method)
        for _name, method in inspect.getmembers(controller)
        if hasattr(method, "operation")
    ]


def is_variable(segment: str) -> bool:
    """Tell whether a segment of an operation's path stands for any text."""
    return segment.startswith("{")


class Router:
    """The root of the controllers: finds the operation for a request."""

    def __init__(self, controllers: Sequence[Any]) -> None:
        # {what is fixed: [(segments, operation, bound method)]}
        self._table: dict[Any, list[tuple[list[str], Operation, Handler]]] = {}
        for controller in controllers:
            for described, handler in operations(controller):
                for path in described.paths:
                    segments = api_request.split_path(path)
                    self._table.setdefault(_fixed(segments), []).append(
                        (segments, described, handler)
                    )
        for entries in self._table.values():
            # Fixed text wins over what matches anything.
            entries.sort(key=lambda entry: sum(map(is_variable, entry[0])))

    def find(
        self, wanted: list[str], version: versions.Version
    ) -> Iterator[tuple[list[str], Operation, Handler]]:
        """Yield what is served at a path, the best match of a method first.

        :param wanted: segments of the path
        """
        for entry in self._table.get(_fixed(wanted), ()):
            segments, described, _handler = entry
            if described.since <= version and _matches(segments, wanted):
                yield entry

    @pecan.expose()
    def _route(
        self, args: list[str], request: Request
    ) -> tuple[Handler, list[str]]:
        wanted = request.segments
        method = "GET" if request.method == "HEAD" else request.method
        allowed = set()
        for segments, described, handler in self.find(wanted, request.version):
            if described.method == method:
                return handler, [
                    value
                    for segment, value in zip(segments, wanted, strict=True)
                    if is_variable(segment)
                ]
            allowed.add(described.method)
        if not allowed:
            raise NoSuchPath(path=request.path_info)
        if "GET" in allowed:
            allowed.add("HEAD")
        raise MethodNotAllowed(
            method=request.method, allow=", ".join(sorted(allowed))
        )


def _fixed(segments: list[str]) -> tuple[int | str, ...]:
    """Return what a path and the operations served there have in common.

    Their number of segments, and the collection's name.
    """
    return len(segments), *segments[1:2]


def _matches(segments: list[str], wanted: list[str]) -> bool:
    return all(
        segment == value or (is_variable(segment) and value)
        for segment, value in zip(segments, wanted, strict=True)
    )
