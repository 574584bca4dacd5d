"""What errors of the database mean: it is away or refuses, or we are wrong."""

from oslo_db import exception as db_exception
import sqlalchemy as sa

# Numbers of MySQL and of proxies in front of it that no statement causes:
# wrong password or database, no room for connections, read-only, going down.
_REFUSALS = frozenset(
    {
        *(1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1290, 1792),
        *(1836, 1927, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3032, 4151),
        # ProxySQL's own.
        *range(9000, 9010),
    }
)
# SQLSTATEs of PostgreSQL: connections, authentication, no such database, no
# resources, shutting down, read-only.
_STATES = ("08", "28", "3D", "53", "57P", "25006")


def refusal(error: BaseException) -> str | None:
    """Return in one line why the database did nothing; None if it is not so.

    >>> refusal(...)
    '(1045, "Access denied for user ...")'
    """
    inner = error
    if isinstance(error, db_exception.DBError):
        inner = error.inner_exception or error
    if isinstance(inner, sa.exc.TimeoutError):
        # All connections of the pool are in use.
        return str(inner).splitlines()[0]
    if isinstance(inner, sa.exc.DBAPIError):
        original = inner.orig
        if inner.connection_invalidated or _refuses(original):
            return str(original).splitlines()[0]
    if isinstance(error, db_exception.DBConnectionError):
        return str(error).splitlines()[0]
    return None


def _refuses(original: BaseException | None) -> bool:
    """Tell whether it is not the statement that an error is about.

    :param original: as the driver raised it
    """
    if original is None:
        return False
    state = getattr(original, "pgcode", None) or getattr(
        original, "sqlstate", None
    )
    number = original.args[0] if original.args else None
    if isinstance(number, int):
        return number in _REFUSALS
    if state is not None:
        return str(state).startswith(_STATES)
    text = str(original)
    # psycopg2 gives no code for what happens while it connects, and SQLite
    # none for its file.
    return type(original).__name__ == "OperationalError" and (
        "connection" in text
        or text.startswith(("unable to open", "attempt to write a readonly"))
    )
