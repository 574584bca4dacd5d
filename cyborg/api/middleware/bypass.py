"""Filters of oslo.middleware that most requests may pass by.

Each of them makes objects of every request and of every answer, which takes
as long as a policy decision. These factories let only those requests in that
the filter would do something about.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg
from oslo_middleware import cors
from oslo_middleware import http_proxy_to_wsgi
from oslo_middleware import sizelimit

CONF = cfg.CONF

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
Filter = Callable[[Application], Application]

# What a proxy says about the client.
_FORWARDED = frozenset(
    {
        "HTTP_FORWARDED",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PREFIX",
        "HTTP_X_FORWARDED_PROTO",
    }
)


def _only(concerns: Callable[[dict[str, Any]], bool], make: Any) -> Filter:
    def wrap(application: Application) -> Application:
        filtered = make(application)

        def choose(
            environ: dict[str, Any], start_response: Any
        ) -> Iterable[bytes]:
            chosen = filtered if concerns(environ) else application
            answer: Iterable[bytes] = chosen(environ, start_response)
            return answer

        return choose

    return wrap


def cors_factory(global_conf: dict[str, Any], **local_conf: Any) -> Filter:
    """Return the filter for requests that browsers make for other sites.

    ``[cors]`` is read as all other options are, where the paste file does not
    name a file for it.
    """
    conf = {**global_conf, **local_conf}
    if "oslo_config_file" not in conf:
        # It alone means the files that a default installation has.
        conf.pop("oslo_config_project", None)
    return _only(
        # Without, OPTIONS is no preflight, and the application's to answer.
        lambda environ: "HTTP_ORIGIN" in environ,
        lambda application: cors.CORS(application, conf),
    )


def proxy_factory(global_conf: dict[str, Any], **local_conf: Any) -> Filter:
    """Return the filter for requests that came through a proxy."""
    return _only(
        lambda environ: not _FORWARDED.isdisjoint(environ),
        http_proxy_to_wsgi.HTTPProxyToWSGI.factory(global_conf, **local_conf),
    )


def behind_proxy(application: Application) -> Application:
    """Return the application with the filter around whatever it has itself.

    A paste file that lacks it would have links begin with ``http``; of one
    that has it, the second look finds the same, but for the prefix, which is
    not to be put in front twice.
    """
    filtered = proxy_factory({})(_without_prefix(application))

    def choose(
        environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        wanted = CONF.oslo_middleware.enable_proxy_headers_parsing
        chosen = filtered if wanted else application
        return chosen(environ, start_response)

    return choose


def _without_prefix(application: Application) -> Application:
    def take(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("HTTP_X_FORWARDED_PREFIX", None)
        return application(environ, start_response)

    return take


def size_factory(global_conf: dict[str, Any], **local_conf: Any) -> Filter:
    """Return the filter for requests whose body may be too large.

    No server reads more of it than the length that is given.
    """
    return _only(
        lambda environ: (
            "HTTP_TRANSFER_ENCODING" in environ
            or not _is_small(environ.get("CONTENT_LENGTH") or "0")
        ),
        sizelimit.RequestBodySizeLimiter.factory(global_conf, **local_conf),
    )


def _is_small(length: str) -> bool:
    return (
        length.isascii()
        and length.isdigit()
        and int(length[:18]) <= CONF.oslo_middleware.max_request_body_size
    )
