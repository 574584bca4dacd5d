"""Which errors say that the database is away, or refuses."""

from oslo_db import exception as db_exception
import psycopg2
import pymysql
import pytest
import sqlalchemy as sa

from cyborg.api import errors
from cyborg.common import database


def raised(
    original: Exception,
    kind: type[sa.exc.DBAPIError] = sa.exc.OperationalError,
) -> sa.exc.DBAPIError:
    """Return what SQLAlchemy makes of a driver's error."""
    return kind("SELECT secret", {}, original)


class ReadOnly(psycopg2.InternalError):
    pgcode = "25006"


REFUSED = [
    raised(pymysql.err.OperationalError(1045, "Access denied")),
    raised(pymysql.err.OperationalError(1290, "--read-only")),
    raised(pymysql.err.OperationalError(9001, "Max connect timeout")),
    raised(pymysql.err.InternalError(1049, "Unknown database")),
    raised(psycopg2.OperationalError("connection to server failed: no")),
    raised(ReadOnly("cannot execute INSERT"), sa.exc.InternalError),
    sa.exc.TimeoutError("QueuePool limit of size 5 overflow 50 reached"),
]


@pytest.mark.parametrize("error", REFUSED)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_refusals_are_503_and_one_line(
    error: Exception, is_wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if is_wrapped:
        error = db_exception.DBError(error)
    status, text = errors.describe(error, "req-1")
    assert status == 503
    assert "req-1" in text
    assert "secret" not in text
    (record,) = caplog.records
    assert record.exc_info is None
    assert "secret" not in record.getMessage()


@pytest.mark.parametrize(
    "error",
    [
        raised(pymysql.err.OperationalError(1054, "Unknown column")),
        raised(pymysql.err.ProgrammingError(1064, "Syntax")),
        ValueError("x"),
        db_exception.DBError(ValueError("x")),
    ],
)
def test_our_mistakes_are_no_refusals(error: Exception) -> None:
    assert database.refusal(error) is None
    assert errors.describe(error, "req-1")[0] == 500


def test_lost_connection() -> None:
    error = db_exception.DBConnectionError(
        raised(pymysql.err.OperationalError(2013, "Lost connection"))
    )
    assert "2013" in (database.refusal(error) or "")
