"""The console script ``cyborg-status``: is this cloud ready for an upgrade?

``cyborg-status upgrade check`` changes nothing and needs no service of this
release to run. It reads the tables of the release before as well as those of
this one. ``cyborg-status topology`` shows what there is.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import datetime
import functools
from importlib import metadata
import logging as std_logging
import pathlib
import socket
import sys
from typing import Any

from keystoneauth1 import exceptions as ks_exceptions
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log as logging
import oslo_messaging as messaging
from oslo_upgradecheck import common_checks
from oslo_upgradecheck import upgradecheck
from oslo_utils import timeutils
from oslo_utils import versionutils
import sqlalchemy as sa

from cyborg import conf
from cyborg import context as cyborg_context
from cyborg.clients import auth
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.common import service
from cyborg.common import states
from cyborg.db import engine as db_engine
from cyborg.db import migration
from cyborg.db.migrations import baseline
from cyborg.db.migrations import conflicts
from cyborg.manage import topology

CONF = conf.CONF

Result = upgradecheck.Result
Code = upgradecheck.Code

# Rows with locks are stepped over with SKIP LOCKED, which these begin with.
OLDEST_ENGINES = {
    "MariaDB": (10, 6),
    "MySQL": (8, 0, 1),
    "PostgreSQL": (12,),
}

# The release before this one speaks it.
OLDEST_AGENT = (1, 0)
CURRENT_AGENT = (1, 1)

# What fails where Cyborg's user is no administrator.
_ADMIN = "admin"
_WITHOUT_ADMIN = {
    "placement": "releases of Placement before 2023.2 refuse it",
    "nova": "Nova does not tell it whose a server is, and older releases "
    "refuse its events",
    "glance": "it can load none but public images",
}

# Whose options Cyborg's configuration files hold.
_NAMESPACES = ("cyborg", "keystonemiddleware.", "oslo.", "osprofiler")

# How many names a line shows, and how many hosts are looked up in Placement.
_SHOWN = 10
_LOOKUPS = 50
_CONNECT_TIMEOUT = 5


def _shown(names: Iterable[Any]) -> str:
    listed = [str(name) for name in names]
    text = ", ".join(listed[:_SHOWN])
    if len(listed) > _SHOWN:
        text += f" and {len(listed) - _SHOWN} more"
    return text


def _on_database(
    check: Callable[["Checks", sa.Connection], Result],
) -> Callable[["Checks"], Result]:
    """Give a check a connection, if the tables can be read at all."""

    @functools.wraps(check)
    def wrapper(self: "Checks") -> Result:
        if self.database_error:
            return Result(Code.WARNING, "Not checked: see the database.")
        with db_engine.get_engine().connect() as connection:
            if not sa.inspect(connection).has_table("devices"):
                return Result(Code.SUCCESS, "The database has no tables yet.")
            return check(self, connection)

    return wrapper


class Checks(upgradecheck.UpgradeCommands):
    """Each check says what is wrong and what to do about it."""

    @functools.cached_property
    def database_error(self) -> str | None:
        """Why the database does not answer, or None."""
        # Somebody waits for the answer, so it is not tried for minutes.
        try:
            db_engine.configure(max_retries=1, retry_interval=1)
            with db_engine.get_engine().connect():
                return None
        except exception.ConfigInvalid as error:
            return error.faultstring
        except (db_exception.DBError, sa.exc.SQLAlchemyError) as error:
            return str(error).splitlines()[0]

    def policy_file(self) -> Result:
        """Is the policy file YAML?"""
        return common_checks.check_policy_json(self, CONF)

    def database(self) -> Result:
        """Does the database answer, and is its engine new enough?"""
        if self.database_error:
            return Result(
                Code.FAILURE,
                "The database does not answer; see [database] connection: "
                f"{self.database_error}",
            )
        with db_engine.get_engine().connect() as connection:
            dialect = connection.dialect
            if dialect.name == "sqlite":
                return Result(
                    Code.WARNING,
                    "SQLite serves one node, for trying Cyborg out. Use "
                    "MariaDB, MySQL or PostgreSQL in production.",
                )
            name = {"postgresql": "PostgreSQL"}.get(
                dialect.name,
                "MariaDB" if getattr(dialect, "is_mariadb", 0) else "MySQL",
            )
            found = _engine_version(connection)
            oldest = OLDEST_ENGINES[name]
            if found < oldest:
                return Result(
                    Code.FAILURE,
                    f"{name} {_dotted(found)} is too old; upgrade it to "
                    f"{_dotted(oldest)} or later.",
                )
            if name != "PostgreSQL":
                foreign = _tables_of_other_engines(connection)
                if foreign:
                    return Result(
                        Code.FAILURE,
                        f"These tables are not InnoDB: {_shown(foreign)}. "
                        "Without transactions devices are given away twice; "
                        "run: ALTER TABLE <table> ENGINE = InnoDB.",
                    )
            return Result(Code.SUCCESS, f"{name} {_dotted(found)}")

    @_on_database
    def schema_revision(self, connection: sa.Connection) -> Result:
        """Can this release upgrade the schema?"""
        refusal = migration.problem(connection)
        if refusal:
            return Result(Code.FAILURE, refusal)
        found, head = migration.stamps(connection)[0], migration.head()
        if found == head:
            return Result(Code.SUCCESS, f"The schema is at {head}.")
        return Result(
            Code.SUCCESS,
            f"The schema is at {found}; 'cyborg-dbsync upgrade' brings it to "
            f"{head}.",
        )

    @_on_database
    def duplicates(self, connection: sa.Connection) -> Result:
        """Do rows stand in the way of unique indexes?"""
        found = conflicts.find(connection)
        if not found:
            return Result(Code.SUCCESS)
        return Result(
            Code.FAILURE,
            "'cyborg-dbsync upgrade' will refuse these rows. "
            + conflicts.describe(found),
        )

    @_on_database
    def arqs_without_project(self, connection: sa.Connection) -> Result:
        """Do all ARQs have an owner?"""
        rows = connection.execute(
            sa.text(
                "SELECT uuid, instance_uuid FROM "
                "extended_accelerator_requests WHERE project_id IS NULL "
                "ORDER BY id"
            )
        ).all()
        details = []
        if any(row.instance_uuid for row in rows):
            bound = [row.uuid for row in rows if row.instance_uuid]
            details.append(
                f"{len(bound)} accelerator request(s) have no project, so "
                "that their owners cannot see them. After the upgrade run "
                "'cyborg-dbsync online_data_migrations', which asks Nova."
            )
        unbound = [row.uuid for row in rows if not row.instance_uuid]
        if unbound:
            details.append(
                f"{len(unbound)} accelerator request(s) have neither a "
                "project nor an instance; delete them as an administrator: "
                f"{_shown(unbound)}."
            )
        if details:
            return Result(Code.WARNING, " ".join(details))
        return Result(Code.SUCCESS)

    @_on_database
    def stuck_arqs(self, connection: sa.Connection) -> Result:
        """Does every bind come to an end?"""
        arqs = sa.table(
            "extended_accelerator_requests",
            *(
                sa.column(name)
                for name in ("id", "uuid", "state", "instance_uuid")
            ),
            sa.column("created_at", sa.DateTime),
            sa.column("updated_at", sa.DateTime),
        )
        limit = timeutils.utcnow() - datetime.timedelta(
            seconds=CONF.bind_timeout
            + CONF.program_timeout
            + CONF.conductor.job_lease
        )
        touched = sa.func.coalesce(arqs.c.updated_at, arqs.c.created_at)
        query = sa.select(arqs.c.uuid, arqs.c.instance_uuid).where(
            # The labels of the enumeration depend on the release.
            sa.cast(arqs.c.state, sa.String(32))
            == states.ARQState.BIND_STARTED.value,
            touched < limit,
        )
        if sa.inspect(connection).has_table("jobs"):
            jobs = sa.table("jobs", sa.column("arq_id"))
            worked_on = jobs.c.arq_id == arqs.c.id
            query = query.where(~sa.exists().where(worked_on))
        rows = connection.execute(query.order_by(arqs.c.id)).all()
        if not rows:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            f"{len(rows)} accelerator request(s) have been in BindStarted "
            "for too long, and nobody works on them: "
            + _shown(
                f"{row.uuid} (instance {row.instance_uuid})" for row in rows
            )
            + ". Their instances have no device. Delete or shelve the "
            "instances, or delete the requests as an administrator, which "
            "frees their devices.",
        )

    @_on_database
    def leftovers(self, connection: sa.Connection) -> Result:
        """Is there anything that nobody looks after?"""
        details = [
            f"{len(found)} {what}: {_shown(found)}. {advice}"
            for what, advice, query in leftover_rows(connection)
            if (found := connection.execute(query).scalars().all())
        ]
        if details:
            return Result(Code.WARNING, " ".join(details))
        return Result(Code.SUCCESS)

    def placement_api(self) -> Result:
        """Does Placement answer, and is it new enough?"""
        try:
            _, highest = placement.Client().version_range()
        except exception.ConfigInvalid as error:
            return Result(Code.FAILURE, error.faultstring)
        except exception.CyborgException as error:
            return Result(
                Code.FAILURE,
                f"{error.faultstring} See the options of [placement], and "
                "the endpoint of type placement in Keystone's catalog.",
            )
        if versionutils.convert_version_to_tuple(
            highest
        ) < versionutils.convert_version_to_tuple(placement.MICROVERSION):
            return Result(
                Code.FAILURE,
                f"Placement speaks microversions up to {highest}; "
                f"{placement.MICROVERSION} is needed. Upgrade Placement "
                "first.",
            )
        return Result(Code.SUCCESS, f"Microversions up to {highest}")

    def service_user(self) -> Result:
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
            if _ADMIN not in user.roles:
                warnings.append(
                    f"User {name}, which calls {group}, has not the role "
                    f"admin but {_shown(sorted(user.roles)) or 'none'}; "
                    f"{_WITHOUT_ADMIN[group]}. Run: openstack role add "
                    f"--project {user.project} --user {user.name} admin"
                )
        details = " ".join(dict.fromkeys(failures + warnings))
        if failures:
            return Result(Code.FAILURE, details)
        if warnings:
            return Result(Code.WARNING, details)
        return Result(
            Code.SUCCESS,
            f"Users: {_shown(dict.fromkeys(users))}"
            if users
            else "No Keystone is asked.",
        )

    def service_tokens(self) -> Result:
        """Can only services bind and unbind?"""
        if CONF.auth_strategy == "noauth2":
            return Result(
                Code.WARNING,
                "[DEFAULT] auth_strategy is noauth2: everybody who reaches "
                "the API is an administrator.",
            )
        options = CONF.keystone_authtoken
        if not options.service_token_roles:
            return Result(
                Code.FAILURE,
                "[keystone_authtoken] service_token_roles is empty, so no "
                "service token is ever valid and Nova cannot bind. Set it to "
                "the role of Nova's service user: service.",
            )
        if not options.service_token_roles_required:
            return Result(
                Code.FAILURE,
                "[keystone_authtoken] service_token_roles_required is false: "
                "any token passes for a service token, and users can take "
                "devices from running instances. Remove the option or set it "
                "to true, and give Nova's service user one of the roles "
                f"{_shown(options.service_token_roles)}.",
            )
        return Result(
            Code.SUCCESS,
            f"Roles: {_shown(options.service_token_roles)}. nova.conf needs "
            "[service_user] send_service_user_token = true.",
        )

    @_on_database
    def agents(self, connection: sa.Connection) -> Result:
        """Are all agents new enough for these conductors?"""
        if not sa.inspect(connection).has_table("hosts"):
            return Result(
                Code.SUCCESS,
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
            return Result(
                Code.FAILURE,
                "Agents on these hosts are too old for this release; upgrade "
                "them with the release that is installed now first: "
                f"{_shown(too_old)}.",
            )
        if behind:
            return Result(
                Code.WARNING,
                "Agents on these hosts are of the release before; upgrade "
                f"them before the next release: {_shown(behind)}.",
            )
        return Result(Code.SUCCESS)

    def message_bus(self) -> Result:
        """Does the message bus answer, and let us in?"""
        try:
            url = messaging.TransportURL.parse(CONF)
        except (messaging.InvalidTransportURL, ValueError) as error:
            return Result(Code.FAILURE, f"[DEFAULT] transport_url: {error}")
        if url.transport == "fake":
            return Result(
                Code.WARNING,
                "[DEFAULT] transport_url is fake: services reach each other "
                "in one process only.",
            )
        if not url.hosts:
            return Result(
                Code.FAILURE,
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
                return Result(Code.SUCCESS)
            return Result(
                Code.FAILURE,
                f"The message bus answers and refuses: {refusal}. See user, "
                "password and virtual host in [DEFAULT] transport_url, and "
                "[oslo_messaging_rabbit].",
            )
        return Result(
            Code.FAILURE if len(silent) == len(url.hosts) else Code.WARNING,
            "Hosts of [DEFAULT] transport_url that do not answer: "
            f"{_shown(silent)}.",
        )

    @_on_database
    def version_pins(self, connection: sa.Connection) -> Result:
        """Is anything held to an RPC version without need?"""
        pins = {
            peer: level
            for peer in ("conductor", "agent")
            if (level := rpc.pinned(peer)) is not None
        }
        if not pins:
            return Result(
                Code.SUCCESS, "The peers say what they know: all are auto."
            )
        held = [f"{peer} = {level}" for peer, level in pins.items()]
        unknown = [peer for peer in pins if _parts(pins[peer]) > CURRENT_AGENT]
        if unknown:
            return Result(
                Code.FAILURE,
                f"[upgrade_levels] {_shown(held)}: this release speaks RPC "
                f"up to {_dotted(CURRENT_AGENT)}. Remove the pin.",
            )
        idle = [
            peer
            for peer, level in pins.items()
            if (known := _lowest_version(connection, peer))
            and known > _parts(level)
        ]
        if idle:
            return Result(
                Code.WARNING,
                f"[upgrade_levels] {_shown(held)}, and all that run know "
                f"more: {_shown(f'{peer}s' for peer in idle)}. What came "
                "with later versions is not used; remove the pin and restart "
                "conductors, APIs and agents.",
            )
        return Result(Code.SUCCESS, f"[upgrade_levels] {_shown(held)}")

    def options(self) -> Result:
        """Are options in use that have other names now, or go away?"""
        try:
            found = list(_old_options())
        except (cfg.Error, OSError) as error:
            return Result(Code.WARNING, f"Not checked: {error}")
        if not found:
            return Result(Code.SUCCESS)
        return Result(Code.WARNING, "; ".join(found))

    @_on_database
    def host_names(self, connection: sa.Connection) -> Result:
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
                f"to the provider's name. This seems so on: {_shown(named)}."
            )
        absent = _without_provider([row.hostname for row in rows[:_LOOKUPS]])
        if absent:
            details.append(
                "Placement has no resource provider named like these hosts: "
                f"{_shown(absent)}. Set [agent] resource_provider_name there "
                "to the hypervisor hostname that 'openstack hypervisor list' "
                "shows, or remove the devices of hosts that are gone."
            )
        if details:
            return Result(Code.WARNING, " ".join(details))
        return Result(Code.SUCCESS)

    _upgrade_checks = (
        ("Policy File JSON to YAML Migration", policy_file),
        ("Database", database),
        ("Database Schema Revision", schema_revision),
        ("Duplicate Rows", duplicates),
        ("Accelerator Requests Without Project", arqs_without_project),
        ("Accelerator Requests Stuck In BindStarted", stuck_arqs),
        ("Left-over Records", leftovers),
        ("Placement API", placement_api),
        ("Service User", service_user),
        ("Service Tokens", service_tokens),
        ("Agents", agents),
        ("Messaging", message_bus),
        ("RPC Version Pins", version_pins),
        ("Host Names", host_names),
        ("Deprecated Options", options),
    )


def leftover_rows(
    connection: sa.Connection,
) -> Iterator[tuple[str, str, sa.Select[Any]]]:
    """Yield what may be left over, what to do, and a query for the names.

    Tables are those of the release before.
    """

    def table(name: str, *columns: str) -> Any:
        return sa.table(name, *(sa.column(column) for column in columns))

    arqs = table(
        "extended_accelerator_requests",
        "id",
        "uuid",
        "state",
        "attach_handle_id",
    )
    handles = table("attach_handles", "id", "uuid", "in_use")
    devices = table("devices", "id", "uuid", "hostname")
    paths = table("controlpath_ids", "id", "device_id", "cpid_info")
    # The labels of the enumeration depend on the release.
    state = sa.cast(arqs.c.state, sa.String(32))
    worked_on: Any = sa.false()
    if sa.inspect(connection).has_table("jobs"):
        jobs = table("jobs", "attach_handle_id")
        worked_on = sa.exists().where(jobs.c.attach_handle_id == handles.c.id)
    yield (
        "accelerator request(s) are half deleted",
        "'cyborg-manage arq release' ends that.",
        sa.select(arqs.c.uuid)
        .where(
            state.in_(
                [states.ARQState.DELETING, states.ARQState.UNBIND_FAILED]
            )
        )
        .order_by(arqs.c.id),
    )
    yield (
        "accelerator request(s) are Bound to nothing",
        "Their instances have no device: shelve and unshelve them, or delete "
        "them.",
        sa.select(arqs.c.uuid)
        .where(
            state == states.ARQState.BOUND.value,
            arqs.c.attach_handle_id.is_(None),
        )
        .order_by(arqs.c.id),
    )
    yield (
        "attach handle(s) are in use by nobody",
        "The conductors of this release free them by themselves.",
        sa.select(handles.c.uuid)
        .where(
            handles.c.in_use == sa.true(),
            ~sa.exists().where(arqs.c.attach_handle_id == handles.c.id),
            ~worked_on,
        )
        .order_by(handles.c.id),
    )
    yield (
        "device(s) have no control path",
        "They are half made; the next report of an agent of this release "
        "removes them.",
        sa.select(devices.c.uuid)
        .where(~sa.exists().where(paths.c.device_id == devices.c.id))
        .order_by(devices.c.id),
    )
    others, others_paths = devices.alias(), paths.alias()
    yield (
        "device(s) are stored twice",
        "The one in use stays and the next report of an agent of this "
        "release removes the other; if both are in use, two instances may "
        "have one card: see 'cyborg-status topology'.",
        sa.select(devices.c.uuid)
        .join(paths, paths.c.device_id == devices.c.id)
        .join(others_paths, others_paths.c.cpid_info == paths.c.cpid_info)
        .join(others, others.c.id == others_paths.c.device_id)
        .where(
            others.c.hostname == devices.c.hostname,
            others.c.id != devices.c.id,
        )
        .group_by(devices.c.id, devices.c.uuid)
        .order_by(devices.c.id),
    )


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


def _config_files() -> list[str]:
    """Return the files that were read, in their order."""
    files = [str(name) for name in CONF.config_file or ()]
    for directory in CONF.config_dir or ():
        files += sorted(map(str, pathlib.Path(directory).glob("*.conf")))
    return files


def _old_options() -> Iterator[str]:
    """Yield what to change in the configuration files."""
    # (group, name): what to do about it
    advice: dict[tuple[str, str], str] = {}
    current: set[tuple[str, str]] = set()
    for entry in metadata.entry_points(group="oslo.config.opts"):
        if not entry.name.startswith(_NAMESPACES):
            continue
        for listed, options in entry.load()():
            group = str(listed or "DEFAULT")
            for option in options:
                current.add((group, option.dest))
                new = f"[{group}] {option.dest}"
                if option.deprecated_for_removal:
                    advice[group, option.dest] = _going(option)
                for old in option.deprecated_opts:
                    name = (old.name or option.dest).replace("-", "_")
                    advice[old.group or group, name] = (
                        _going(option)
                        if option.deprecated_for_removal
                        else f"is {new} now"
                    )
    for path in _config_files():
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group, values in sections.items():
            for name in values:
                key = (group, name.replace("-", "_"))
                if key in advice and (
                    key not in current or "goes" in advice[key]
                ):
                    yield f"[{group}] {name} in {path} {advice[key]}"


def _going(option: Any) -> str:
    reason = " ".join((option.deprecated_reason or "").split())
    return f"goes away. {reason}".rstrip(". ")


def _engine_version(connection: sa.Connection) -> tuple[int, ...]:
    info: Any = connection.dialect.server_version_info
    return tuple(part for part in info[:3] if isinstance(part, int))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _tables_of_other_engines(connection: sa.Connection) -> list[str]:
    rows = connection.execute(
        sa.text(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND engine <> 'InnoDB'"
        )
    ).all()
    return sorted({name for (name,) in rows} & set(baseline.metadata().tables))


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


def _topology() -> int:
    """Show what hosts have and who holds it."""
    options = CONF.command
    try:
        return topology.show(
            cyborg_context.get_admin_context(),
            options.hostname,
            options.json,
            options.html,
        )
    except OSError as error:
        reason: str | None = str(error)
    except Exception as error:
        reason = service.complaint(error)
        if reason is None:
            raise
    print(reason, file=sys.stderr)
    return Code.FAILURE


def _add_commands(subparsers: Any) -> None:
    upgrade = subparsers.add_parser("upgrade")
    upgrade.add_argument("check")
    upgrade.set_defaults(action_fn=Checks().check)
    shown = subparsers.add_parser("topology", help=_topology.__doc__)
    shown.set_defaults(action_fn=_topology)
    shown.add_argument(
        "--host",
        # oslo.config knows an option "host" itself.
        dest="hostname",
        help="only this host",
    )
    shown.add_argument(
        "--html", metavar="<file>", help="write a page that can be searched"
    )
    for command in (upgrade, shown):
        command.add_argument("--json", action="store_true", help="print JSON")


COMMAND = cfg.SubCommandOpt("command", handler=_add_commands)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    The checks end with 0 all well, 1 warnings, 2 failures, 255 a crash.
    """
    CONF.register_cli_opt(COMMAND)
    logging.register_options(CONF)
    # Standard output is for answers.
    CONF.set_default("use_stderr", True)
    std_logging.getLogger("alembic").setLevel(std_logging.WARNING)
    try:
        service.prepare(argv)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return Code.FAILURE
        raise
    # As its own main() does, which knows no other command.
    upgradecheck.CONF = CONF
    return int(upgradecheck.run(CONF))


if __name__ == "__main__":
    sys.exit(main())
