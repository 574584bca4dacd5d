"""One schema change at a time, whoever begins another waits for it.

Two upgrades of one database would each find half of what the other did. The
lock is the database's and belongs to the connection that works, so it goes
with a process that is killed.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import hashlib
import os
import time

from oslo_log import log as logging
import sqlalchemy as sa

LOG = logging.getLogger(__name__)

# Seconds between two attempts.
_INTERVAL = 0.2
# PostgreSQL's locks have numbers, and belong to one database.
_NUMBER = int.from_bytes(hashlib.sha256(b"cyborg-dbsync").digest()[:7], "big")


@contextlib.contextmanager
def changing_schema(connection: sa.Connection) -> Iterator[None]:
    """Hold the lock; waits for as long as somebody else does."""
    with contextlib.ExitStack() as stack:
        take = {
            "mysql": _mysql,
            "mariadb": _mysql,
            "postgresql": _postgresql,
            "sqlite": _sqlite,
        }[connection.dialect.name](connection, stack)
        waiting = False
        while not take():
            if not waiting:
                LOG.warning(
                    "Another process changes the schema; waiting for it"
                )
            waiting = True
            time.sleep(_INTERVAL)
        # What was read so far may be older than what the other has written.
        connection.rollback()
        yield


def _mysql(
    connection: sa.Connection, stack: contextlib.ExitStack
) -> Callable[[], bool]:
    # Names are the server's, at most 64 characters long.
    database = str(connection.scalar(sa.text("SELECT DATABASE()")))
    name = f"cyborg-{hashlib.sha256(database.encode()).hexdigest()[:48]}"

    def take() -> bool:
        try:
            taken = connection.scalar(
                sa.text("SELECT GET_LOCK(:name, 0)"), {"name": name}
            )
        except sa.exc.DBAPIError as error:
            # Some clusters refuse it, and none spreads it over its nodes.
            LOG.warning(
                "The database gives no lock (%s): see to it that only one "
                "process changes the schema",
                error.orig,
            )
            connection.rollback()
            return True
        if taken:
            stack.callback(
                _quietly,
                connection,
                sa.text("SELECT RELEASE_LOCK(:name)").bindparams(name=name),
            )
        return bool(taken)

    return take


def _postgresql(
    connection: sa.Connection, stack: contextlib.ExitStack
) -> Callable[[], bool]:
    def take() -> bool:
        taken = connection.scalar(
            sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": _NUMBER}
        )
        connection.rollback()
        if taken:
            stack.callback(
                _quietly,
                connection,
                sa.text("SELECT pg_advisory_unlock(:key)").bindparams(
                    key=_NUMBER
                ),
            )
        return bool(taken)

    return take


def _quietly(connection: sa.Connection, release: sa.TextClause) -> None:
    # Whatever ended the work is what is to be told, and a connection that is
    # lost has lost the lock, too.
    with contextlib.suppress(sa.exc.SQLAlchemyError):
        connection.rollback()
        connection.execute(release)
        connection.rollback()


def _sqlite(
    connection: sa.Connection, stack: contextlib.ExitStack
) -> Callable[[], bool]:
    path = connection.engine.url.database
    if not path or path == ":memory:":
        return lambda: True
    # Not the database itself: to close any file that is open on it gives up
    # the locks that SQLite has on it.
    descriptor = os.open(f"{path}-upgrade-lock", os.O_CREAT | os.O_RDWR, 0o600)
    stack.callback(os.close, descriptor)

    def take() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return take
