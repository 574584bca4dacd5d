"""Do the services that Cyborg works with do their part?"""

import contextlib
import json
import socket
from typing import Any

from keystoneauth1 import exceptions as ks_exceptions
import oslo_messaging as messaging
from oslo_utils import versionutils
import sqlalchemy as sa

from cyborg import conf
from cyborg.clients import auth
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor.requests import unmet
from cyborg.manage.checks import base

CONF = conf.CONF

# The release before this one speaks it.
OLDEST_AGENT = (1, 0)
CURRENT_AGENT = (1, 1)

# What fails where Cyborg's user is no administrator.
_ADMIN = "admin"
_WITHOUT_ADMIN = {
    "placement": "releases of Placement before 2023.2 refuse it",
    "nova": "Nova does not tell it whose a server is, and older releases "
    "refuse its events",
}

# How many hosts are looked up in Placement.
_LOOKUPS = 50
_CONNECT_TIMEOUT = 5


class PeerChecks(base.Checks):
    """Look at Keystone, Placement, the message bus and the agents."""

    @base.on_database
    def profiles(self, connection: sa.Connection) -> base.Result:
        """Is there a provider for what each device profile asks for?"""
        rows = connection.execute(
            sa.text("SELECT name, profile_json FROM device_profiles")
        ).all()
        try:
            found = unmet.unmet(
                placement.Client(),
                [
                    (row.name, json.loads(row.profile_json)["groups"])
                    for row in rows
                ],
            )
        except (ValueError, KeyError, TypeError):
            return base.Result(
                base.Code.WARNING, "A device profile is not readable."
            )
        except exception.CyborgException as error:
            return base.Result(
                base.Code.WARNING, f"Not checked: {error.faultstring}"
            )
        if not found:
            return base.Result(base.Code.SUCCESS)
        lacks = [f"{name} ({', '.join(what)})" for name, what in found.items()]
        return base.Result(
            base.Code.WARNING,
            f"No provider has what {len(found)} device profile(s) ask for: "
            f"{base.shown(lacks)}. Servers that use them find no host; "
            "'cyborg-manage profile check' lists them.",
        )

    def placement_api(self) -> base.Result:
        """Does Placement answer, and is it new enough?"""
        try:
            _, highest = placement.Client().version_range()
        except exception.ConfigInvalid as error:
            return base.Result(base.Code.FAILURE, error.faultstring)
        except exception.CyborgException as error:
            return base.Result(
                base.Code.FAILURE,
                f"{error.faultstring} See the options of [placement], and "
                "the endpoint of type placement in Keystone's catalog.",
            )
        if versionutils.convert_version_to_tuple(
            highest
        ) < versionutils.convert_version_to_tuple(placement.MICROVERSION):
            return base.Result(
                base.Code.FAILURE,
                f"Placement speaks microversions up to {highest}; "
                f"{placement.MICROVERSION} is needed. Upgrade Placement "
                "first.",
            )
        return base.Result(base.Code.SUCCESS, f"Microversions up to {highest}")

    def service_user(self) -> base.Result:
        """May Cyborg's user do what it is needed for?"""
        failures, warnings, users = [], [], []
        for group in auth.TIMEOUTS:
            try:
                user = auth.user(group)
            except exception.ConfigInvalid as error:
                failures.append(error.faultstring)
                continue
            except ks_exceptions.ClientException as error:
                failures.append(
                    f"Keystone gives the user of [{group}] no token: "
                    f"{auth.reason(error)}. See its options, or those of "
                    "[keystone_authtoken] where it has none."
                )
                continue
            if user is None:
                continue
            name = f"{user.name} in project {user.project}"
            users.append(name)
            if group in _WITHOUT_ADMIN and _ADMIN not in user.roles:
                warnings.append(
                    f"User {name}, which calls {group}, has not the role "
                    f"admin but {base.shown(sorted(user.roles)) or 'none'}; "
                    f"{_WITHOUT_ADMIN[group]}. Run: openstack role add "
                    f"--project {user.project} --user {user.name} admin"
                )
        details = " ".join(dict.fromkeys(failures + warnings))
        if failures:
            return base.Result(base.Code.FAILURE, details)
        if warnings:
            return base.Result(base.Code.WARNING, details)
        return base.Result(
            base.Code.SUCCESS,
            f"Users: {base.shown(dict.fromkeys(users))}"
            if users
            else "No Keystone is asked.",
        )

    def service_tokens(self) -> base.Result:
        """Can only services bind and unbind?"""
        if CONF.auth_strategy == "noauth2":
            return base.Result(
                base.Code.WARNING,
                "[DEFAULT] auth_strategy is noauth2: everybody who reaches "
                "the API is an administrator.",
            )
        options = CONF.keystone_authtoken
        if not options.service_token_roles:
            return base.Result(
                base.Code.FAILURE,
                "[keystone_authtoken] service_token_roles is empty, so no "
                "service token is ever valid and Nova cannot bind. Set it to "
                "the role of Nova's service user: service.",
            )
        if not options.service_token_roles_required:
            return base.Result(
                base.Code.FAILURE,
                "[keystone_authtoken] service_token_roles_required is false: "
                "any token passes for a service token, and users can take "
                "devices from running instances. Remove the option or set it "
                "to true, and give Nova's service user one of the roles "
                f"{base.shown(options.service_token_roles)}.",
            )
        return base.Result(
            base.Code.SUCCESS,
            f"Roles: {base.shown(options.service_token_roles)}. nova.conf "
            "needs [service_user] send_service_user_token = true.",
        )

    @base.on_database
    def agents(self, connection: sa.Connection) -> base.Result:
        """Are all agents new enough for these conductors?"""
        if not sa.inspect(connection).has_table("hosts"):
            return base.Result(
                base.Code.SUCCESS,
                "Agents are not known before the schema is upgraded; those "
                "of the release before may stay while the conductors are "
                "upgraded.",
            )
        rows = connection.execute(
            sa.text("SELECT hostname, rpc_version FROM hosts ORDER BY id")
        ).all()
        too_old, behind = [], []
        for hostname, text in rows:
            # Agents that do not tell are of the release that did not.
            version = versionutils.convert_version_to_tuple(text or "1.0")
            if version < OLDEST_AGENT:
                too_old.append(hostname)
            elif version < CURRENT_AGENT:
                behind.append(hostname)
        if too_old:
            return base.Result(
                base.Code.FAILURE,
                "Agents on these hosts are too old for this release; upgrade "
                "them with the release that is installed now first: "
                f"{base.shown(too_old)}.",
            )
        if behind:
            return base.Result(
                base.Code.WARNING,
                "Agents on these hosts are of the release before; upgrade "
                f"them before the next release: {base.shown(behind)}.",
            )
        return base.Result(base.Code.SUCCESS)

    def message_bus(self) -> base.Result:
        """Does the message bus answer, and let us in?"""
        try:
            url = messaging.TransportURL.parse(CONF)
        except (messaging.InvalidTransportURL, ValueError) as error:
            return base.Result(
                base.Code.FAILURE, f"[DEFAULT] transport_url: {error}"
            )
        if url.transport == "fake":
            return base.Result(
                base.Code.WARNING,
                "[DEFAULT] transport_url is fake: services reach each other "
                "in one process only.",
            )
        if not url.hosts:
            return base.Result(
                base.Code.FAILURE,
                "[DEFAULT] transport_url names no host; set it, for example "
                "to rabbit://<user>:<password>@<host>:5672/.",
            )
        silent = []
        for host in url.hosts:
            address = (host.hostname or "localhost", host.port or 5672)
            try:
                with contextlib.closing(
                    socket.create_connection(address, _CONNECT_TIMEOUT)
                ):
                    continue
            except OSError as error:
                silent.append(f"{address[0]}:{address[1]} ({error})")
        if not silent:
            refusal = _bus_refusal()
            if refusal is None:
                return base.Result(base.Code.SUCCESS)
            return base.Result(
                base.Code.FAILURE,
                f"The message bus answers and refuses: {refusal}. See user, "
                "password and virtual host in [DEFAULT] transport_url, and "
                "[oslo_messaging_rabbit].",
            )
        return base.Result(
            base.Code.FAILURE
            if len(silent) == len(url.hosts)
            else base.Code.WARNING,
            "Hosts of [DEFAULT] transport_url that do not answer: "
            f"{base.shown(silent)}.",
        )

    @base.on_database
    def version_pins(self, connection: sa.Connection) -> base.Result:
        """Is anything held to an RPC version without need?"""
        pins = {
            peer: level
            for peer in ("conductor", "agent")
            if (level := rpc.pinned(peer)) is not None
        }
        if not pins:
            return base.Result(
                base.Code.SUCCESS,
                "The peers say what they know: all are auto.",
            )
        held = [f"{peer} = {level}" for peer, level in pins.items()]
        unknown = [peer for peer in pins if _parts(pins[peer]) > CURRENT_AGENT]
        if unknown:
            return base.Result(
                base.Code.FAILURE,
                f"[upgrade_levels] {base.shown(held)}: this release speaks "
                f"RPC up to {base.dotted(CURRENT_AGENT)}. Remove the pin.",
            )
        idle = [
            peer
            for peer, level in pins.items()
            if (known := _lowest_version(connection, peer))
            and known > _parts(level)
        ]
        if idle:
            return base.Result(
                base.Code.WARNING,
                f"[upgrade_levels] {base.shown(held)}, and all that run know "
                f"more: {base.shown(f'{peer}s' for peer in idle)}. What came "
                "with later versions is not used; remove the pin and restart "
                "conductors, APIs and agents.",
            )
        return base.Result(
            base.Code.SUCCESS, f"[upgrade_levels] {base.shown(held)}"
        )

    @base.on_database
    def host_names(self, connection: sa.Connection) -> base.Result:
        """Do hosts have one name everywhere?"""
        addressed = "NULL"
        join = ""
        if sa.inspect(connection).has_table("hosts"):
            addressed = "MIN(h.rpc_host)"
            join = "LEFT JOIN hosts h ON h.hostname = d.hostname "
        rows = connection.execute(
            sa.text(
                f"SELECT d.hostname, MIN(p.name), {addressed} "
                "FROM devices d JOIN deployables p ON p.device_id = d.id "
                f"{join}GROUP BY d.hostname ORDER BY d.hostname"
            )
        ).all()
        details = []
        named = [
            f"{hostname} (deployables are named {name})"
            for hostname, name, rpc_host in rows
            if rpc_host is None and not name.startswith(f"{hostname}_")
        ]
        if named:
            details.append(
                "Agents of the release before are called by the name of the "
                "resource provider and do not hear it where their [DEFAULT] "
                "host is another; programming and mediated devices fail "
                "there until the agent is upgraded or [DEFAULT] host is set "
                "to the provider's name. This seems so on: "
                f"{base.shown(named)}."
            )
        absent = _without_provider([row.hostname for row in rows[:_LOOKUPS]])
        if absent:
            details.append(
                "Placement has no resource provider named like these hosts: "
                f"{base.shown(absent)}. Set [agent] resource_provider_name "
                "there to the hypervisor hostname that 'openstack hypervisor "
                "list' shows, or remove the devices of hosts that are gone."
            )
        if details:
            return base.Result(base.Code.WARNING, " ".join(details))
        return base.Result(base.Code.SUCCESS)

    @base.on_database
    def host_keys(self, connection: sa.Connection) -> base.Result:
        """Has every host shown a key, by which it is known?"""
        found = sa.inspect(connection)
        if not found.has_table("hosts") or "key_hash" not in {
            column["name"] for column in found.get_columns("hosts")
        }:
            return base.Result(
                base.Code.SUCCESS, "Agents get keys with this release."
            )
        unknown = connection.execute(
            sa.text(
                "SELECT hostname FROM hosts WHERE key_hash IS NULL "
                "ORDER BY hostname"
            )
        ).scalars()
        names = list(unknown)
        accepted = CONF.conductor.accept_unkeyed_reports
        if names and accepted:
            return base.Result(
                base.Code.WARNING,
                "Anybody with credentials for the message bus can report "
                "these hosts, whose agents have shown no key; upgrade the "
                f"agents: {base.shown(names)}.",
            )
        if names:
            return base.Result(
                base.Code.WARNING,
                "[conductor] accept_unkeyed_reports is off, and the agents "
                f"of these hosts have shown no key: {base.shown(names)}.",
            )
        if accepted:
            return base.Result(
                base.Code.SUCCESS,
                "Every host has a key: [conductor] accept_unkeyed_reports "
                "can be turned off.",
            )
        return base.Result(base.Code.SUCCESS)


