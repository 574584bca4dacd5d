"""What is changed inside of libraries, and nowhere else.

Each function changes a private name, which the next version of its library
may call otherwise: where it is not what is expected, things stay as they are,
and the test of this module fails, so that somebody looks.

==================================  ============  =============================
function                            seen with     gain, MariaDB on this host
==================================  ============  =============================
:func:`remember_signatures`         oslo.policy   0.1 ms of CPU a decision
                                    4.4 to 6.0
:func:`ping_only_idle`              oslo.db 17    a round trip a transaction,
                                    and 18,       0.1 ms
                                    SQLAlchemy
                                    2.0 and 2.1
:func:`spare_rollbacks`             SQLAlchemy    a round trip a transaction
                                    2.0 and 2.1   that writes, 0.1 ms
==================================  ============  =============================
"""

from collections.abc import Callable
import functools
import inspect
import time
import types
from typing import Any
from typing import TYPE_CHECKING

from oslo_policy import _checks

if TYPE_CHECKING:
    # Agents, which decide by policy, too, have no database.
    import sqlalchemy as sa

# Seconds that a connection was not used for and is believed to live.
_TRUSTED = 1.0
# Noted with a connection whose last statement was COMMIT.
_COMMITTED = "cyborg_committed"


@functools.lru_cache(maxsize=256)
def _signature(function: types.FunctionType) -> inspect.FullArgSpec:
    return inspect.getfullargspec(function)


def remember_signatures() -> bool:
    """Have oslo.policy look at the signature of each kind of check once.

    It does so for every part of a rule that it evaluates, which is more than
    half of the time that a decision takes.

    Returns whether it does not any more.
    """
    if getattr(_checks, "inspect", None) is inspect:
        stand_in: Any = types.SimpleNamespace(
            getfullargspec=lambda method: _signature(
                getattr(method, "__func__", method)
            )
        )
        _checks.inspect = stand_in
        return True
    return isinstance(_checks.inspect, types.SimpleNamespace)


def ping_only_idle(engine: "sa.Engine") -> bool:
    """Have connections asked whether they live only after they were idle.

    oslo.db has them asked at the begin of every transaction, which costs as
    much as one more statement, and has no option for it.

    Returns whether they are.
    """
    from sqlalchemy import event
    from sqlalchemy import exc

    pool: Any = engine.pool
    if getattr(pool, "_pre_ping", None) is not True:
        return False
    pool._pre_ping = False

    @event.listens_for(engine, "checkin")
    def note_use(connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, fairy: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _TRUSTED:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # Whatever broke this one broke the others.
            raise exc.InvalidatePoolError() from error

    return True


def spare_rollbacks(engine: "sa.Engine") -> None:
    """Spare connections the ROLLBACK that follows a COMMIT.

    The pool rolls back whatever is given back to it, for which MySQL's
    drivers send one more statement even if nothing is left to roll back; the
    option that ends this is one that oslo.db does not pass on.
    :func:`note_commit` says after what.
    """
    dialect: Any = engine.dialect
    roll_back: Callable[[Any], None] = dialect.do_rollback

    def unless_committed(connection: Any) -> None:
        try:
            committed = connection.info.pop(_COMMITTED, False)
        except NotImplementedError:
            # SQLAlchemy's first look at a server is none of the pool's.
            committed = False
        if not committed:
            roll_back(connection)

    dialect.do_rollback = unless_committed


def note_commit(connection: "sa.Connection") -> None:
    """Note that COMMIT is the last statement that was sent."""
    connection.info[_COMMITTED] = True
