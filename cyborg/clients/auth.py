"""One connection of openstacksdk per service and process.

Each service has a group of keystoneauth options, and so credentials, time-out
and certificates of its own, which an SDK connection has one of. A group
without ``auth_type`` uses the credentials of ``[keystone_authtoken]``, and one
without ``region_name`` its region.

The SDK is imported when the first service is called: it costs 150 ms and
13 MiB, and processes that call none have neither.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import os
import threading
from typing import Any
from typing import TYPE_CHECKING

from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import identity as ks_identity
from keystoneauth1 import loading
from keystoneauth1 import session as ks_session
from oslo_config import cfg
import requests

from cyborg.common import exception
from cyborg.conf import peers

if TYPE_CHECKING:
    from openstack import connection as sdk_connection
    from openstack import proxy as sdk_proxy

CONF = cfg.CONF

AUTHTOKEN = "keystone_authtoken"

# Seconds until a peer that neither answers nor refuses counts as away.
TIMEOUTS = {"placement": 30, "nova": 60, "glance": 60}

# What is spoken where a call does not say. Nova: the first that knows the
# event accelerator-request-bound; the proxy's methods take no microversion.
MICROVERSIONS = {"nova": "2.82"}

# Of the SDK's proxies there is one for each major version of an API.
_MAJOR_VERSIONS = {"placement": "1", "nova": "2", "glance": "2"}

# Options of a group that the SDK takes as they are.
_OPTIONS = (
    "service_type",
    "service_name",
    "endpoint_override",
    "connect_retries",
    "connect_retry_delay",
    "status_code_retries",
    "status_code_retry_delay",
    "retriable_status_codes",
)


@dataclasses.dataclass(frozen=True)
class _Peer:
    # The session and the proxy have a weak reference to it only.
    connection: "sdk_connection.Connection"
    session: ks_session.Session
    proxy: "sdk_proxy.Proxy"


_lock = threading.Lock()
_peers: dict[str, _Peer] = {}


def reset() -> None:
    """Forget all connections. For tests, forks and changed options."""
    global _lock
    _lock = threading.Lock()
    _peers.clear()


# Two processes must not write to one connection.
os.register_at_fork(after_in_child=reset)


def proxy(group: str) -> "sdk_proxy.Proxy":
    """Return the SDK's proxy of a service, one for all threads.

    It sends one request for each call from the first on: a service is asked
    for nothing but what callers ask.

    :param group: ``placement``, ``nova`` or ``glance``
    :raises ConfigInvalid: the options do not say how to reach it
    """
    return _peer(group).proxy


def _peer(group: str) -> _Peer:
    with _lock:
        if group not in _peers:
            _peers[group] = _connect(group)
        return _peers[group]


def _connect(group: str) -> _Peer:
    from openstack import connection as sdk_connection

    session = _session(group)
    conf = CONF[group]
    service = peers.SERVICE_TYPES[group]
    options = {"interface": conf.valid_interfaces}
    options |= {name: conf[name] for name in _OPTIONS}
    if conf.connect_retries is None:
        # The peer may just have closed a connection that was kept.
        options["connect_retries"] = 1
    connection = sdk_connection.Connection(
        session=session,
        app_name="cyborg",
        # Without one, whatever region the catalog has first would be written
        # to.
        region_name=conf.region_name or CONF[AUTHTOKEN].region_name,
        **{f"{service}_{name}": value for name, value in options.items()},
    )
    # ``connection.placement`` and the like first ask the service for its
    # versions, and say of one that is away that it has none.
    description = getattr(sdk_connection.Connection, service)
    client = connection.config.get_session_client(
        service,
        constructor=description.supported_versions[_MAJOR_VERSIONS[group]],
        additional_headers=_version_header(group),
    )
    client.max_version = None
    client.default_microversion = MICROVERSIONS.get(group)
    return _Peer(connection, connection.session, client)


def _version_header(group: str) -> dict[str, str]:
    """Return the header that names the service as it calls itself.

    The SDK would name it as the catalog does, where that has another type.
    """
    if group not in MICROVERSIONS:
        return {}
    return {
        "OpenStack-API-Version": (
            f"{peers.SERVICE_TYPES[group]} {MICROVERSIONS[group]}"
        )
    }


def _session(group: str) -> ks_session.Session:
    credentials = _credentials_group(group)
    try:
        auth = loading.load_auth_from_conf_options(CONF, credentials)
    except (ks_exceptions.ClientException, cfg.Error) as error:
        raise _invalid(group, f"[{credentials}] {error}") from error
    if auth is None:
        raise _invalid(
            group,
            f"neither [{group}] nor [{AUTHTOKEN}] has auth_type; set it, and "
            "auth_url, username, password, project_name, user_domain_name "
            "and project_domain_name, in one of them",
        )
    options = _session_options(group, credentials)
    _check_files(group, options)
    return loading.load_session_from_conf_options(
        CONF, group, auth=auth, **options
    )


def _invalid(group: str, reason: str) -> exception.ConfigInvalid:
    return exception.ConfigInvalid(
        option=f"[{group}] auth_type", reason=" ".join(reason.split())
    )


def _check_files(group: str, options: dict[str, Any]) -> None:
    """Pass if the files for TLS are there.

    The library looks for them at each request.

    :param options: those that are not the group's own
    :raises ConfigInvalid: one is not
    """
    for option, key in (
        ("cafile", "cacert"),
        ("certfile", "cert"),
        ("keyfile", "key"),
    ):
        name = options.get(key) or CONF[group][option]
        if name and not os.access(name, os.R_OK):
            raise exception.ConfigInvalid(
                option=f"[{group}] {option}",
                reason=f"{name} is not there, or cannot be read",
            )


def _credentials_group(group: str) -> str:
    if CONF[group].auth_type or CONF[group].auth_section:
        return group
    return AUTHTOKEN


def _session_options(group: str, credentials: str) -> dict[str, Any]:
    """Return what the session takes from elsewhere than its group."""
    options: dict[str, Any] = {}
    if CONF[group].timeout is None:
        options["timeout"] = TIMEOUTS[group]
    if credentials != group and not (
        CONF[group].cafile or CONF[group].insecure
    ):
        # The same certificate authority signs, as a rule.
        options["cacert"] = CONF[AUTHTOKEN].cafile
        options["insecure"] = CONF[AUTHTOKEN].insecure
    if group == "glance" and not CONF.api.enable_ssl_api:
        # Releases before had Glance's files there. Where the API itself
        # serves TLS they are the API's.
        for name, old, new in (
            ("cacert", "ca_file", "cafile"),
            ("cert", "cert_file", "certfile"),
            ("key", "key_file", "keyfile"),
        ):
            if CONF.ssl[old] and not CONF.glance[new]:
                options[name] = CONF.ssl[old]
    return options


@dataclasses.dataclass(frozen=True)
class User:
    """Whom a service is called as."""

    name: str
    project: str
    project_id: str | None
    roles: frozenset[str]


def user(group: str) -> User | None:
    """Ask Keystone whom a service is called as; None if it is not asked.

    :raises ConfigInvalid: the options do not say how to reach it
    :raises keystoneauth1.exceptions.ClientException: Keystone gives no token
    """
    session = _peer(group).session
    if not isinstance(session.auth, ks_identity.BaseIdentityPlugin):
        return None
    with asking():
        access = session.auth.get_access(session)
        named = (access.username, access.project_name, access.project_id)
        roles = frozenset(access.role_names or ())
        if not all(
            isinstance(text, str) for text in (*roles, *filter(None, named))
        ):
            raise TypeError("names in the token are no texts")
    name, project, project_id = named
    return User(name or "", project or "", project_id, roles)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Ask a peer through the libraries, which may get Keystone's token first.

    They take an answer for what it should be, and fail anyhow if it is not.

    :raises keystoneauth1.exceptions.ClientException: for all of that
    :raises requests.HTTPError: the SDK's, with the response
    """
    from openstack import exceptions as sdk_exceptions

    try:
        yield
    except (ks_exceptions.ClientException, requests.HTTPError):
        raise
    except (
        sdk_exceptions.SDKException,
        requests.RequestException,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ks_exceptions.ClientException(
            f"the answer makes no sense ({type(error).__name__}: "
            f"{reason(error)[:200]})"
        ) from error


def reason(error: Exception) -> str:
    """Return one line that says why a call failed."""
    return " ".join(str(error).split()) or type(error).__name__
