"""What is changed inside of libraries is where it was seen."""

import functools
import inspect
from typing import Any

from oslo_db.sqlalchemy import engines
from oslo_policy import _checks
import pytest
import sqlalchemy as sa

from cyborg import _compat
from cyborg import context
from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.policies import arq as policies


@pytest.fixture
def engine() -> sa.Engine:
    made: sa.Engine = engines.create_engine("sqlite://")
    return made


def test_signatures_of_checks_are_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = []

    def note(function: Any) -> inspect.FullArgSpec:
        looked_at.append(function)
        return inspect.getfullargspec(function)

    CONF([], project="cyborg", default_config_files=[])
    policy.reset()
    policy.get_enforcer()
    assert _compat.remember_signatures()
    monkeypatch.setattr(_compat, "_signature", functools.lru_cache(note))
    member = context.RequestContext(project_id="p", roles=["member", "reader"])
    for _ in range(3):
        member.can(policies.CREATE)
    assert looked_at
    assert len(looked_at) == len(set(looked_at))
    assert set(looked_at) <= {
        check.__call__
        for check in vars(_checks).values()
        if isinstance(check, type)
    }


def test_only_idle_connections_are_asked(engine: sa.Engine) -> None:
    assert _compat.ping_only_idle(engine)
    # What is not as expected stays.
    assert not _compat.ping_only_idle(engine)


def test_nothing_is_rolled_back_after_a_commit(engine: sa.Engine) -> None:
    rolled_back = []
    dialect: Any = engine.dialect
    roll_back = dialect.do_rollback

    def note(connection: Any) -> None:
        rolled_back.append(connection)
        roll_back(connection)

    dialect.do_rollback = note
    _compat.spare_rollbacks(engine)
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(sa.text("SELECT 1"))
        _compat.note_commit(connection)
    assert not rolled_back
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert len(rolled_back) == 1
