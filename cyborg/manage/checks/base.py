"""What all checks before an upgrade share."""

from collections.abc import Callable
from collections.abc import Iterable
import functools
from typing import Any
from typing import TypeVar

from oslo_db import exception as db_exception
from oslo_upgradecheck import upgradecheck
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.db import engine as db_engine
from cyborg.db import migration

Result = upgradecheck.Result
Code = upgradecheck.Code

_C = TypeVar("_C", bound="Checks")

# How many names a line shows.
_SHOWN = 10


def shown(names: Iterable[Any]) -> str:
    """Return the first names for a line of text: ``a, b and 7 more``."""
    listed = [str(name) for name in names]
    text = ", ".join(listed[:_SHOWN])
    if len(listed) > _SHOWN:
        text += f" and {len(listed) - _SHOWN} more"
    return text


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it: ``10.6.1``."""
    return ".".join(str(part) for part in version)


def on_database(
    check: Callable[[_C, sa.Connection], Result],
) -> Callable[[_C], Result]:
    """Give a check a connection, if the tables can be read at all."""

    @functools.wraps(check)
    def wrapper(self: _C) -> Result:
        if self.database_error:
            return Result(Code.WARNING, "Not checked: see the database.")
        with db_engine.get_engine().connect() as connection:
            if migration.is_new(connection) or not (
                sa.inspect(connection).has_table("devices")
            ):
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
