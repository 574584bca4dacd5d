"""The console script ``cyborg-dbsync``: the schema and its version."""

import sys
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg import conf
from cyborg import context as cyborg_context
from cyborg.clients import nova
from cyborg.common import service
from cyborg.db import data_migrations
from cyborg.db import migration

CONF = conf.CONF
LOG = logging.getLogger(__name__)


def upgrade() -> int:
    """Upgrade the schema."""
    migration.upgrade(CONF.command.revision)
    return 0


def version() -> int:
    """Print the revision of the schema, or None."""
    print(migration.version())
    return 0


def stamp() -> int:
    """Write a revision into the database and change nothing else."""
    migration.stamp(CONF.command.revision)
    return 0


def create_schema() -> int:
    """Create all tables in an empty database."""
    migration.create_schema()
    return 0


def revision() -> int:
    """Write a new revision, for developers."""
    migration.revision(CONF.command.message, CONF.command.autogenerate)
    return 0


def check_schema() -> int:
    """Print how the database differs from this release's schema."""
    differences = migration.check_schema()
    for line in differences:
        print(line)
    return 1 if differences else 0


def online_data_migrations() -> int:
    """Migrate rows, while the services run.

    Returns 0 when nothing is left, 1 when more remains, 2 on failures.
    """
    limit = CONF.command.max_count
    if limit is not None:
        if not limit.isdecimal() or int(limit) < 1:
            print(f"--max-count is not above 0: {limit}", file=sys.stderr)
            return 127
        limit = int(limit)
    found = migration.version()
    if found != migration.head():
        print(
            f"The schema is at revision {found}; run 'cyborg-dbsync upgrade' "
            "first.",
            file=sys.stderr,
        )
        return 2
    context = cyborg_context.get_admin_context()
    profiles = data_migrations.translate_profiles(context)
    if profiles.migrated:
        print(f"Translated {profiles.migrated} device profile(s)")
    arqs = data_migrations.fill_project_ids(context, nova.find_owner, limit)
    print(f"Migrated {arqs.migrated} ARQ(s)")
    states = data_migrations.fill_device_states(context).migrated
    print(f"Backfilled device_state on {states}/{states} devices")
    if profiles.failed or arqs.failed:
        return 2
    return 1 if arqs.more else 0


def add_commands(subparsers: Any) -> None:
    """Add the sub-commands to the command line."""

    def add(function: Any) -> Any:
        parser = subparsers.add_parser(
            function.__name__, help=function.__doc__.splitlines()[0]
        )
        parser.set_defaults(run=function)
        return parser

    add(upgrade).add_argument(
        "--revision", help="revision to stop at; default: the newest"
    )
    add(version)
    add(stamp).add_argument(
        "--revision",
        required=True,
        help="revision to write, or 'head' for the newest",
    )
    add(create_schema)
    parser = add(revision)
    parser.add_argument("-m", "--message", required=True, help="what it does")
    parser.add_argument(
        "--autogenerate",
        action="store_true",
        help="fill it with how the models differ from the database",
    )
    add(check_schema)
    add(online_data_migrations).add_argument(
        "--max-count", help="how many ARQs to migrate at most"
    )


COMMAND = cfg.SubCommandOpt("command", title="commands", handler=add_commands)


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command."""
    CONF.register_cli_opt(COMMAND)
    # Standard output is for answers.
    logging.register_options(CONF)
    CONF.set_default("use_stderr", True)
    service.prepare(argv)
    try:
        return int(CONF.command.run())
    except Exception as error:
        reason = service.complaint(error)
        if reason is None:
            raise
        LOG.debug("Failed", exc_info=True)
    print(reason, file=sys.stderr)
    # The code of failures; for the others 1 means that, and 2 a usage error.
    return 2 if CONF.command.run is online_data_migrations else 1


if __name__ == "__main__":
    sys.exit(main())
