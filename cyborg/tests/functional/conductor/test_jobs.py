"""Work on hosts: bind, program and clean up, through failure and takeover."""

from collections.abc import Iterator
import contextlib
import json
import threading
import time
import uuid

from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_db import exception as db_exception
import oslo_messaging as messaging
import pytest
import sqlalchemy as sa

from cyborg.agent import rpcapi
from cyborg.clients import glance
from cyborg.clients import nova
from cyborg.common import exception
from cyborg.common.states import Reason
from cyborg.conductor.requests import binding
from cyborg.conductor.work import jobs
from cyborg.conductor.work import programming
from cyborg.conductor.work import steps
from cyborg.db import attach_handle as handle_db
from cyborg.db import engine
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.objects import report
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import standin
from cyborg.tests.fixtures.inventory import HOST
from cyborg.tests.fixtures.inventory import PROJECT

CONF = cfg.CONF
IMAGE = "11111111-1111-4111-8111-111111111111"
OTHER_IMAGE = "22222222-2222-4222-8222-222222222222"
# Of the card of inventory.device().
CPID = {
    "cpid_type": "PCI",
    "cpid_info": {
        "domain": "0000",
        "bus": "0c",
        "device": "00",
        "function": "0",
    },
}


@standin.of(rpcapi.AgentAPI)
class Agent:
    """The far end of RPC: what was asked of it, and what it answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.errors: list[Exception | None] = []
        self.code = 0
        self.sequences: list[int] = []
        self.fenced: list[dict | None] = []

    def _note(self, sequence: int) -> None:
        self.sequences.append(sequence)

    def _answer(self, name: str, what: str) -> None:
        self.calls.append((name, what))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def prepare_handle(
        self,
        context,
        rpc_host,
        *,
        handle,
        sequence,
        timeout,
        rpc_version="1.1",
    ):
        self._note(sequence)
        self._answer("prepare", handle["uuid"])

    def cleanup_handle(
        self,
        context,
        rpc_host,
        *,
        handle,
        sequence,
        controlpath_id,
        timeout,
        rpc_version="1.1",
    ):
        self._note(sequence)
        self.fenced.append(controlpath_id)
        self._answer("cleanup", handle["uuid"])

    def fence(
        self,
        context,
        rpc_host,
        *,
        controlpath_id,
        sequence,
        timeout,
        rpc_version="1.1",
    ):
        self._note(sequence)
        self._answer("fence", rpc_host)

    def program(
        self,
        context,
        rpc_host,
        *,
        job_uuid,
        controlpath_id,
        image,
        driver_name,
        sequence,
        timeout,
        rpc_version="1.1",
    ):
        self._note(sequence)
        self._answer("program", image["id"])
        return {"code": self.code, "detail": "the card said no"}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent, and a Glance that has two images of the operator's."""
    monkeypatch.setattr(glance, "own_project", lambda: "operators")

    def get_image(image_id: str, request_id: str | None = None) -> dict:
        if image_id not in (IMAGE, OTHER_IMAGE):
            raise exception.ImageNotFound(image=image_id)
        return {
            "id": image_id,
            "status": "active",
            "visibility": "public",
            "owner": "operators",
            "size": 3,
            "checksum": "x",
            "accel:function_id": f"fn-{image_id[:1]}",
            "tags": ["FPGA"],
            "name": "gzip" if image_id == IMAGE else "aes",
            "function_name": "compress" if image_id == IMAGE else "encrypt",
        }

    def find_images(request_id: str | None = None, **wanted: str) -> list:
        return [
            image
            for image in map(get_image, (IMAGE, OTHER_IMAGE))
            if all(image.get(key) == value for key, value in wanted.items())
        ]

    monkeypatch.setattr(glance, "get_image", get_image)
    monkeypatch.setattr(glance, "find_images", find_images)
    yield Agent()


def _run_due(store: inventory.Store, agent: Agent) -> None:
    """Do the jobs that are due, as a conductor would."""
    for uuid_ in job_db.due(store.context, 100):
        job = job_db.claim(store.context, uuid_, "me", 30)
        assert job is not None
        with contextlib.suppress(steps.Cancelled):
            try:
                steps.do(store.context, job, agent)
            except steps.TryLater as error:
                job_db.postpone(
                    store.context, uuid_, "me", error.delay or 0, str(error)
                )


def _mdev(store: inventory.Store, handles: int = 1) -> str:
    (rp_uuid,) = store.report(
        inventory.device(handles=handles, attach_type="MDEV", kind="GPU")
    )
    return rp_uuid


def _why(store: inventory.Store) -> list[tuple[str | None, str | None]]:
    return [
        (row.state_reason, row.state_detail) for row in store.rows(models.ARQ)
    ]


def _events(store: inventory.Store) -> list[str]:
    return [row.status for row in store.rows(models.Notification)]


