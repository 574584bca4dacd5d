"""Authentication: Keystone's middleware, or none for trying Cyborg out."""

from collections.abc import Callable
from collections.abc import Iterable
import functools
import ipaddress
import os
from typing import Any
import urllib.parse

from keystoneauth1 import exceptions as ks_exceptions
from keystonemiddleware import auth_token
from oslo_config import cfg

from cyborg.api import errors
from cyborg.common import exception
from cyborg.common.i18n import _

CONF = cfg.CONF

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

# The version documents: clients ask for them before they have a token.
PUBLIC_ROUTES = ("", "/v2", "/v2.json", "/accelerator", "/accelerator/v2")

NOAUTH_USER = "00000000000000000000000000000001"
NOAUTH_PROJECT = "00000000000000000000000000000002"
# What Keystone makes of the role admin.
NOAUTH_ROLES = "admin,manager,member,reader"


@functools.lru_cache(maxsize=64)
def is_loopback(address: str) -> bool:
    """Tell whether only this machine can be at, or reach, an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def check_strategy() -> None:
    """Pass if the configuration does not let strangers in.

    :raises ConfigInvalid: ``noauth2`` on an address that others reach
    """
    if CONF.auth_strategy == "noauth2" and not is_loopback(CONF.api.host_ip):
        raise exception.ConfigInvalid(
            option="auth_strategy",
            reason=_(
                "noauth2 is for loopback addresses only, and [api] host_ip "
                "is %s."
            )
            % CONF.api.host_ip,
        )


def _drop_identity(environ: dict[str, Any]) -> dict[str, Any]:
    """Remove what only authentication may say; returns it.

    What else comes as X-..., a proxy's word for one, has been read by the
    filters in front.
    """
    names = [name for name in environ if name.startswith("HTTP_X_")]
    return {name: environ.pop(name) for name in names}


def _host(netloc: str) -> str:
    """Return the name in ``name:port``, ``""`` if there is none."""
    try:
        return urllib.parse.urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _refuse_page(environ: dict[str, Any]) -> tuple[int, str] | None:
    """Return status and text if a web page may have sent a request.

    A browser on this host sends what any page tells it to. It says where the
    page is from, keeps to names, which the page's owner may have lead here,
    and asks first before it sends JSON.
    """
    host = environ.get("HTTP_HOST")
    if host is not None and not is_loopback(_host(host)):
        return 403, _("auth_strategy is noauth2: %s is no loopback name.") % (
            host
        )
    origin = environ.get("HTTP_ORIGIN")
    if (
        origin is not None and urllib.parse.urlsplit(origin).netloc != host
    ) or environ.get("HTTP_SEC_FETCH_SITE", "none") not in (
        "none",
        "same-origin",
    ):
        return 403, _("auth_strategy is noauth2: no web page may ask.")
    has_body = (
        "HTTP_TRANSFER_ENCODING" in environ
        or (environ.get("CONTENT_LENGTH") or "0") != "0"
    )
    if has_body and not environ.get("CONTENT_TYPE"):
        return 415, _("The body needs a Content-Type: application/json.")
    return None


class NoAuth:
    """Takes every request as an administrator's with a service token."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        said = _drop_identity(environ)
        # A proxy would lend its own address to strangers.
        proxied = "HTTP_FORWARDED" in environ or any(
            name.startswith("HTTP_X_FORWARDED_") for name in said
        )
        if proxied or not is_loopback(environ.get("REMOTE_ADDR", "")):
            return errors.respond(
                environ,
                start_response,
                403,
                _("auth_strategy is noauth2, which is for this host only."),
            )
        refusal = _refuse_page(environ)
        if refusal is not None:
            return errors.respond(environ, start_response, *refusal)
        environ |= {
            "HTTP_X_ROLES": said.get("HTTP_X_ROLES", NOAUTH_ROLES),
            "HTTP_X_PROJECT_ID": said.get("HTTP_X_PROJECT_ID", NOAUTH_PROJECT),
            "HTTP_X_USER_ID": said.get("HTTP_X_USER_ID", NOAUTH_USER),
            "HTTP_X_IDENTITY_STATUS": "Confirmed",
            "HTTP_X_SERVICE_IDENTITY_STATUS": "Confirmed",
            "HTTP_X_SERVICE_ROLES": ",".join(
                CONF.keystone_authtoken.service_token_roles
            ),
        }
        return self._application(environ, start_response)


def _ask_keystone(
    application: Application, conf: dict[str, Any]
) -> Application:
    """Return Keystone's middleware.

    Without credentials of its own it would answer every request 500.

    :param conf: options of the paste file, which come first
    :raises ConfigInvalid: it has none, or not enough
    """
    options = CONF.keystone_authtoken
    if not any(
        conf.get(name) or options.get(name)
        for name in ("auth_type", "auth_section")
    ):
        raise exception.ConfigInvalid(
            option="[keystone_authtoken] auth_type",
            reason=_(
                "It is not set. Set it, and auth_url, username, password, "
                "project_name, user_domain_name and project_domain_name."
            ),
        )
    for name in ("cafile", "certfile", "keyfile"):
        path = conf.get(name) or options[name]
        if path and not os.access(path, os.R_OK):
            raise exception.ConfigInvalid(
                option=f"[keystone_authtoken] {name}",
                reason=_("%s is not there, or cannot be read.") % path,
            )
    try:
        protocol: Application = auth_token.AuthProtocol(application, conf)
    except (ks_exceptions.ClientException, cfg.Error) as error:
        raise exception.ConfigInvalid(
            option="[keystone_authtoken]",
            reason=" ".join(str(error).split()),
        ) from error
    return protocol


class AuthTokenMiddleware:
    """Asks Keystone about every token, except for the version documents.

    :param public_routes: more paths that need no token
    """

    def __init__(
        self,
        application: Application,
        conf: dict[str, Any],
        public_routes: Iterable[str] = (),
    ) -> None:
        self._public = application
        self._routes = {
            *PUBLIC_ROUTES,
            *(route.rstrip("/") for route in public_routes),
        }
        self._protected: Application
        if CONF.auth_strategy == "noauth2":
            self._protected = NoAuth(application)
        else:
            self._protected = _ask_keystone(application, conf)

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.removesuffix("/") in self._routes:
            _drop_identity(environ)
            return self._public(environ, start_response)
        try:
            return self._protected(environ, start_response)
        except OSError as error:
            # The application answers its own. A file with certificates that
            # is none, for one.
            raise exception.TokensUnchecked(reason=str(error)) from error

    @classmethod
    def factory(
        cls, global_conf: dict[str, Any], **local_conf: Any
    ) -> Callable[[Application], "AuthTokenMiddleware"]:
        """Return what puts the middleware in front of an application.

        Paste files name this function; ``acl_public_routes`` lists paths that
        need no token.
        """
        routes = local_conf.pop("acl_public_routes", "")
        conf = {**global_conf, **local_conf}

        def wrap(application: Application) -> AuthTokenMiddleware:
            return cls(
                application,
                conf,
                [
                    route.strip()
                    for route in routes.split(",")
                    if route.strip()
                ],
            )

        return wrap
