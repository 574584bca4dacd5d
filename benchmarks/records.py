"""Fills a database with the records of a cloud, many rows a statement."""

from collections.abc import Iterable
from collections.abc import Iterator
import itertools
import json
from typing import Any
import uuid

from oslo_utils import timeutils
import sqlalchemy as sa

from cyborg.db import models

HANDLES = 8  # of each deployable
PROFILE = "measured"
_BATCH = 2000
_ADDRESS = {"domain": "0000", "bus": "3b", "device": "00", "function": "0"}


def new_uuid() -> str:
    return str(uuid.uuid4())


def insert(
    connection: sa.Connection, table: Any, rows: Iterable[dict[str, Any]]
) -> None:
    """Insert rows of any number."""
    now = timeutils.utcnow().replace(microsecond=0)
    source = iter(rows)
    while batch := list(itertools.islice(source, _BATCH)):
        connection.execute(
            sa.insert(table.__table__),
            [{"created_at": now} | r for r in batch],
        )


def _next_id(connection: sa.Connection, table: Any) -> int:
    return (
        int(connection.execute(sa.select(sa.func.max(table.id))).scalar() or 0)
        + 1
    )


def add_profile(connection: sa.Connection) -> int:
    """Add the profile that all requests are made from; return its id."""
    id_ = _next_id(connection, models.DeviceProfile)
    groups = [{"resources:PGPU": "1", "trait:CUSTOM_GPU": "required"}]
    row = {
        "id": id_,
        "uuid": new_uuid(),
        "name": PROFILE,
        "profile_json": json.dumps({"groups": groups}),
    }
    insert(connection, models.DeviceProfile, [row])
    return id_


def add_cards(
    connection: sa.Connection, hosts: Iterable[str], cards: int = 8
) -> list[tuple[str, str, int, int]]:
    """Add hosts with cards of one deployable and :data:`HANDLES` handles.

    :returns: host, provider, id of deployable and of the first handle, for
        each card
    """
    device_id = _next_id(connection, models.Device)
    path_id = _next_id(connection, models.ControlPathID)
    deployable_id = _next_id(connection, models.Deployable)
    handle_id = _next_id(connection, models.AttachHandle)
    made = [
        (host, new_uuid(), deployable_id + n, handle_id + n * HANDLES)
        for n, host in enumerate(h for h in hosts for _ in range(cards))
    ]
    now = timeutils.utcnow().replace(microsecond=0)
    insert(
        connection,
        models.Host,
        (
            {
                "uuid": new_uuid(),
                "hostname": host,
                "rpc_host": host,
                "last_seen_at": now,
            }
            for host in dict.fromkeys(card[0] for card in made)
        ),
    )
    insert(
        connection,
        models.Device,
        (
            {
                "id": device_id + n,
                "uuid": new_uuid(),
                "type": "GPU",
                "vendor": "0x10de",
                "model": "A100",
                "std_board_info": '{"device_id": "0x20b0", "class": "0302"}',
                "vendor_board_info": '{"vendor_info": "gpu_vb_info"}',
                "hostname": card[0],
                "status": "enabled",
                "driver": "nvidia_gpu_driver",
            }
            for n, card in enumerate(made)
        ),
    )
    insert(
        connection,
        models.ControlPathID,
        (
            {
                "id": path_id + n,
                "uuid": new_uuid(),
                "device_id": device_id + n,
                "cpid_type": "PCI",
                "cpid_info": json.dumps(_ADDRESS | {"bus": f"{n % 8:02x}"}),
            }
            for n in range(len(made))
        ),
    )
    insert(
        connection,
        models.Deployable,
        (
            {
                "id": card[2],
                "uuid": new_uuid(),
                "name": f"{card[0]}_0000:{n % 8:02x}:00.0",
                "num_accelerators": HANDLES,
                "device_id": device_id + n,
                "rp_uuid": card[1],
                "driver_name": "nvidia",
            }
            for n, card in enumerate(made)
        ),
    )
    insert(connection, models.Attribute, _attributes(made))
    insert(
        connection,
        models.AttachHandle,
        (
            {
                "id": card[3] + number,
                "uuid": new_uuid(),
                "deployable_id": card[2],
                "cpid_id": path_id + n,
                "in_use": False,
                "attach_type": "PCI",
                "attach_info": json.dumps(
                    _ADDRESS | {"bus": f"{n % 8:02x}", "function": str(number)}
                ),
            }
            for n, card in enumerate(made)
            for number in range(HANDLES)
        ),
    )
    return made


def _attributes(
    cards: Iterable[tuple[str, str, int, int]],
) -> Iterator[dict[str, Any]]:
    for card in cards:
        for key, value in (
            ("rc", "PGPU"),
            ("trait0", "CUSTOM_GPU"),
            ("trait1", "CUSTOM_GPU_PRODUCT_ID_20B0"),
        ):
            yield {
                "uuid": new_uuid(),
                "deployable_id": card[2],
                "key": key,
                "value": value,
                "origin": "driver",
            }


def add_bound(
    connection: sa.Connection, profile_id: int, count: int, first_host: int
) -> None:
    """Add ARQs that are bound, one to an instance, with all they refer to.

    :param first_host: number of the first of the hosts they are on
    """
    if not count:
        return
    per_host = 8 * HANDLES
    hosts = [
        f"other-{first_host + number}"
        for number in range(-(-count // per_host))
    ]
    cards = add_cards(connection, hosts)
    instances = [new_uuid() for _ in range(count)]
    used = [
        (card, card[3] + number) for card in cards for number in range(HANDLES)
    ][:count]
    insert(
        connection,
        models.BoundInstance,
        ({"instance_uuid": instance} for instance in instances),
    )
    insert(
        connection,
        models.ARQ,
        (
            {
                "uuid": new_uuid(),
                "project_id": "another-project",
                "state": "Bound",
                "substate": "Initial",
                "device_profile_id": profile_id,
                "device_profile_group_id": 0,
                "hostname": card[0],
                "device_rp_uuid": card[1],
                "instance_uuid": instance,
                "attach_handle_id": handle,
                "deployable_id": card[2],
            }
            for instance, (card, handle) in zip(instances, used, strict=True)
        ),
    )
    connection.execute(
        sa.update(models.AttachHandle.__table__)
        .where(
            models.AttachHandle.id >= used[0][1],
            models.AttachHandle.id <= used[-1][1],
        )
        .values(in_use=True)
    )
