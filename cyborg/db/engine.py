"""Transactions: who may begin one, and how often it is tried.

Functions of ``cyborg.db`` take a :class:`cyborg.context.RequestContext` and
run statements on ``context.connection``, which :func:`reader`, :func:`writer`
or :func:`use_case` provide. Nested calls join the transaction that is open.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import datetime
import functools
import threading
from typing import Any
from typing import Concatenate
from typing import ParamSpec
from typing import TypeVar

from oslo_db import api as db_api
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from osprofiler import opts as profiler_opts
from osprofiler import sqlalchemy as profiler_sqlalchemy
import sqlalchemy as sa

from cyborg import _compat
from cyborg import conf
from cyborg import context as cyborg_context
from cyborg.common import clock
from cyborg.common import database
from cyborg.common import exception

CONF = conf.CONF

P = ParamSpec("P")
T = TypeVar("T")
Context = cyborg_context.RequestContext

_manager = enginefacade.transaction_context()
# What the manager makes; to ask it takes as long as a small statement.
_engine: sa.Engine | None = None
_begin = threading.local()
_configured = threading.Lock()
_started = False


def _on_engine_created(engine: sa.Engine) -> None:
    # oslo.db has tried a connection already. It must not stay in the pool: it
    # was not prepared.
    engine.dispose()
    if profiler_opts.is_db_trace_enabled(CONF):
        profiler_sqlalchemy.add_tracing(sa, engine, "db")
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    else:
        if engine.dialect.name == "mysql":
            _prepare_mysql(engine)
        _compat.ping_only_idle(engine)
    _keep_time(engine)


# What asks a server for the time, UTC.
_TIME = {
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


def _keep_time(engine: sa.Engine) -> None:
    """Learn the time with each connection, and from those that are used."""
    statement = _TIME[engine.dialect.name]

    @sa.event.listens_for(engine, "connect")
    def ask(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(statement)
            (now,) = cursor.fetchone()
        finally:
            cursor.close()
        connection.rollback()
        if isinstance(now, str):
            now = datetime.datetime.fromisoformat(now)
        clock.read(now)

    @sa.event.listens_for(engine, "checkout")
    def ask_again(connection: Any, record: Any, fairy: Any) -> None:
        if clock.is_due():
            # One that is broken shows when it is used.
            with contextlib.suppress(engine.dialect.loaded_dbapi.Error):
                ask(connection, record)


def _prepare_mysql(engine: sa.Engine) -> None:
    _compat.spare_rollbacks(engine)

    # PostgreSQL's default, so both behave alike: a read after a lock sees
    # what the lock waited for, and rows that do not exist are not locked.
    @sa.event.listens_for(engine, "connect")
    def read_committed(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
            )


def _prepare_sqlite(engine: sa.Engine) -> None:

    # SQLite begins DEFERRED, and a transaction that reads before it writes
    # then fails with "database is locked" as soon as somebody else has
    # written; waiting does not help. A writer therefore takes the write lock
    # at once, by changing the BEGIN that oslo.db emits.
    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def begin_immediate(
        connection: Any,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> tuple[str, Any]:
        if statement == "BEGIN" and getattr(_begin, "writing", False):
            statement = "BEGIN IMMEDIATE"
        return statement, parameters

    @sa.event.listens_for(engine, "connect")
    def wait_for_locks(connection: Any, record: Any) -> None:
        # Readers do not block the writer, nor it them.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA busy_timeout = 30000")


def configure(**overrides: Any) -> None:
    """Set the engine up from ``[database]``; later calls change nothing.

    :param overrides: oslo.db options that win over the configuration
    :raises ConfigInvalid: if the URL names a driver that cannot be used
    """
    global _started
    with _configured:
        if _started:
            return
        url = overrides.get("connection") or CONF.database.connection
        if url.startswith("mariadb"):
            # oslo.db does not see its deadlocks and duplicates for what
            # they are.
            raise exception.ConfigInvalid(
                option="[database] connection",
                reason="for MariaDB, too, it begins with mysql+pymysql://",
            )
        try:
            sa.make_url(url).get_dialect().import_dbapi()
        except (sa.exc.ArgumentError, ImportError) as error:
            raise exception.ConfigInvalid(
                option="[database] connection", reason=str(error)
            ) from error
        _started = True
        _manager.configure(
            sqlite_fk=True,
            mysql_sql_mode="TRADITIONAL",
            # It is for greenlets; a thread would lose its turn.
            thread_checkin=False,
            **overrides,
        )
        _manager.append_on_engine_create(_on_engine_created)


def _start() -> None:
    if not _started:
        configure()


def reset() -> None:
    """Close all connections and forget the engine. For tests and forks."""
    global _started, _manager, _engine
    with _configured:
        if _started:
            with contextlib.suppress(Exception):
                _manager.get_legacy_facade().get_engine().dispose()
        _manager = enginefacade.transaction_context()
        clock.reset()
        _engine = None
        _started = False


def get_engine() -> sa.Engine:
    """Return the engine, for schema work."""
    global _engine
    if _engine is None:
        _start()
        _engine = _manager.writer.get_engine()
    return _engine


def _is_open(context: Context) -> bool:
    return hasattr(context.transaction, "connection")


@contextlib.contextmanager
def _opened(
    context: Context, connection: sa.Connection, writing: bool
) -> Iterator[sa.Connection]:
    context.transaction.connection = connection
    context.transaction.writing = writing
    try:
        yield connection
    finally:
        del context.transaction.connection


# enginefacade makes the engine but not the transactions: to begin one it takes
# as much CPU as one more statement.


@contextlib.contextmanager
def _connected() -> Iterator[sa.Connection]:
    """Provide a connection; let go of all if the server refuses its work.

    One that has become read-only, or is going down, does not take its
    connections away. Where it is reached by a name or a proxy, new ones lead
    to the server that took its place.
    """
    try:
        with get_engine().connect() as connection:
            yield connection
    except Exception as error:
        if _is_refusal(error):
            get_engine().dispose()
        raise


def _is_refusal(error: BaseException) -> bool:
    # That the pool is empty is not the server's doing.
    return database.refusal(error) is not None and not isinstance(
        error, sa.exc.TimeoutError
    )


@contextlib.contextmanager
def reading(context: Context) -> Iterator[sa.Connection]:
    """Provide a connection for reads; joins an open transaction."""
    if _is_open(context):
        yield context.connection
        return
    outer = getattr(_begin, "writing", False)
    # A transaction of its own, perhaps while this thread writes in another:
    # it must not wait for that one's lock.
    _begin.writing = False
    try:
        with (
            _connected() as connection,
            _opened(context, connection, writing=False),
        ):
            yield connection
    finally:
        _begin.writing = outer


@contextlib.contextmanager
def writing(context: Context) -> Iterator[sa.Connection]:
    """Provide a connection for writes; joins an open transaction.

    The outermost ``writing`` commits when it is left, or rolls back on error.

    :raises TypeError: the open transaction is one for reads
    """
    if _is_open(context):
        if not context.transaction.writing:
            raise TypeError("a transaction for reads cannot write")
        yield context.connection
        return
    outer = getattr(_begin, "writing", False)
    _begin.writing = True
    context.transaction.after_commit = []
    try:
        with _connected() as connection:
            with (
                connection.begin(),
                _opened(context, connection, writing=True),
            ):
                yield connection
            _compat.note_commit(connection)
    finally:
        _begin.writing = outer
    for callback in context.transaction.after_commit:
        callback()


def after_commit(context: Context, callback: Callable[[], None]) -> None:
    """Call ``callback`` once the open transaction has committed.

    It must not raise, as nothing can be undone then; if the transaction is
    rolled back it is not called. Outside a transaction it is called at once.
    """
    if _is_open(context) and context.transaction.writing:
        context.transaction.after_commit.append(callback)
    else:
        callback()


def reader(
    function: Callable[Concatenate[Context, P], T],
) -> Callable[Concatenate[Context, P], T]:
    """Run ``function`` with ``context.connection`` set, for reads only."""

    @functools.wraps(function)
    def wrapper(context: Context, *args: P.args, **kwargs: P.kwargs) -> T:
        if _is_open(context):
            return function(context, *args, **kwargs)
        with reading(context):
            return function(context, *args, **kwargs)

    return wrapper


def writer(
    function: Callable[Concatenate[Context, P], T],
) -> Callable[Concatenate[Context, P], T]:
    """Run ``function`` in the open write transaction, or in one of its own."""

    @functools.wraps(function)
    def wrapper(context: Context, *args: P.args, **kwargs: P.kwargs) -> T:
        if _is_open(context) and context.transaction.writing:
            return function(context, *args, **kwargs)
        with writing(context):
            return function(context, *args, **kwargs)

    return wrapper


class Collision(Exception):
    """What was read is no longer so; the use case has to begin anew."""


def _worth_repeating(error: Exception) -> bool:
    if _is_refusal(error):
        # Another server may take its place right now.
        return True
    # Two use cases met in a unique index; the loser looks again and finds
    # what the winner wrote.
    return isinstance(error, (db_exception.DBDuplicateEntry, Collision)) or (
        # SQLite's writer waited too long for the lock.
        isinstance(error, sa.exc.OperationalError)
        and "database is locked" in str(error.orig)
    )


def use_case(
    function: Callable[Concatenate[Context, P], T],
) -> Callable[Concatenate[Context, P], T]:
    """Run ``function`` as one write transaction, repeated when it collides.

    Deadlocks, lost connections, servers that refuse and unique keys that
    another transaction took first roll back and begin anew, so ``function``
    must only read and write the database. It raises :class:`Collision` to
    begin anew itself.

    :raises DatabaseUnavailable: it was no use
    """
    repeated = db_api.wrap_db_retry(
        retry_interval=0.02,
        max_retries=20,
        max_retry_interval=1,
        inc_retry_interval=True,
        jitter=True,
        retry_on_deadlock=True,
        retry_on_disconnect=True,
        exception_checker=_worth_repeating,
    )(writer(function))

    @functools.wraps(function)
    def wrapper(context: Context, *args: P.args, **kwargs: P.kwargs) -> T:
        if _is_open(context):
            # Inside another use case only that one can begin anew.
            return function(context, *args, **kwargs)
        try:
            return repeated(context, *args, **kwargs)
        except Exception as error:
            reason = database.refusal(error)
            if reason is None:
                raise
            raise exception.DatabaseUnavailable(reason=reason) from error

    return wrapper


def supports_skip_locked(connection: sa.Connection) -> bool:
    """Tell whether rows others have locked can be stepped over."""
    return connection.dialect.name != "sqlite"


def after(seconds: float) -> datetime.datetime:
    """Return the time ``seconds`` after now, UTC, as columns hold it.

    That is in whole seconds. MySQL rounds up what is more, and what is due
    now would not be found yet.
    """
    later = clock.utcnow() + datetime.timedelta(seconds=seconds)
    return later.replace(microsecond=0)


# Seconds that no lease and no pause between two attempts lasts.
_LONGEST_LEASE = 3600.0


def past_any_lease() -> datetime.datetime:
    """Return the time that no lease written by now ends after.

    One that does was written while the database's clock was wrong, and
    counts as ended.
    """
    return after(max(_LONGEST_LEASE, 2.0 * CONF.conductor.job_lease))


def ago(seconds: float) -> datetime.datetime:
    """Return the time ``seconds`` before now, UTC, as columns hold it."""
    return clock.utcnow() - datetime.timedelta(seconds=seconds)
