"""One authenticated HTTP connection pool per service and process.

Each service has a group of keystoneauth options. A group without
``auth_type`` uses the credentials of ``[keystone_authtoken]``, and one without
``region_name`` its region.
"""

import dataclasses
import os
import threading
from typing import Any

from keystoneauth1 import adapter as ks_adapter
from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import identity as ks_identity
from keystoneauth1 import loading
from oslo_config import cfg

from cyborg.common import exception

CONF = cfg.CONF

AUTHTOKEN = "keystone_authtoken"

# Seconds until a peer that neither answers nor refuses counts as away.
TIMEOUTS = {"placement": 30, "nova": 60, "glance": 60}

_lock = threading.Lock()
_adapters: dict[str, ks_adapter.Adapter] = {}


def reset() -> None:
    """Forget all connections. For tests, forks and changed options."""
    global _lock
    _lock = threading.Lock()
    _adapters.clear()


# Two processes must not write to one connection.
os.register_at_fork(after_in_child=reset)


def adapter(group: str) -> ks_adapter.Adapter:
    """Return the process's connection to a service.

    :param group: ``placement``, ``nova`` or ``glance``
    :raises ConfigInvalid: the options do not say how to reach it
    """
    with _lock:
        if group not in _adapters:
            _adapters[group] = _load(group)
        return _adapters[group]


def _load(group: str) -> ks_adapter.Adapter:
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
    session = loading.load_session_from_conf_options(
        CONF, group, auth=auth, **_session_options(group, credentials)
    )
    conf = CONF[group]
    # Without one, whatever region the catalog has first would be written to.
    region_name = conf.region_name or CONF[AUTHTOKEN].region_name
    return ks_adapter.Adapter(
        session,
        auth=auth,
        service_type=conf.service_type,
        service_name=conf.service_name,
        interface=conf.valid_interfaces,
        region_name=region_name,
        endpoint_override=conf.endpoint_override,
        # Once more by default: the peer may just have closed a connection
        # that was kept.
        connect_retries=1
        if conf.connect_retries is None
        else conf.connect_retries,
        connect_retry_delay=conf.connect_retry_delay,
        status_code_retries=conf.status_code_retries,
        status_code_retry_delay=conf.status_code_retry_delay,
        retriable_status_codes=conf.retriable_status_codes,
    )


def _invalid(group: str, reason: str) -> exception.ConfigInvalid:
    return exception.ConfigInvalid(
        option=f"[{group}] auth_type", reason=" ".join(reason.split())
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
    connection = adapter(group)
    if not isinstance(connection.auth, ks_identity.BaseIdentityPlugin):
        return None
    access = connection.auth.get_access(connection.session)
    return User(
        name=access.username or "",
        project=access.project_name or "",
        project_id=access.project_id,
        roles=frozenset(access.role_names or ()),
    )


def headers(request_id: str | None) -> dict[str, str]:
    """Return headers that let a peer log whose request a call belongs to."""
    return {"X-OpenStack-Request-ID": request_id} if request_id else {}


def reason(error: Exception) -> str:
    """Return one line that says why a call failed."""
    return " ".join(str(error).split()) or type(error).__name__