def _parts(version: str) -> tuple[int, ...]:
    return versionutils.convert_version_to_tuple(version)


def _bus_refusal() -> str | None:
    """Return why nothing can be sent, or None."""
    try:
        transport = messaging.get_rpc_transport(CONF)
        try:
            # Nobody listens to this topic.
            messaging.get_rpc_client(
                transport, messaging.Target(topic="cyborg-status"), retry=0
            ).cast({}, "hello")
        finally:
            transport.cleanup()
    except Exception as error:
        # Drivers let through whatever their libraries raise.
        return auth.reason(error).rstrip(".")
    return None


def _lowest_version(
    connection: sa.Connection, peer: str
) -> tuple[int, ...] | None:
    """Return the RPC version that every known peer speaks."""
    table = f"{'host' if peer == 'agent' else peer}s"
    if not sa.inspect(connection).has_table(table):
        return None
    known: Any = sa.table(table, sa.column("rpc_version"))
    versions = connection.execute(sa.select(known.c.rpc_version)).scalars()
    return min((_parts(text or "1.0") for text in versions), default=None)


def _without_provider(hostnames: list[str]) -> list[str]:
    client = placement.Client()
    try:
        return [
            hostname
            for hostname in hostnames
            if client.find_provider(hostname) is None
        ]
    except exception.CyborgException:
        # The check of Placement says so already.
        return []
