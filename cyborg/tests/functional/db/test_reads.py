"""Lists and single records, on each engine."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.common import exception
from cyborg.db import arq
from cyborg.db import attribute
from cyborg.db import deployable
from cyborg.db import device
from cyborg.db import device_profile
from cyborg.db import models
from cyborg.db import paging
from cyborg.db import service
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import records

CONTEXT = cyborg_context.get_admin_context()


@pytest.fixture(scope="module", params=database.KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """A database with three devices, profiles and ARQs."""
    with (
        database.with_tables(request.param) as url,
        database.configured(url) as engine,
    ):
        with engine.begin() as connection:
            fill(connection)
        yield engine


def fill(connection: sa.Connection) -> None:
    types = {1: "SSD", 2: "FPGA", 3: "GPU"}
    reasons = {1: "b", 2: None, 3: "a"}
    for number, type_ in types.items():
        vendor = "0x10DE" if number == 3 else "8086"
        device_id = records.device(
            connection,
            number,
            type=type_,
            vendor=vendor,
            status_reason=reasons[number],
        )
        deployable_id = records.deployable(
            connection,
            number,
            device_id,
            bitstream_id=records.uuid(7) if number == 1 else None,
        )
        records.attribute(connection, number, deployable_id, "rc", type_)
        handle_id = records.attach_handle(
            connection, number, device_id, deployable_id
        )
        profile_id = records.device_profile(connection, number, f"p{number}")
        bound = number == 3
        records.arq(
            connection,
            number,
            profile_id,
            project_id="b" if bound else "a",
            state="Bound" if bound else "Initial",
            instance_uuid=records.uuid(number) if bound else None,
            attach_handle_id=handle_id if bound else None,
        )
    records.insert(
        connection, models.Host, uuid=records.uuid(1, "2"), hostname="cn1"
    )
    records.insert(
        connection, models.Conductor, uuid=records.uuid(1, "3"), host="ctl"
    )


def numbers(rows: Any) -> list[int]:
    return [int(row.uuid[-12:], 16) for row in rows]


def walk(find: Callable[..., Any], **order: Any) -> list[int]:
    """Read a list in pages of one record, by uuid and by row."""
    found: list[int] = []
    marker = row = None
    while rows := find(CONTEXT, paging.Page(1, marker, **order)):
        assert rows == find(CONTEXT, paging.Page(1, after=row, **order))
        found += numbers(rows)
        (row,) = rows
        marker = row.uuid
    assert not find(CONTEXT, paging.Page(1, after=row, **order))
    return found


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"descending": True}, [3, 2, 1]),
        ({"sort_key": "hostname"}, [1, 2, 3]),
        # As text: an enumeration's own order is SSD last.
        ({"sort_key": "type"}, [2, 3, 1]),
        ({"sort_key": "type", "descending": True}, [1, 3, 2]),
        # Equal values keep the order of insertion, or reverse it.
        ({"sort_key": "model"}, [1, 2, 3]),
        ({"sort_key": "model", "descending": True}, [3, 2, 1]),
        # Records without a value come last.
        ({"sort_key": "status_reason"}, [3, 1, 2]),
        ({"sort_key": "status_reason", "descending": True}, [1, 3, 2]),
        ({"sort_key": "updated_at"}, [1, 2, 3]),
    ],
)
def test_pages_hold_every_record_once_in_order(
    engine: sa.Engine, order: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(device.find(CONTEXT, paging.Page(**order))) == expected
    assert walk(device.find, **order) == expected


def test_marker_that_names_nothing_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(exception.Invalid, match="marker"):
        device.find(CONTEXT, paging.Page(marker=records.uuid(99)))


def test_marker_of_another_project_is_as_good_as_none(
    engine: sa.Engine,
) -> None:
    page = paging.Page(marker=records.uuid(3, "1"))
    assert arq.find(CONTEXT, page, scope="b") == []
    with pytest.raises(exception.Invalid, match="marker"):
        arq.find(CONTEXT, page, scope="a")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"vendor": "10de"}, [3]),
        ({"vendor": "0x8086"}, [1, 2]),
        ({"vendor": "0X8086", "hostname": "cn2"}, [2]),
        ({"type": "GPU"}, [3]),
        ({"type": "no such type"}, []),
        ({"status": "maintaining"}, []),
    ],
)
def test_devices_by_filter(
    engine: sa.Engine, filters: dict[str, str], expected: list[int]
) -> None:
    assert numbers(device.find(CONTEXT, **filters)) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": "GPU"}, [3]),
        ({"device_uuid": records.uuid(2, "d")}, [2]),
        ({"bitstream_id": None}, [2, 3]),
        ({"bitstream_id": records.uuid(7)}, [1]),
        ({"attributes": [("rc", "SSD")]}, [1]),
        ({"attributes": [("rc", "SSD"), ("rc", "GPU")]}, []),
        ({"parent_uuid": None}, [1, 2, 3]),
    ],
)
def test_deployables_by_filter(
    engine: sa.Engine, filters: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(deployable.find(CONTEXT, **filters)) == expected


def test_attributes_by_deployable(engine: sa.Engine) -> None:
    (row,) = attribute.find(CONTEXT, deployable_uuid=records.uuid(2, "e"))
    assert (row.key, row.value) == ("rc", "FPGA")
    assert attribute.find(CONTEXT, deployable_id=row.deployable_id) == [row]
    assert attribute.find(CONTEXT, deployable_id=0) == []


def test_profile_whose_name_is_the_uuid_of_another(engine: sa.Engine) -> None:
    first = device_profile.get(CONTEXT, "p1")
    assert first is not None
    assert device_profile.get(CONTEXT, first.uuid) == first
    assert device_profile.get(CONTEXT, "p9") is None


def test_arq_has_profile_and_handle(engine: sa.Engine) -> None:
    (bound,) = arq.find(CONTEXT, instances=[records.uuid(3)])
    assert bound.device_profile_name == "p3"
    assert bound.attach_handle_uuid == records.uuid(3, "b")
    assert bound.attach_handle_type == "PCI"
    assert numbers(arq.find(CONTEXT, states=["Initial"])) == [1, 2]
    assert numbers(arq.find(CONTEXT, scope="a", states=["Bound"])) == []
    assert arq.get(CONTEXT, bound.uuid, scope="a") is None
    assert arq.get(CONTEXT, bound.uuid, scope="b") == bound


def test_services_are_agents_and_conductors(engine: sa.Engine) -> None:
    agent, conductor = service.find(CONTEXT)
    assert (agent.binary, agent.host) == ("cyborg-agent", "cn1")
    assert (conductor.binary, conductor.host) == ("cyborg-conductor", "ctl")
    assert service.find(CONTEXT, binary="cyborg-conductor") == [conductor]
    assert service.get(CONTEXT, agent.uuid) == agent
    assert walk(service.find, sort_key="host") == [1, 1]
