"""Databases of earlier releases are repaired before they are upgraded."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg import manage
from cyborg.common import exception
from cyborg.db import migration
from cyborg.manage import handle as manage_handle
from cyborg.manage import profile as manage_profile
from cyborg.tests.fixtures import upstream

CONTEXT = cyborg_context.get_admin_context()

# Both are Bound to the first handle, as double-booked.sql has it.
FIRST, SECOND = (
    f"e0000000-0000-4000-8000-0000000000{n}" for n in ("01", "90")
)
HANDLE = "ab000000-0000-4000-8000-000000000001"


@pytest.fixture(params=upstream.VARIANTS)
def earlier(request: pytest.FixtureRequest, db: sa.Engine) -> sa.Engine:
    upstream.load_schema(db, request.param)
    upstream.load(db, "data", "double-booked")
    return db


def _run(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def _set_state(engine: sa.Engine, uuid: str, state: str) -> None:
    _run(
        engine,
        f"UPDATE extended_accelerator_requests SET state = '{state}' "
        f"WHERE uuid = '{uuid}'",
    )


def _arq(engine: sa.Engine, uuid: str) -> dict[str, Any]:
    with engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT state, attach_handle_id, deployable_id, instance_uuid, "
            "hostname FROM extended_accelerator_requests "
            f"WHERE uuid = '{uuid}'"
        ).one()
        return dict(row._mapping)


def _in_use(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return bool(
            connection.exec_driver_sql(
                "SELECT in_use FROM attach_handles WHERE id = 1"
            ).scalar_one()
        )


def _lost(number: str, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "attach_handle_id": None,
        "deployable_id": None,
        "instance_uuid": f"10000000-0000-4000-8000-00000000000{number}",
        "hostname": "compute-1.example.org",
    }


def _kept(number: str, state: str = "Bound") -> dict[str, Any]:
    return _lost(number, state) | {"attach_handle_id": 1, "deployable_id": 1}


def test_audit_says_who_has_the_handle(
    earlier: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage_handle.audit(CONTEXT, False) == manage.FINDINGS
    assert capsys.readouterr().out.splitlines() == [
        f"Attach handle {HANDLE} (PCI 0000:5e:00.1) is given to",
        f"  accelerator request {FIRST}: Bound, server "
        "10000000-0000-4000-8000-000000000001, host compute-1.example.org, "
        "project project-1",
        f"  accelerator request {SECOND}: Bound, server "
        "10000000-0000-4000-8000-000000000009, host compute-1.example.org, "
        "project project-9",
        "  See on host compute-1.example.org which server has "
        "PCI 0000:5e:00.1 ('virsh dumpxml <server>'), and run "
        "'cyborg-manage handle repair --keep' with its request: "
        f"{FIRST} or {SECOND}.",
    ]
    assert manage_handle.audit(CONTEXT, True) == manage.FINDINGS
    (found,) = json.loads(capsys.readouterr().out)
    assert found["handle"] == HANDLE
    assert [request["uuid"] for request in found["requests"]] == [
        FIRST,
        SECOND,
    ]


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_nothing_is_guessed(
    earlier: sa.Engine,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, bool],
) -> None:
    code = manage_handle.repair(CONTEXT, [], False, **options)
    assert code == manage.FINDINGS
    assert f"--keep' with its request: {FIRST} or {SECOND}." in (
        capsys.readouterr().out
    )
    assert _arq(earlier, FIRST) == _kept("1")
    assert _arq(earlier, SECOND) == _kept("9")


def test_the_operator_chooses(
    earlier: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    # Half an unbind of one has left it for anybody to take.
    _run(earlier, "UPDATE attach_handles SET in_use = FALSE WHERE id = 1")
    code = manage_handle.repair(CONTEXT, [SECOND], False, dry_run=True)
    assert code == manage.FINDINGS
    assert "would be taken from" in capsys.readouterr().out
    assert _arq(earlier, FIRST) == _kept("1")

    assert manage_handle.repair(CONTEXT, [SECOND], False) == manage.CLEAN
    assert capsys.readouterr().out.splitlines() == [
        f"Attach handle {HANDLE} (PCI 0000:5e:00.1)",
        f"  kept by accelerator request {SECOND}: Bound, server "
        "10000000-0000-4000-8000-000000000009, host compute-1.example.org, "
        "project project-9",
        f"  taken from accelerator request {FIRST}: Bound, server "
        "10000000-0000-4000-8000-000000000001, host compute-1.example.org, "
        "project project-1",
        "    It is now BindFailed.",
        "    Server 10000000-0000-4000-8000-000000000001 may be running with "
        "the device, which is not its any more: stop it now. Then delete it, "
        "or shelve and unshelve it, which asks for another device. Do not "
        "start it before.",
    ]
    assert _arq(earlier, FIRST) == _lost("1", "BindFailed")
    assert _arq(earlier, SECOND) == _kept("9")
    assert _in_use(earlier)
    assert manage_handle.audit(CONTEXT, True) == manage.CLEAN
    assert json.loads(capsys.readouterr().out) == []

    migration.upgrade()
    assert migration.version() == migration.head()
    assert _arq(earlier, SECOND) == _kept("9")
    # The columns are still there.
    assert manage_handle.repair(CONTEXT, [], False) == manage.CLEAN
    assert "No attach handle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "after", "to_do"),
    [
        ("BindStarted", "BindFailed", "did not get the device: delete"),
        ("BindFailed", "BindFailed", "does not have the device: delete"),
        ("Unbound", "Unbound", "nothing is to be done"),
        ("Deleting", "Deleting", "nothing is to be done"),
    ],
)
def test_the_only_one_that_is_bound_keeps_it(
    earlier: sa.Engine,
    capsys: pytest.CaptureFixture[str],
    state: str,
    after: str,
    to_do: str,
) -> None:
    _set_state(earlier, FIRST, state)
    manage_handle.audit(CONTEXT, False)
    assert f"leaves it with {SECOND}" in capsys.readouterr().out
    # It would come free with this one while the other server has it.
    with pytest.raises(exception.Invalid, match="may be using the device"):
        manage_handle.repair(CONTEXT, [FIRST], False)

    assert manage_handle.repair(CONTEXT, [], True) == manage.CLEAN
    answer = json.loads(capsys.readouterr().out)
    assert answer["left"] == []
    (repaired,) = answer["repaired"]
    assert (repaired["handle"], repaired["kept"]["uuid"]) == (HANDLE, SECOND)
    (loser,) = repaired["taken_from"]
    assert (loser["uuid"], loser["state_before"]) == (FIRST, state)
    assert loser["state"] == after
    assert to_do in loser["to_do"]
    assert _arq(earlier, FIRST) == _lost("1", after)
    assert _arq(earlier, SECOND) == _kept("9")
    migration.upgrade()


def test_none_is_bound(
    earlier: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    _set_state(earlier, FIRST, "Deleting")
    _set_state(earlier, SECOND, "BindFailed")
    assert manage_handle.repair(CONTEXT, [], False) == manage.FINDINGS
    assert f"with any of {FIRST} or {SECOND}." in capsys.readouterr().out
    assert manage_handle.repair(CONTEXT, [FIRST], False) == manage.CLEAN
    assert _arq(earlier, FIRST) == _kept("1", "Deleting")
    assert _arq(earlier, SECOND) == _lost("9", "BindFailed")


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ([FIRST, SECOND], "can keep attach handle"),
        (["nonsense", FIRST], "No double-booked handle is of .* nonsense"),
    ],
)
def test_a_choice_that_cannot_be(
    earlier: sa.Engine, keep: list[str], says: str
) -> None:
    for options in ({}, {"dry_run": True}):
        with pytest.raises(exception.Invalid, match=says):
            manage_handle.repair(CONTEXT, keep, False, **options)
    assert _arq(earlier, FIRST) == _kept("1")
    assert _arq(earlier, SECOND) == _kept("9")


def test_profiles_of_one_uuid(
    db: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.load_schema(db, "created")
    upstream.load(db, "data", "profiles-of-one-uuid")

    def uuids() -> dict[str, str]:
        with db.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT name, uuid FROM device_profiles"
            )
            return {row.name: row.uuid for row in found}

    before = uuids()
    assert before["fpga"] == before["fpga-again"]
    code = manage_profile.repair(CONTEXT, False, dry_run=True)
    assert code == manage.FINDINGS
    assert capsys.readouterr().out == (
        f"fpga-again: another profile is {before['fpga']}, too\n"
    )
    assert uuids() == before

    assert manage_profile.repair(CONTEXT, True) == manage.CLEAN
    after = uuids()
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "fpga-again",
            "uuid": after["fpga-again"],
            "uuid_before": before["fpga"],
        }
    ]
    assert after == before | {"fpga-again": after["fpga-again"]}
    assert after["fpga-again"] != after["fpga"]
    assert manage_profile.repair(CONTEXT, False) == manage.CLEAN
    assert "a uuid of its own" in capsys.readouterr().out
    migration.upgrade()
    assert migration.version() == migration.head()


def test_a_database_without_tables(db: sa.Engine) -> None:
    with pytest.raises(exception.SchemaRefused, match="has no table"):
        manage_handle.audit(CONTEXT, False)