def test_an_mdev_is_made_then_bound_and_removed(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    arqs = store.arqs(1)
    instance = store.bind(arqs, rp_uuid)
    _run_due(store, agent)
    assert store.states() == ["Bound"]
    assert _events(store) == ["completed"]
    assert store.rows(models.Job) == []
    store.delete(instance=instance)
    assert store.states() == ["Deleting"]
    assert store.rows(models.BoundInstance) == []
    _run_due(store, agent)
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0
    (handle,) = store.rows(models.AttachHandle)
    assert agent.calls == [("prepare", handle.uuid), ("cleanup", handle.uuid)]


def test_an_agent_that_is_away_is_asked_again(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    store.bind(store.arqs(1), rp_uuid)
    agent.errors = [exception.AgentNotResponding(host=HOST)]
    _run_due(store, agent)
    assert store.states() == ["BindStarted"]
    _run_due(store, agent)
    assert store.states() == ["Bound"]


def test_an_agent_that_is_silent_is_not_asked(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    instance = store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    store.delete(instance=instance)
    asked = len(agent.calls)

    def seen(ago: float) -> None:
        store.execute(
            sa.update(models.Host.__table__).values(
                last_seen_at=engine.ago(ago)
            )
        )

    seen(CONF.conductor.service_down_time + 5)
    _run_due(store, agent)
    assert len(agent.calls) == asked
    (job,) = store.rows(models.Job)
    assert "silent" in job.last_error
    # It is heard of again.
    seen(0)
    _run_due(store, agent)
    assert agent.calls[-1][0] == "cleanup"
    assert store.rows(models.ARQ) == []


def test_a_refused_bind_fails_and_frees_its_handle(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    store.bind(store.arqs(1), rp_uuid)
    agent.errors = [exception.DriverError(reason="no such type")]
    _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert _why(store) == [(Reason.UNPREPARED, "no such type")]
    assert _events(store) == ["failed"]
    assert store.in_use() == 1
    _run_due(store, agent)
    assert store.in_use() == 0
    assert store.rows(models.Job) == []


def test_a_bind_past_its_deadline_fails(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    store.bind(store.arqs(1), rp_uuid)
    store.execute(
        sa.update(models.Job.__table__).values(
            deadline_at=models.Job.__table__.c.created_at
        )
    )
    time.sleep(1.1)
    _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert _why(store) == [(Reason.LATE, "it was not ready in time")]
    assert agent.calls == []


def test_a_cancelled_bind_is_undone(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    (uuid_,) = job_db.due(store.context, 1)
    job = job_db.claim(store.context, uuid_, "me", 30)
    store.delete(arqs)
    with pytest.raises(steps.Cancelled):
        steps.do(store.context, job, agent)
    assert store.states() == ["Deleting"]
    _run_due(store, agent)
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0
    assert _events(store) == []


def test_an_unbind_while_the_mdev_is_made_undoes_it(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _mdev(store)
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    prepare = agent.prepare_handle

    def prepare_slowly(*args: object, **kwargs: object) -> None:
        binding.unbind(store.context, arqs, PROJECT)
        prepare(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(agent, "prepare_handle", prepare_slowly)
        _run_due(store, agent)
    assert store.states() == ["Unbound"]
    assert store.in_use() == 1
    _run_due(store, agent)
    assert store.in_use() == 0
    assert [name for name, _ in agent.calls] == ["prepare", "cleanup"]
    assert _events(store) == []
    store.bind(arqs, rp_uuid)
    _run_due(store, agent)
    assert store.states() == ["Bound"]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (exception.DriverError(reason="busy"), "busy"),
        (
            messaging.RemoteError("NVMLError", "lost", ["Traceback"]),
            "NVMLError: lost",
        ),
        (ValueError("0x1g"), "ValueError: 0x1g"),
        (KeyError("bus"), "KeyError: bus"),
    ],
    ids=["driver", "remote", "value", "key"],
)
def test_what_an_agent_keeps_refusing_is_left_to_the_operator(
    store: inventory.Store, agent: Agent, error: Exception, detail: str
) -> None:
    rp_uuid = _mdev(store)
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    _run_due(store, agent)
    binding.unbind(store.context, arqs, PROJECT)
    with pytest.raises(exception.HandleBeingCleaned):
        store.bind(arqs, rp_uuid)
    agent.errors = [error] * steps.REFUSALS
    for _ in range(steps.REFUSALS):
        store.execute(
            sa.update(models.Job.__table__).values(
                lease_expires_at=models.Job.__table__.c.created_at
            )
        )
        _run_due(store, agent)
    assert store.states() == ["UnbindFailed"]
    assert _why(store) == [(Reason.UNCLEAN, detail)]
    assert store.in_use() == 1
    (job,) = store.rows(models.Job)
    assert job.last_error == detail
    # Asking again starts again.
    store.delete(arqs)
    assert _why(store) == [(None, None)]
    _run_due(store, agent)
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0


def test_a_refusal_that_is_stored_again_counts_once(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    arqs = store.arqs(1)
    store.bind(arqs, _mdev(store))
    _run_due(store, agent)
    store.delete(arqs)
    agent.errors = [exception.DriverError(reason="busy")]
    collisions = [1, 2, 3]
    advance = job_db.advance

    def collide(*args: object) -> bool:
        if collisions:
            collisions.pop()
            raise db_exception.DBDeadlock()
        return advance(*args)

    monkeypatch.setattr(job_db, "advance", collide)
    _run_due(store, agent)
    (job,) = store.rows(models.Job)
    assert json.loads(job.payload) == {"refusals": 1}


def test_a_handle_of_nobody_is_cleaned_however_often_it_takes(
    store: inventory.Store, agent: Agent
) -> None:
    _mdev(store)
    (handle,) = store.rows(models.AttachHandle)
    store.execute(sa.update(models.AttachHandle.__table__).values(in_use=True))
    job_db.create(
        store.context,
        [
            {
                "kind": "cleanup",
                "deployable_id": handle.deployable_id,
                "attach_handle_id": handle.id,
            }
        ],
        None,
    )
    refused = steps.REFUSALS + 1
    agent.errors = [exception.DriverError(reason="busy")] * refused
    for _ in range(refused):
        _run_due(store, agent)
    assert store.in_use() == 1
    _run_due(store, agent)
    assert store.in_use() == 0
    assert store.rows(models.Job) == []


def test_two_conductors_do_a_job_once(store: inventory.Store) -> None:
    store.bind(store.arqs(1), _mdev(store))
    (uuid_,) = job_db.due(store.context, 1)
    assert job_db.claim(store.context, uuid_, "one", 30) is not None
    assert job_db.claim(store.context, uuid_, "two", 30) is None
    assert job_db.due(store.context, 1) == []
    # Its lease runs out; the other one takes over and the first has lost.
    store.execute(
        sa.update(models.Job.__table__).values(
            lease_expires_at=models.Job.__table__.c.created_at
        )
    )
    assert job_db.claim(store.context, uuid_, "two", 30) is not None
    assert not job_db.advance(store.context, uuid_, "one", "Preparing")


def test_work_on_a_handle_bears_numbers_that_grow(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store)
    for _ in range(2):
        instance = store.bind(store.arqs(1), rp_uuid)
        _run_due(store, agent)
        store.delete(instance=instance)
        _run_due(store, agent)
    assert len(set(agent.sequences)) == 4
    assert agent.sequences == sorted(agent.sequences)


def test_work_that_is_ours_and_refused_as_old_gets_a_new_number(
    store: inventory.Store, agent: Agent
) -> None:
    store.bind(store.arqs(1), _mdev(store))
    agent.errors = [
        exception.Overtaken(subject="x", sequence=1, latest=2) for _ in "ab"
    ]
    for _ in range(3):
        _run_due(store, agent)
    assert store.states() == ["Bound"]
    first, second, third = agent.sequences
    assert first < second < third
    assert store.rows(models.Job) == []


def test_a_restored_database_goes_on_beyond_what_agents_have_seen(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store, 2)
    store.bind(store.arqs(1), rp_uuid)
    seen = 10**6
    agent.errors = [exception.Overtaken(subject="x", sequence=1, latest=seen)]
    for _ in range(2):
        _run_due(store, agent)
    assert store.states() == ["Bound"]
    store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    assert store.states() == ["Bound", "Bound"]
    # At once, and so does all that comes after.
    assert len(agent.sequences) == 3
    assert agent.sequences[1] > seen
    assert agent.sequences[2] > agent.sequences[1]


def test_work_that_is_another_s_is_not_given_a_new_number(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    arqs = store.arqs(1)
    store.bind(arqs, _mdev(store))
    (uuid_,) = job_db.due(store.context, 1)
    job = job_db.claim(store.context, uuid_, "me", 30)

    def late(*args: object, **kwargs: object) -> None:
        store.delete(arqs)
        raise exception.Overtaken(subject="x", sequence=1, latest=2)

    monkeypatch.setattr(agent, "prepare_handle", late)
    with pytest.raises(steps.Cancelled):
        steps.do(store.context, job, agent)
    assert [row.kind for row in store.rows(models.Job)] == ["cleanup"]


def test_an_agent_that_is_away_does_not_refuse(
    store: inventory.Store, agent: Agent
) -> None:
    arqs = store.arqs(1)
    store.bind(arqs, _mdev(store))
    _run_due(store, agent)
    store.delete(arqs)
    agent.errors = [
        *(
            exception.AgentNotResponding(host=HOST)
            for _ in range(steps.REFUSALS)
        ),
        exception.DriverError(reason="busy"),
    ]
    for _ in range(steps.REFUSALS + 1):
        _run_due(store, agent)
    assert store.states() == ["Deleting"]
    _run_due(store, agent)
    assert store.rows(models.ARQ) == []


def test_a_vgpu_on_a_virtual_function_is_made_and_removed(
    store: inventory.Store, agent: Agent
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=2, attach_type="PCI", kind="GPU")
    )
    (_plain, handle) = store.rows(models.AttachHandle)
    info = json.loads(handle.attach_info) | {"asked_type": "nvidia-699"}
    store.execute(
        sa.update(models.AttachHandle.__table__)
        .where(models.AttachHandle.id == handle.id)
        .values(attach_info=json.dumps(info))
    )
    plain, made = store.bind(store.arqs(1), rp_uuid), store.arqs(1)
    instance = store.bind(made, rp_uuid)
    assert store.states() == ["Bound", "BindStarted"]
    _run_due(store, agent)
    assert store.states() == ["Bound", "Bound"]
    store.delete(instance=plain)
    assert store.in_use() == 1
    store.delete(instance=instance)
    assert store.states() == ["Deleting"]
    _run_due(store, agent)
    assert store.in_use() == 0
    assert agent.calls == [("prepare", handle.uuid), ("cleanup", handle.uuid)]


# -- programming


def _fpga(store: inventory.Store, handles: int = 2) -> str:
    (rp_uuid,) = store.report(inventory.device(handles=handles))
    return rp_uuid


def test_a_bitstream_is_loaded_once(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store, handles=3)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    assert store.states() == ["BindStarted"]
    _run_due(store, agent)
    assert store.states() == ["Bound"]
    (deployable,) = store.rows(models.Deployable)
    assert deployable.bitstream_id == IMAGE
    traits = {
        row.value
        for row in store.rows(models.Attribute)
        if row.origin == "bind"
    }
    assert traits == {"CUSTOM_FPGA_FUNCTION_ID_FAKE_FN_1"}
    # Loaded already: bound at once, by image or by function.
    store.bind(store.arqs(profile=profile), rp_uuid)
    function = store.profile(1, **{"accel:function_id": "fn-1"})
    store.bind(store.arqs(profile=function), rp_uuid)
    assert store.states() == ["Bound", "Bound", "Bound"]
    assert agent.calls == [("program", IMAGE)]


def test_two_binds_of_one_image_load_it_once(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:function_id": "fn-1"})
    for _ in range(2):
        store.bind(store.arqs(profile=profile), rp_uuid)
    _run_due(store, agent)
    assert store.states() == ["Bound", "Bound"]
    assert agent.calls == [("program", IMAGE)]


def _found(functions: str) -> report.DriverDevice:
    """Return a card whose driver finds functions on it."""
    card = inventory.device(handles=3)
    attributes = card.deployable_list[0].attribute_list
    assert attributes is not None
    attributes += [
        report.DriverAttribute(
            key=f"trait{number}",
            value=f"CUSTOM_FPGA_FUNCTION_ID_FAKE_{function}",
        )
        for number, function in enumerate(functions.split(), 1)
    ]
    return card


def test_a_function_that_the_card_reports_is_not_loaded(
    store: inventory.Store, agent: Agent
) -> None:
    (rp_uuid,) = store.report(_found("FN1 FN9"))
    # In use already, by one who asked for nothing.
    store.bind(store.arqs(1), rp_uuid)
    for key, value in (
        ("accel:function_id", "fn-1"),
        ("accel:function:CUSTOM_FPGA_FUNCTION_FAKE_FN_9", "required"),
    ):
        profile = store.profile(1, **{key: value})
        store.bind(store.arqs(profile=profile), rp_uuid)
    assert store.states() == ["Bound"] * 3
    assert agent.calls == []


def test_what_is_overwritten_is_not_believed_any_more(
    store: inventory.Store, agent: Agent
) -> None:
    (rp_uuid,) = store.report(_found("FN2"))
    profile = store.profile(1, **{"accel:function_id": "fn-1"})
    first = store.arqs(profile=profile)
    store.bind(first, rp_uuid)
    _run_due(store, agent)
    # The next heartbeat asks for what the driver finds now.
    assert store.rows(models.Host)[0].report_digest is None
    other = store.arqs(
        profile=store.profile(1, **{"accel:function_id": "fn-2"})
    )
    with pytest.raises(exception.OtherImageInUse):
        store.bind(other, rp_uuid)
    store.delete(first)
    store.bind(other, rp_uuid)
    _run_due(store, agent)
    assert agent.calls == [("program", IMAGE), ("program", OTHER_IMAGE)]


@pytest.mark.parametrize(
    "keys",
    [
        {"accel:bitstream_name": "gzip"},
        {"accel:function_name": "compress"},
        {"accel:function_name:compress": "required"},
    ],
)
def test_a_second_server_by_name_shares_the_card(
    store: inventory.Store, agent: Agent, keys: dict[str, str]
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **keys)
    for _ in range(2):
        (arq,) = store.arqs(profile=profile)
        store.conductor.arqs_bind(
            store.context,
            [
                {
                    "uuid": arq,
                    "hostname": HOST,
                    "device_rp_uuid": rp_uuid,
                    "instance_uuid": str(uuid.uuid4()),
                }
            ],
            PROJECT,
        )
        _run_due(store, agent)
    assert store.states() == ["Bound", "Bound"]
    assert agent.calls == [("program", IMAGE)]


@pytest.mark.parametrize(
    ("record", "is_loaded"),
    [
        ({"visibility": "private", "owner": "stranger"}, False),
        ({"visibility": "community", "owner": "stranger"}, False),
        ({"visibility": "community", "owner": PROJECT}, True),
        ({"visibility": "private", "owner": "operators"}, True),
    ],
)
def test_whose_images_are_loaded(
    store: inventory.Store,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    record: dict[str, str],
    is_loaded: bool,
) -> None:
    known = glance.get_image
    monkeypatch.setattr(glance, "get_image", lambda id_: known(id_) | record)
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    _run_due(store, agent)
    assert agent.calls == ([("program", IMAGE)] if is_loaded else [])
    # An administrator of that project may do as much, and no more.
    (deployable,) = store.rows(models.Deployable)
    with pytest.raises(
        exception.DeployableInUse if is_loaded else exception.ImageUnacceptable
    ):
        programming.program(store.context, deployable.uuid, IMAGE)


def test_an_image_that_changes_hands_meanwhile_is_not_loaded(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    known = glance.get_image
    asked: list[str] = []

    def get_image(image_id: str) -> dict:
        asked.append(image_id)
        return known(image_id) | {"owner": f"owner-{len(asked)}"}

    monkeypatch.setattr(glance, "get_image", get_image)
    _run_due(store, agent)
    _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert [name for name, _what in agent.calls] == ["cleanup"]


def _xilinx(store: inventory.Store) -> str:
    card = inventory.device(handles=2)
    card.deployable_list[0].driver_name = "XILINX"
    card.deployable_list[0].num_accelerators = 1
    (rp_uuid,) = store.report(card)
    return rp_uuid


def test_the_management_function_is_not_given_alone(
    store: inventory.Store,
) -> None:
    rp_uuid = _xilinx(store)
    profile = store.profile(1)
    store.bind(store.arqs(profile=profile), rp_uuid)
    management, user = store.rows(models.AttachHandle)
    assert (management.in_use, user.in_use) == (False, True)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(profile=profile), rp_uuid)


def test_a_card_of_two_functions_is_given_whole(
    store: inventory.Store,
) -> None:
    rp_uuid = _xilinx(store)
    profile = store.profile(1, **{"trait:CUSTOM_FPGA_XILINX": "required"})
    store.bind(store.arqs(profile=profile), rp_uuid)
    assert [row.in_use for row in store.rows(models.AttachHandle)] == [
        True,
        True,
    ]


def test_a_card_in_use_is_not_programmed(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    plain = store.arqs(1)
    store.bind(plain, rp_uuid)
    one = store.arqs(profile=store.profile(1, **{"accel:bitstream_id": IMAGE}))
    with pytest.raises(exception.OtherImageInUse):
        store.bind(one, rp_uuid)
    store.delete(plain)
    store.bind(one, rp_uuid)
    other = store.arqs(
        profile=store.profile(1, **{"accel:bitstream_id": OTHER_IMAGE})
    )
    with pytest.raises(exception.OtherImageInUse):
        store.bind(other, rp_uuid)
    with pytest.raises(exception.OtherImageInUse):
        store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    with pytest.raises(exception.OtherImageInUse):
        store.bind(other, rp_uuid)


def test_programming_that_fails_is_no_success(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    agent.code = 1
    _run_due(store, agent)
    _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert _events(store) == ["failed"]
    assert store.in_use() == 0
    assert store.rows(models.Deployable)[0].bitstream_id is None


def test_a_card_being_loaded_has_nothing_to_count_on(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    one, other = (
        store.profile(1, **{"accel:bitstream_id": image})
        for image in (IMAGE, OTHER_IMAGE)
    )
    first = store.bind(store.arqs(profile=one), rp_uuid)
    _run_due(store, agent)
    store.delete(instance=first)
    # A conductor that dies here does not tell what the card has now.
    arqs = store.arqs(profile=other)
    store.bind(arqs, rp_uuid)
    (uuid_,) = job_db.due(store.context, 1)
    job = job_db.claim(store.context, uuid_, "me", 30)
    load = agent.program

    def program(*args: object, **kwargs: object) -> dict:
        assert store.rows(models.Deployable)[0].bitstream_id is None
        assert "bind" not in {
            row.origin for row in store.rows(models.Attribute)
        }
        store.delete(arqs)
        return load(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(agent, "program", program)
        with pytest.raises(steps.Cancelled):
            steps.do(store.context, job, agent)
    assert store.rows(models.Deployable)[0].bitstream_id is None
    # Nobody gets the card before the host says that it is left alone.
    with pytest.raises(exception.OtherImageInUse):
        store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    assert agent.fenced == [CPID]
    # What was loaded once is loaded again.
    store.bind(store.arqs(profile=one), rp_uuid)
    _run_due(store, agent)
    assert [what for name, what in agent.calls if name == "program"] == [
        IMAGE,
        OTHER_IMAGE,
        IMAGE,
    ]


def test_a_card_is_fenced_though_its_arq_has_other_work(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    arqs = store.arqs(
        profile=store.profile(1, **{"accel:bitstream_id": IMAGE})
    )
    context = store.context
    context.is_admin = True
    bindings = [
        binding.Binding(arqs[0], HOST, rp_uuid, str(uuid.uuid4())),
    ]
    binding.bind(context, bindings, None)
    # Whose server it is has to be found out, too.
    assert [row.kind for row in store.rows(models.Job)] == ["bind", "owner"]
    store.delete(arqs)
    (job,) = store.rows(models.Job)
    assert json.loads(job.payload) == {
        "image": {"id": IMAGE},
        # Nobody has begun it.
        "untouched": True,
    }
    _run_due(store, agent)
    assert agent.fenced == [CPID]


def test_an_image_that_is_not_there_fails_the_bind(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:function_id": "unknown"})
    store.bind(store.arqs(profile=profile), rp_uuid)
    _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert [short for short, _ in _why(store)] == [Reason.IMAGE]
    assert agent.calls == []


def test_both_image_ids_can_never_bind(store: inventory.Store) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(
        1, **{"accel:bitstream_id": IMAGE, "accel:function_id": "fn-1"}
    )
    with pytest.raises(exception.Invalid, match="accel:function_id"):
        store.bind(store.arqs(profile=profile), rp_uuid)
    assert store.states() == ["Initial"]


def test_an_administrator_programs(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    with pytest.raises(exception.ImageNotFound):
        programming.program(store.context, deployable.uuid, str(uuid.uuid4()))
    job = programming.program(store.context, deployable.uuid, IMAGE)
    with pytest.raises(exception.DeployableInUse):
        programming.program(store.context, deployable.uuid, IMAGE)
    with pytest.raises(exception.DeployableInUse):
        store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    programming.wait(store.context, deployable.uuid, job)
    assert store.rows(models.Deployable)[0].bitstream_id == IMAGE
    # Its result stays until the next one.
    assert [row.step for row in store.rows(models.Job)] == ["done"]
    agent.code = 1
    job = programming.program(store.context, deployable.uuid, OTHER_IMAGE)
    _run_due(store, agent)
    with pytest.raises(exception.ProgrammingFailed, match="the card said no"):
        programming.wait(store.context, deployable.uuid, job)
    assert [row.step for row in store.rows(models.Job)] == ["failed"]
    store.bind(store.arqs(1), rp_uuid)
    with pytest.raises(exception.DeployableInUse):
        programming.program(store.context, deployable.uuid, IMAGE)


def _bind_unseen(store: inventory.Store, rp_uuid: str) -> None:
    """Bind as if it had looked before the job was there.

    So it may on another node of a cluster, where the lock is another one.
    """
    table = models.Job.__table__
    store.execute(sa.update(table).values(finished_at=table.c.created_at))
    store.bind(store.arqs(1), rp_uuid)
    store.execute(sa.update(table).values(finished_at=None))


def test_a_card_is_not_programmed_under_a_bind_that_was_under_way(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    programming.program(store.context, deployable.uuid, IMAGE)
    _bind_unseen(store, rp_uuid)
    _run_due(store, agent)
    (job,) = store.rows(models.Job)
    assert (job.step, job.last_error) == (
        "failed",
        "an accelerator request uses the deployable",
    )
    assert agent.calls == []


def test_a_card_that_may_be_loaded_yet_is_nobody_s(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    programming.program(store.context, deployable.uuid, IMAGE)
    away = exception.AgentNotResponding(host=HOST)
    agent.errors = [away, away, None]
    _run_due(store, agent)
    jobs_table = models.Job.__table__
    store.execute(
        sa.update(jobs_table).values(deadline_at=jobs_table.c.created_at)
    )
    time.sleep(1.1)
    for _ in range(2):
        _run_due(store, agent)
        with pytest.raises(exception.DeployableInUse):
            store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    assert [name for name, _ in agent.calls] == ["program", "fence", "fence"]
    assert agent.sequences[0] < agent.sequences[1]
    (job,) = store.rows(models.Job)
    assert (job.step, job.last_error) == ("failed", "it was not done in time")
    store.bind(store.arqs(1), rp_uuid)


def test_a_load_whose_first_call_outlasts_the_deadline_is_fenced(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    programming.program(store.context, deployable.uuid, IMAGE)

    def program(*args: object, **kwargs: object) -> dict:
        monkeypatch.setattr(steps.Work, "is_late", lambda work: True)
        raise exception.AgentNotResponding(host=HOST)

    monkeypatch.setattr(agent, "program", program)
    _run_due(store, agent)
    assert [row.step for row in store.rows(models.Job)] == ["Fencing"]
    with pytest.raises(exception.DeployableInUse):
        store.bind(store.arqs(1), rp_uuid)
    _run_due(store, agent)
    assert agent.calls == [("fence", HOST)]
    assert [row.step for row in store.rows(models.Job)] == ["failed"]


def test_a_result_that_was_replaced_is_no_success(
    store: inventory.Store, agent: Agent
) -> None:
    _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    agent.code = 1
    job = programming.program(store.context, deployable.uuid, IMAGE)
    _run_due(store, agent)
    programming.program(store.context, deployable.uuid, IMAGE)
    with pytest.raises(exception.ProgrammingFailed, match="later request"):
        programming.wait(store.context, deployable.uuid, job)


def test_a_request_to_load_whose_answer_is_lost_is_one_job(
    store: inventory.Store, agent: Agent
) -> None:
    _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    (device,) = store.rows(models.Device)
    with inventory.lost_answer():
        job = programming.program(store.context, deployable.uuid, IMAGE)
    assert [row.uuid for row in store.rows(models.Job)] == [job]
    _run_due(store, agent)
    with inventory.lost_answer():
        programming.update_firmware(store.context, device.uuid, IMAGE)
    assert [row.kind for row in store.rows(models.Job)] == [
        "program",
        "firmware",
    ]


def test_an_owner_that_is_found_late_is_not_another_server_s(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    arqs = store.arqs(1)
    admin = store.context
    admin.is_admin = True

    def bind() -> str:
        instance = str(uuid.uuid4())
        binding.bind(
            admin, [binding.Binding(arqs[0], HOST, rp_uuid, instance)], None
        )
        return instance

    def find_owner(instance: str) -> str:
        if instance == first:
            binding.unbind(admin, arqs, None)
            bind()
            return "owner of the first"
        return "owner of the second"

    monkeypatch.setattr(nova, "find_owner", find_owner)
    first = bind()
    _run_due(store, agent)
    assert [row.project_id for row in store.rows(models.ARQ)] == [PROJECT]
    _run_due(store, agent)
    assert [row.project_id for row in store.rows(models.ARQ)] == [
        "owner of the second"
    ]
    assert store.rows(models.Job) == []


def test_a_card_without_control_path_is_not_loaded(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _fpga(store)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    # As an earlier release left it that was cut short.
    other = models.Device.__table__.alias()
    store.execute(
        sa.insert(models.Device.__table__).from_select(
            ["uuid", "type", "vendor", "model", "hostname", "status"],
            sa.select(
                sa.literal(str(uuid.uuid4())),
                other.c.type,
                other.c.vendor,
                other.c.model,
                sa.literal("nowhere"),
                other.c.status,
            ),
        )
    )
    store.execute(
        sa.update(models.ControlPathID.__table__).values(
            device_id=store.rows(models.Device)[-1].id
        )
    )
    for _ in range(2):
        _run_due(store, agent)
    assert store.states() == ["BindFailed"]
    assert store.in_use() == 0
    assert agent.calls == [
        ("cleanup", store.rows(models.AttachHandle)[0].uuid)
    ]
    assert agent.fenced == [None]


def _firmware(store: inventory.Store) -> None:
    (device,) = store.rows(models.Device)
    programming.update_firmware(store.context, device.uuid, IMAGE)


def test_a_device_is_not_bound_while_its_firmware_is_changed(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=2, attach_type="PCI", kind="GPU")
    )
    _firmware(store)
    with pytest.raises(exception.DeployableInUse):
        store.bind(store.arqs(1), rp_uuid)
    monkeypatch.setattr(
        agent,
        "device_update",
        lambda *args, **kwargs: {"code": 0},
        raising=False,
    )
    _run_due(store, agent)
    (job,) = store.rows(models.Job)
    assert (job.step, job.last_error) == ("done", None)
    store.bind(store.arqs(1), rp_uuid)


def test_other_firmware_takes_what_was_loaded(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _fpga(store)
    (deployable,) = store.rows(models.Deployable)
    programming.program(store.context, deployable.uuid, IMAGE)
    _run_due(store, agent)
    _firmware(store)
    with pytest.raises(exception.DeployableInUse):
        programming.program(store.context, deployable.uuid, IMAGE)
    monkeypatch.setattr(
        agent,
        "device_update",
        lambda *args, **kwargs: {"code": 0},
        raising=False,
    )
    _run_due(store, agent)
    (deployable,) = store.rows(models.Deployable)
    assert deployable.bitstream_id is None
    assert {row.origin for row in store.rows(models.Attribute)} == {"driver"}
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(profile=profile), rp_uuid)
    assert store.states() == ["BindStarted"]


def test_firmware_is_not_changed_under_a_bind_that_was_under_way(
    store: inventory.Store, agent: Agent
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=2, attach_type="PCI", kind="GPU")
    )
    _firmware(store)
    _bind_unseen(store, rp_uuid)
    _run_due(store, agent)
    (job,) = store.rows(models.Job)
    assert (job.step, job.last_error) == (
        "failed",
        "an accelerator request uses the device",
    )


# SQLite has one writer at a time.
@pytest.mark.parametrize(
    "database_url", ["mysql", "postgresql"], indirect=True
)
def test_a_bind_that_looked_before_firmware_is_changed_gets_nothing(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=2, attach_type="PCI", kind="GPU")
    )
    arqs = store.arqs(1)
    take = handle_db.take

    def take_late(*args: object) -> object:
        monkeypatch.setattr(handle_db, "take", take)
        _firmware(store)
        _run_due(store, agent)
        return take(*args)

    def away(*args: object, **kwargs: object) -> dict:
        raise exception.AgentNotResponding(host=HOST)

    monkeypatch.setattr(handle_db, "take", take_late)
    monkeypatch.setattr(agent, "device_update", away, raising=False)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(arqs, rp_uuid)
    assert store.states() == ["Initial"]
    assert [row.step for row in store.rows(models.Job)] == ["Programming"]


@pytest.mark.parametrize(
    "values",
    [
        {"last_seen_at": sa.text("'2020-01-01 00:00:00'")},
        {"forced_down": True},
    ],
)
def test_work_for_a_host_that_is_down_is_refused(
    store: inventory.Store, values: dict
) -> None:
    rp_uuid = _mdev(store)
    store.execute(sa.update(models.Host.__table__).values(values))
    with pytest.raises(exception.AgentDown):
        store.bind(store.arqs(1), rp_uuid)
    assert store.in_use() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_runner_works_in_threads_until_all_is_done(
    store: inventory.Store, agent: Agent
) -> None:
    rp_uuid = _mdev(store, handles=8)
    for _ in range(8):
        store.bind(store.arqs(1), rp_uuid)
    done = []
    runner = jobs.JobRunner(agent, lambda: done.append(1))
    runner.start()
    runner.wake()
    end = time.monotonic() + 20
    while "BindStarted" in store.states() and time.monotonic() < end:
        time.sleep(0.05)
    runner.stop()
    assert store.states() == ["Bound"] * 8
    assert len(done) >= 8
    payloads = [json.loads(row.payload) for row in store.rows(models.Job)]
    assert payloads == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_runner_does_not_take_over_from_itself(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp_uuid = _mdev(store, handles=2)
    go_on = threading.Event()
    prepared: list[str] = []

    def prepare(context: object, rpc_host: str, *, handle: dict, **_: object):
        prepared.append(handle["uuid"])
        if len(prepared) == 1:
            go_on.wait(30)

    monkeypatch.setattr(agent, "prepare_handle", prepare)
    store.bind(store.arqs(1), rp_uuid)
    runner = jobs.JobRunner(agent, lambda: None)
    runner.start()

    def wait_for(states: list[str], calls: int) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and (
            store.states() != states or len(prepared) < calls
        ):
            time.sleep(0.05)

    wait_for(["BindStarted"], 1)
    # The database was away for so long that the lease has run out.
    table = models.Job.__table__
    store.execute(sa.update(table).values(lease_expires_at=engine.ago(60)))
    store.bind(store.arqs(1), rp_uuid)
    runner.wake()
    wait_for(["BindStarted", "Bound"], 2)
    go_on.set()
    wait_for(["Bound", "Bound"], 2)
    runner.stop()
    assert store.states() == ["Bound", "Bound"]
    assert len(prepared) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bind_waits_for_no_thread_past_its_deadline(
    store: inventory.Store,
    agent: Agent,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config.config(thread_pool_size=1)
    rp_uuid = _mdev(store, handles=2)
    go_on = threading.Event()
    monkeypatch.setattr(
        agent, "prepare_handle", lambda *args, **kwargs: go_on.wait(30)
    )
    store.bind(store.arqs(1), rp_uuid)
    runner = jobs.JobRunner(agent, lambda: None)
    runner.start()
    end = time.monotonic() + 20
    while job_db.due(store.context, 1) and time.monotonic() < end:
        time.sleep(0.05)
    store.bind(store.arqs(1), rp_uuid)
    table = models.Job.__table__
    store.execute(
        sa.update(table)
        .where(table.c.step == "queued")
        .values(deadline_at=engine.ago(1))
    )
    runner.wake()
    while "BindFailed" not in store.states() and time.monotonic() < end:
        time.sleep(0.05)
    assert store.states() == ["BindStarted", "BindFailed"]
    go_on.set()
    runner.stop()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hosts_that_do_not_answer_hold_up_no_bind(
    store: inventory.Store,
    agent: Agent,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config.config(thread_pool_size=3)
    rp_uuid = _mdev(store, handles=5)
    instances = [store.bind(store.arqs(1), rp_uuid) for _ in range(4)]
    _run_due(store, agent)
    for instance in instances:
        store.delete(instance=instance)
    asked: list[str] = []
    go_on = threading.Event()

    def wait(context: object, rpc_host: str, *, handle: dict, **_: object):
        asked.append(handle["uuid"])
        go_on.wait(30)

    monkeypatch.setattr(agent, "cleanup_handle", wait)
    runner = jobs.JobRunner(agent, lambda: None)
    runner.start()
    end = time.monotonic() + 20
    while len(asked) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    store.bind(store.arqs(1), rp_uuid)
    runner.wake()
    while "Bound" not in store.states() and time.monotonic() < end:
        time.sleep(0.05)
    assert sorted(store.states()) == ["Bound"] + ["Deleting"] * 4
    assert len(asked) == 2
    go_on.set()
    while len(store.states()) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    runner.stop()
    assert store.states() == ["Bound"]


def test_what_takes_an_instant_is_told_from_loads(
    store: inventory.Store, agent: Agent
) -> None:
    fpga = inventory.device(handles=2)
    gpu = inventory.device("GPU", 2, "MDEV", "GPU", bus="0d")
    fpga_rp, gpu_rp = store.report(fpga, gpu)
    released = store.bind(store.arqs(1), gpu_rp)
    _run_due(store, agent)
    store.delete(instance=released)
    profile = store.profile(1, **{"accel:bitstream_id": IMAGE})
    store.bind(store.arqs(1, profile), fpga_rp)
    store.bind(store.arqs(1), gpu_rp)
    load, short, cleanup = job_db.due(store.context, 10)
    assert list(job_db.due(store.context, 10, short=True)) == [short]
    # Nova waits for the load.
    assert list(job_db.due(store.context, 10, short=False)) == [load, cleanup]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bind_is_not_put_off_past_its_deadline(
    store: inventory.Store, agent: Agent
) -> None:
    store.bind(store.arqs(1), _mdev(store))
    # It has failed so often that it would wait for a minute.
    deadline = engine.after(5)
    store.execute(
        sa.update(models.Job.__table__).values(
            attempt=10, deadline_at=deadline
        )
    )
    agent.errors = [exception.AgentNotResponding(host=HOST)]
    runner = jobs.JobRunner(agent, lambda: None)
    runner.start()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        (job,) = store.rows(models.Job)
        if job.last_error:
            break
        time.sleep(0.05)
    runner.stop()
    assert job.last_error
    late = (job.lease_expires_at - deadline).total_seconds()
    assert 0 <= late <= 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_runner_that_stops_leaves_long_work_to_others(
    store: inventory.Store, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PATIENCE", 0.3)
    go_on = threading.Event()
    monkeypatch.setattr(
        agent, "prepare_handle", lambda *args, **kwargs: go_on.wait(30)
    )
    store.bind(store.arqs(1), _mdev(store))
    runner = jobs.JobRunner(agent, lambda: None)
    runner.start()
    end = time.monotonic() + 20
    while job_db.due(store.context, 1) and time.monotonic() < end:
        time.sleep(0.05)
    runner.stop()
    (uuid_,) = job_db.due(store.context, 1)
    assert job_db.claim(store.context, uuid_, "another", 30) is not None
    # What the first one still does is not stored.
    go_on.set()
    time.sleep(0.3)
    assert store.states() == ["BindStarted"]
