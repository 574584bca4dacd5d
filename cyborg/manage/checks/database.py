"""Can the database be upgraded, and is what it holds in order?"""

from collections.abc import Iterator
import datetime
from typing import Any

import sqlalchemy as sa

from cyborg import conf
from cyborg.common import clock
from cyborg.common import constants
from cyborg.common import states
from cyborg.db import engine as db_engine
from cyborg.db import migration
from cyborg.db.migrations import baseline
from cyborg.db.migrations import conflicts
from cyborg.manage.checks import base

CONF = conf.CONF

# Rows with locks are stepped over with SKIP LOCKED, which these begin with.
OLDEST_ENGINES = {
    "MariaDB": (10, 6),
    "MySQL": (8, 0, 1),
    "PostgreSQL": (12,),
}


class DatabaseChecks(base.Checks):
    """Look at the engine, the schema and the rows.

    Tables are those of the release before, or of this one.
    """

    def database(self) -> base.Result:
        """Does the database answer, and is its engine new enough?"""
        if self.database_error:
            return base.Result(
                base.Code.FAILURE,
                "The database does not answer; see [database] connection: "
                f"{self.database_error}",
            )
        with db_engine.get_engine().connect() as connection:
            dialect = connection.dialect
            if dialect.name == "sqlite":
                return base.Result(
                    base.Code.WARNING,
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
                return base.Result(
                    base.Code.FAILURE,
                    f"{name} {base.dotted(found)} is too old; upgrade it to "
                    f"{base.dotted(oldest)} or later.",
                )
            if name != "PostgreSQL":
                foreign = _tables_of_other_engines(connection)
                if foreign:
                    return base.Result(
                        base.Code.FAILURE,
                        f"These tables are not InnoDB: {base.shown(foreign)}. "
                        "Without transactions devices are given away twice; "
                        "run: ALTER TABLE <table> ENGINE = InnoDB.",
                    )
                collations = _collations(connection)
                if len(collations) > 1:
                    return base.Result(
                        base.Code.WARNING,
                        f"{name} compares no texts of two collations, and "
                        "the tables have "
                        + " and ".join(
                            f"{collation} ({base.shown(sorted(tables))})"
                            for collation, tables in sorted(collations.items())
                        )
                        + ". Give all the same; run: ALTER TABLE <table> "
                        "CONVERT TO CHARACTER SET utf8mb3 COLLATE "
                        "<collation>.",
                    )
            return base.Result(
                base.Code.SUCCESS, f"{name} {base.dotted(found)}"
            )

    @base.on_database
    def schema_revision(self, connection: sa.Connection) -> base.Result:
        """Can this release upgrade the schema?"""
        refusal = migration.problem(connection)
        if refusal:
            return base.Result(base.Code.FAILURE, refusal)
        found = ", ".join(migration.stamps(connection))
        head = migration.head()
        if found == head:
            return base.Result(base.Code.SUCCESS, f"The schema is at {head}.")
        return base.Result(
            base.Code.SUCCESS,
            f"The schema is at {found}; 'cyborg-dbsync upgrade' brings it to "
            f"{head}.",
        )

    @base.on_database
    def clocks(self, connection: sa.Connection) -> base.Result:
        """Is this host's clock that of the database?"""
        # The connection was opened, or used, just now.
        off = clock.skew()
        if abs(off) <= clock.TOLERANCE:
            return base.Result(base.Code.SUCCESS)
        return base.Result(
            base.Code.WARNING,
            f"The clock of this host is {abs(off):.0f} seconds "
            f"{'ahead of' if off > 0 else 'behind'} the database's. Cyborg "
            "goes by the database's; tokens and other services do not. See "
            "that NTP runs on both.",
        )

    @base.on_database
    def duplicates(self, connection: sa.Connection) -> base.Result:
        """Do rows stand in the way of unique indexes?"""
        found = conflicts.find(connection)
        if not found:
            return base.Result(base.Code.SUCCESS)
        return base.Result(
            base.Code.FAILURE,
            "'cyborg-dbsync upgrade' will refuse these rows. "
            + conflicts.describe(found),
        )

    @base.on_database
    def arqs_without_project(self, connection: sa.Connection) -> base.Result:
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
                f"{base.shown(unbound)}."
            )
        if details:
            return base.Result(base.Code.WARNING, " ".join(details))
        return base.Result(base.Code.SUCCESS)

    @base.on_database
    def stuck_arqs(self, connection: sa.Connection) -> base.Result:
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
        limit = clock.utcnow() - datetime.timedelta(
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
            return base.Result(base.Code.SUCCESS)
        return base.Result(
            base.Code.WARNING,
            f"{len(rows)} accelerator request(s) have been in BindStarted "
            "for too long, and nobody works on them: "
            + base.shown(
                f"{row.uuid} (instance {row.instance_uuid})" for row in rows
            )
            + ". Their instances have no device. Delete or shelve the "
            "instances, or delete the requests as an administrator, which "
            "frees their devices.",
        )

    @base.on_database
    def device_states(self, connection: sa.Connection) -> base.Result:
        """Is every device where its state says, and may it be given out?"""
        columns = sa.inspect(connection).get_columns("devices")
        if "device_state" not in {item["name"] for item in columns}:
            return base.Result(
                base.Code.SUCCESS,
                "Devices have no states yet; 'cyborg-dbsync upgrade' adds "
                "them.",
            )
        devices = sa.table(
            "devices",
            *(sa.column(name) for name in ("id", "uuid", "hostname")),
            sa.column("device_state"),
        )
        # The labels of the enumeration depend on the release.
        state = sa.cast(devices.c.device_state, sa.String(32))
        rows = connection.execute(
            sa.select(devices.c.uuid, devices.c.hostname, state.label("state"))
            .where(
                sa.or_(
                    state.is_(None),
                    state.in_([str(unfit) for unfit in states.UNFIT]),
                )
            )
            .order_by(devices.c.id)
        ).all()
        unknown = [row.uuid for row in rows if row.state is None]
        details = []
        if unknown:
            details.append(
                f"{len(unknown)} device(s) have no device_state. "
                "'cyborg-dbsync upgrade' sets it, and 'cyborg-dbsync "
                "online_data_migrations' that of later ones."
            )
        held = [row for row in rows if row.state is not None]
        if held:
            details.append(
                f"{len(held)} device(s) are waiting for a cleaning or failed "
                "it. They are reserved in Placement and given to nobody: "
                + base.shown(
                    f"{row.uuid} ({row.state}, host {row.hostname})"
                    for row in held
                )
                + ". Once they are clean, free them with 'cyborg-manage "
                "device release <uuid>'."
            )
        if details:
            return base.Result(base.Code.WARNING, " ".join(details))
        return base.Result(
            base.Code.SUCCESS, "All device_state values backfilled."
        )

    @base.on_database
    def cleaning(self, connection: sa.Connection) -> base.Result:
        """Are there devices that are given out as the last guest left them?"""
        wanted = [
            name
            for name, policy in CONF.cleaning.policy.items()
            if policy != constants.CleaningPolicy.OFF
        ]
        if CONF.cleaning.enabled is not None or not wanted:
            return base.Result(base.Code.SUCCESS)
        names = ("id", "uuid", "hostname", "type")
        devices = sa.table("devices", *(sa.column(name) for name in names))
        # The labels of the enumeration depend on the release.
        kind = sa.cast(devices.c.type, sa.String(32))
        query = sa.select(devices.c.uuid, kind.label("type")).where(
            sa.or_(kind.in_(wanted), devices.c.uuid.in_(wanted))
        )
        inspector = sa.inspect(connection)
        if inspector.has_table("hosts") and "cleans" in {
            item["name"] for item in inspector.get_columns("hosts")
        }:
            hosts = sa.table(
                "hosts", sa.column("hostname"), sa.column("cleans", sa.Boolean)
            )
            query = query.where(
                ~sa.exists().where(
                    hosts.c.hostname == devices.c.hostname,
                    hosts.c.cleans == sa.true(),
                )
            )
        rows = connection.execute(query.order_by(devices.c.id)).all()
        if not rows:
            return base.Result(base.Code.SUCCESS)
        return base.Result(
            base.Code.WARNING,
            f"{len(rows)} device(s) are on hosts that were known before, and "
            "are given to the next guest as the last one left them: "
            + base.shown(f"{row.uuid} ({row.type})" for row in rows)
            + ". Set [cleaning] enabled to true to have them cleaned, or to "
            "false to leave them as they are.",
        )

    @base.on_database
    def leftovers(self, connection: sa.Connection) -> base.Result:
        """Is there anything that nobody looks after?"""
        details = [
            f"{len(found)} {what}: {base.shown(found)}. {advice}"
            for what, advice, query in leftover_rows(connection)
            if (found := connection.execute(query).scalars().all())
        ]
        if details:
            return base.Result(base.Code.WARNING, " ".join(details))
        return base.Result(base.Code.SUCCESS)


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


def _engine_version(connection: sa.Connection) -> tuple[int, ...]:
    info: Any = connection.dialect.server_version_info
    return tuple(part for part in info[:3] if isinstance(part, int))


def _collations(connection: sa.Connection) -> dict[str, set[str]]:
    """Return which tables of earlier releases have texts of which collation.

    What this release adds follows them.
    """
    rows = connection.execute(
        sa.text(
            "SELECT DISTINCT collation_name, table_name "
            "FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
        )
    ).tuples()
    found: dict[str, set[str]] = {}
    for collation, table in rows:
        if table in baseline.metadata().tables:
            found.setdefault(collation, set()).add(table)
    return found


def _tables_of_other_engines(connection: sa.Connection) -> list[str]:
    rows = connection.execute(
        sa.text(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND engine <> 'InnoDB'"
        )
    ).all()
    return sorted({name for (name,) in rows} & set(baseline.metadata().tables))
