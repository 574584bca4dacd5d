"""cyborg-manage on every engine: requests, hosts, services, quotas."""

from collections.abc import Iterator
import datetime
import json
from typing import Any

from oslo_utils import timeutils
import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor.life import events
from cyborg.db import bound_instance as bound_db
from cyborg.db import device_identity as identity_db
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.db import removal as removal_db
from cyborg.manage import arq as manage_arq
from cyborg.manage import device as manage_device
from cyborg.manage import host as manage_host
from cyborg.manage import quota as manage_quota
from cyborg.tests.fixtures import records

CONTEXT = cyborg_context.get_admin_context()
LONG_AGO = timeutils.utcnow().replace(microsecond=0) - datetime.timedelta(2)


class Committing:
    """A connection that commits each statement, also where the engine's own
    begin says otherwise.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def execute(self, *args: Any) -> Any:
        result: Any = self._connection.execute(*args)
        if isinstance(args[0], sa.Select):
            result = result.freeze()()
        self._connection.commit()
        return result


@pytest.fixture
def connection(cyborg_db: sa.Engine) -> Iterator[Any]:
    with cyborg_db.connect() as connection:
        yield Committing(connection)


def _arq(
    connection: sa.Connection, number: int, profile: int, **values: Any
) -> int:
    return records.insert(
        connection,
        models.ARQ,
        **{
            "uuid": records.uuid(number),
            "project_id": "p1",
            "state": "Initial",
            "device_profile_id": profile,
            "device_profile_group_id": 0,
            "substate": "Initial",
        }
        | values,
    )


@pytest.fixture
def handle(connection: sa.Connection) -> int:
    """An mdev that is in use."""
    device = records.device(connection, 1)
    deployable = records.deployable(connection, 1, device)
    return records.attach_handle(
        connection,
        1,
        device,
        deployable,
        in_use=True,
        attach_type="MDEV",
        created_at=LONG_AGO,
    )


@pytest.fixture
def profile(connection: sa.Connection) -> int:
    return records.device_profile(
        connection, 1, "one", [{"resources:FPGA": "1"}]
    )


def _in_use(connection: sa.Connection, handle: int) -> bool:
    return bool(
        connection.execute(
            sa.select(models.AttachHandle.in_use).where(
                models.AttachHandle.id == handle
            )
        ).scalar_one()
    )


def _answer(
    capsys: pytest.CaptureFixture[str], run: Any, *args: Any, **options: Any
) -> tuple[int, Any]:
    capsys.readouterr()
    code = run(CONTEXT, *args, **options)
    return code, json.loads(capsys.readouterr().out)


def test_arqs_are_listed(
    connection: sa.Connection,
    profile: int,
    handle: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _arq(connection, 1, profile)
    _arq(
        connection,
        2,
        profile,
        state="Bound",
        hostname="cn1",
        attach_handle_id=handle,
    )
    _code, found = _answer(capsys, manage_arq.list_arqs, True)
    assert [row["uuid"] for row in found] == [
        records.uuid(1),
        records.uuid(2),
    ]
    assert found[1]["attach_handle_uuid"] == records.uuid(1, "b")
    _code, found = _answer(
        capsys, manage_arq.list_arqs, True, states=["Bound"], hostname="cn1"
    )
    assert [row["uuid"] for row in found] == [records.uuid(2)]


def test_nothing_is_left_over(
    connection: sa.Connection,
    profile: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _arq(connection, 1, profile)
    assert _answer(capsys, manage_arq.audit, True) == (0, [])


def test_everything_left_over_is_found(
    connection: sa.Connection,
    profile: int,
    handle: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ids = {
        state: _arq(
            connection, number, profile, state=state, created_at=LONG_AGO
        )
        for number, state in enumerate(
            ("Initial", "BindStarted", "Deleting", "UnbindFailed", "Bound"), 1
        )
    }
    job = {
        "kind": constants.JobKind.CLEANUP.value,
        "arq_id": ids["UnbindFailed"],
    }
    (waiting,) = job_db.create(CONTEXT, [job], None)
    job_db.claim(CONTEXT, waiting, "me", 60)
    job_db.postpone(CONTEXT, waiting, "me", 0, "no such mdev")
    connection.execute(
        sa.update(models.ARQ)
        .where(models.ARQ.id == ids["Bound"])
        .values(instance_uuid=records.uuid(9, "9"))
    )
    bound_db.create(CONTEXT, [records.uuid(9, "9")])
    bound_db.missed(CONTEXT, [records.uuid(9, "9")], 60, 60)
    code, found = _answer(capsys, manage_arq.audit, True)
    assert code == 1
    assert {(row["kind"], row["uuid"]) for row in found} == {
        ("never-bound", records.uuid(1)),
        ("stuck", records.uuid(2)),
        ("stuck", records.uuid(3)),
        ("refused", records.uuid(4)),
        ("orphan", records.uuid(5)),
        ("waiting", waiting),
        ("leaked", records.uuid(1, "b")),
    }
    details = {row["kind"]: row["detail"] for row in found}
    assert details["waiting"] == "clean-up failed 1 times: no such mdev"


def test_what_needs_no_host_is_released_at_once(
    connection: sa.Connection,
    profile: int,
    handle: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection.execute(
        sa.update(models.AttachHandle).values(attach_type="PCI")
    )
    _arq(
        connection,
        1,
        profile,
        state="Bound",
        instance_uuid=records.uuid(9, "9"),
        attach_handle_id=handle,
    )
    with pytest.raises(exception.ARQNotFound, match=records.uuid(7)):
        manage_arq.release(CONTEXT, [records.uuid(1), records.uuid(7)], False)
    assert capsys.readouterr().out == f"{records.uuid(1)}: released\n"
    assert not _in_use(connection, handle)


def test_a_release_waits_for_the_host_unless_forced(
    connection: sa.Connection,
    profile: int,
    handle: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arq = _arq(
        connection,
        1,
        profile,
        state="UnbindFailed",
        attach_handle_id=handle,
    )
    uuids = [records.uuid(1)]
    assert manage_arq.release(CONTEXT, uuids, use_json=True) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"uuid": uuids[0], "outcome": "waits for its host"}
    ]
    assert _in_use(connection, handle)
    # The clean-up begins again.
    assert len(job_db.unfinished_for_arq(CONTEXT, arq)) == 1
    assert manage_arq.release(CONTEXT, uuids, False, force=True) == 0
    assert capsys.readouterr().out == f"{uuids[0]}: released\n"
    assert not _in_use(connection, handle)
    assert not job_db.unfinished_for_arq(CONTEXT, arq)


# -- hosts and services


def _host(connection: sa.Connection, name: str, **values: Any) -> None:
    records.insert(
        connection,
        models.Host,
        **{
            "uuid": records.uuid(int(name[2:]), "6"),
            "hostname": name,
            "forced_down": False,
            "sync_wanted": 0,
            "sync_done": 0,
            "sync_attempts": 0,
        }
        | values,
    )


def test_hosts_and_services_are_listed(
    connection: sa.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    now = timeutils.utcnow().replace(microsecond=0)
    _host(connection, "cn1", last_seen_at=now, rpc_host="one")
    _host(connection, "cn2", last_seen_at=LONG_AGO, sync_wanted=1)
    _host(connection, "cn3", last_seen_at=now, forced_down=True)
    failed = {"name": "gpu", "state": "failed", "error": "no lspci"}
    _host(connection, "cn4", sync_error="away", drivers=json.dumps([failed]))
    records.insert(
        connection,
        models.Conductor,
        uuid=records.uuid(1, "7"),
        host="c1",
        last_seen_at=now,
    )
    _code, hosts = _answer(capsys, manage_host.list_hosts, True)
    shown = [(row["host"], row["state"], row["placement"]) for row in hosts]
    assert shown == [
        ("cn1", "up", "in step"),
        ("cn2", "down", "behind"),
        ("cn3", "down", "in step"),
        ("cn4", "down", "in step"),
    ]
    _code, services = _answer(capsys, manage_host.list_services, True)
    states = {row["host"]: (row["state"], row["error"]) for row in services}
    assert states == {
        "cn1": ("up", None),
        "cn2": ("down", None),
        "cn3": ("down", None),
        "cn4": ("down", "gpu: no lspci; away"),
        "c1": ("up", None),
    }
    assert manage_host.list_hosts(CONTEXT, False) == 0
    header, first, *_rest = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["host", "rpc_host", "state"]
    assert first.split()[:3] == ["cn1", "one", "up"]
    assert "T" in first and first.endswith("-")


# -- hosts that are gone for good


@pytest.fixture
def gone(connection: sa.Connection, handle: int, profile: int) -> str:
    """A host with a card that nobody uses, beside one whose is used."""
    _host(connection, "cn1", last_seen_at=LONG_AGO)
    _host(connection, "cn2", last_seen_at=LONG_AGO)
    records.attribute(connection, 1, 1, "rc", "FPGA")
    # A child, and work that is done.
    child = records.deployable(connection, 2, 1, name="child")
    connection.execute(
        sa.update(models.Deployable)
        .where(models.Deployable.id == child)
        .values(parent_id=1, root_id=1)
    )
    (done,) = job_db.create(
        CONTEXT,
        [{"kind": constants.JobKind.CLEANUP.value, "attach_handle_id": 1}],
        None,
    )
    connection.execute(
        sa.update(models.Job)
        .where(models.Job.uuid == done)
        .values(finished_at=LONG_AGO)
    )
    other = records.device(connection, 3, hostname="cn2")
    deployable = records.deployable(connection, 3, other)
    taken = records.attach_handle(connection, 3, other, deployable)
    _arq(
        connection,
        1,
        profile,
        state="Bound",
        hostname="cn2",
        attach_handle_id=taken,
        deployable_id=deployable,
    )
    return "cn1"


def _counts(connection: sa.Connection) -> dict[str, int]:
    return {
        model.__tablename__: connection.execute(
            sa.select(sa.func.count()).select_from(model)
        ).scalar_one()
        for model in (
            models.Host,
            models.Device,
            models.ControlPathID,
            models.Deployable,
            models.Attribute,
            models.AttachHandle,
            models.Job,
            models.ARQ,
        )
    }


def test_a_host_goes_with_all_it_had(
    connection: sa.Connection, gone: str
) -> None:
    before = _counts(connection)
    removal_db.delete(CONTEXT, gone)
    after = _counts(connection)
    assert {name: before[name] - after[name] for name in before} == {
        "hosts": 1,
        "devices": 1,
        "controlpath_ids": 1,
        "deployables": 2,
        "attributes": 1,
        "attach_handles": 1,
        "jobs": 1,
        "extended_accelerator_requests": 0,
    }
    assert host_db.all_hostnames(CONTEXT) == ["cn2"]


def test_a_host_that_is_referred_to_stays(
    connection: sa.Connection,
    gone: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = _counts(connection)
    with pytest.raises(exception.HostInUse, match="1 accelerator requests"):
        removal_db.delete(CONTEXT, "cn2")
    code, found = _answer(capsys, manage_host.delete, "cn2", True)
    assert (code, [row["uuid"] for row in found]) == (1, [records.uuid(1)])
    assert found[0]["detail"] == "Bound, server -, project p1"
    (job,) = job_db.create(
        CONTEXT,
        [{"kind": constants.JobKind.PROGRAM.value, "deployable_id": 1}],
        60,
    )
    code, found = _answer(capsys, manage_host.delete, gone, True)
    assert (code, [row["uuid"] for row in found]) == (1, [job])
    assert found[0]["detail"] == "program, attempt 0, no error yet"
    with pytest.raises(exception.HostInUse, match="and 1 jobs refer to it"):
        removal_db.delete(CONTEXT, gone)
    assert _counts(connection) == before | {"jobs": before["jobs"] + 1}


@pytest.mark.parametrize(
    ("job", "timeout"),
    [
        ({"kind": "cleanup", "attach_handle_id": 1}, None),
        # It failed, and its card would have to be fenced.
        ({"kind": "program", "deployable_id": 1}, -60),
        ({"kind": "firmware", "device_id": 1}, -60),
    ],
)
def test_what_only_its_agent_could_end_goes_with_a_host(
    connection: sa.Connection, gone: str, job: dict, timeout: float | None
) -> None:
    before = _counts(connection)
    job_db.create(CONTEXT, [job], timeout)
    assert removal_db.users(CONTEXT, gone) == ([], [])
    removal_db.delete(CONTEXT, gone)
    assert _counts(connection)["jobs"] == before["jobs"] - 1
    assert host_db.all_hostnames(CONTEXT) == ["cn2"]


# -- quotas


def test_usages_are_counted_again(
    connection: sa.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = records.device_profile(
        connection, 1, "plain", [{"resources:FPGA": "1"}]
    )
    xilinx = records.device_profile(
        connection,
        2,
        "xilinx",
        [{"resources:FPGA": "2", "trait:CUSTOM_FPGA_XILINX": "required"}],
    )
    states = ["Initial", "BindStarted", "Bound", "BindFailed", "Deleting"]
    for number, state in enumerate(states, 1):
        _arq(connection, number, plain, state=state)
    for number in range(10, 14):
        _arq(connection, number, xilinx, state="Bound", project_id="p2")
    _arq(connection, 20, plain, project_id=None)

    def usage(project: str, resource: str, in_use: int) -> None:
        records.insert(
            connection,
            models.QuotaUsage,
            project_id=project,
            resource=resource,
            in_use=in_use,
            reserved=0,
        )

    usage("p1", "class:FPGA", 9)
    usage("gone", "class:FPGA", 4)
    usage("p1", "FPGA", 5)
    expected = {
        ("gone", "class:FPGA"): (4, 0, 0, 0),
        ("p1", "accelerator_requests"): (0, 2, 0, 2),
        ("p1", "class:FPGA"): (9, 1, 0, 2),
        ("p2", "accelerator_requests"): (0, 4, 0, 0),
        ("p2", "class:FPGA"): (0, 2, 0, 0),
    }
    for dry_run, status in ((True, 1), (False, 0)):
        code, rows = _answer(capsys, manage_quota.recount, True, dry_run)
        assert code == status
        assert {
            (row["project_id"], row["resource"]): (
                row["in_use"],
                row["counted_in_use"],
                row["reserved"],
                row["counted_reserved"],
            )
            for row in rows
        } == expected
    assert _answer(capsys, manage_quota.recount, True, True) == (0, [])
    # A usage of an earlier release means something else.
    stored = connection.execute(
        sa.select(models.QuotaUsage.in_use).where(
            models.QuotaUsage.resource == "FPGA"
        )
    ).scalar_one()
    assert stored == 5


# -- hosts to synchronise


def test_a_host_without_a_row(connection: sa.Connection) -> None:
    with pytest.raises(exception.HostNotFound):
        sync_db.claim(CONTEXT, "cn1", "me", 60)
    records.device(connection, 1)
    claimed = sync_db.claim(CONTEXT, "cn1", "me", 60)
    assert claimed is not None
    assert claimed.sync_owner == "me"
    assert sync_db.claim(CONTEXT, "cn1", "other", 60) is None
    assert list(host_db.all_hostnames(CONTEXT)) == ["cn1"]


def test_slots_spread_the_comparisons(connection: sa.Connection) -> None:
    now = timeutils.utcnow().replace(microsecond=0)

    def synced(seconds: int) -> None:
        connection.execute(
            sa.update(models.Host).values(
                placement_synced_at=now - datetime.timedelta(seconds=seconds)
            )
        )

    for number in range(1, 33):
        _host(connection, f"cn{number}")
    counts = []
    for seconds in (740, 800, 875, 1001):
        synced(seconds)
        counts.append(len(sync_db.due(CONTEXT, 100, 1000)))
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] < 32
    assert counts[3] == 32
    assert len(sync_db.due(CONTEXT, 5, 1000)) == 5


def test_history_of_a_device(
    connection: sa.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    records.device(connection, 7)
    uuid_ = records.uuid(7, "d")
    (device,) = [
        row
        for row in connection.execute(sa.select(models.Device.__table__))
        if row.uuid == uuid_
    ]
    run = manage_device.history
    assert _answer(capsys, run, uuid_, 100, True) == (0, [])
    cards = identity_db.of_devices(CONTEXT, [device.id])
    events.record(
        CONTEXT,
        [
            events.Event(events.Kind.FAILED, uuid_, cards[uuid_], str(number))
            for number in range(3)
        ],
    )
    for limit, shown in ((0, ["0", "1", "2"]), (2, ["1", "2"])):
        code, found = _answer(capsys, run, uuid_, limit, True)
        assert code == 0
        assert [row["why"] for row in found] == shown
    assert found[0]["kind"] == "failed"
    # It is still known when it has gone.
    connection.execute(
        sa.delete(models.Device.__table__).where(models.Device.id == device.id)
    )
    assert len(_answer(capsys, run, uuid_, 0, True)[1]) == 3
    with pytest.raises(exception.DeviceNotFound):
        run(CONTEXT, records.uuid(8, "d"), 0, True)


def test_a_host_that_nobody_reported_looks_at_nothing(
    connection: sa.Connection,
) -> None:
    with pytest.raises(exception.HostNotFound, match="cn9"):
        manage_host.discover(CONTEXT, "cn9")
