"""What a list costs, beside reading the same rows and dumping them.

The application, with all of its filters, is called in this process, so that
the CPU time of the process is that of the request. The floor runs the same
statements, makes a dict of each row and calls ``json.dumps`` once.

    python -m benchmarks.lists --rows 1000,10000
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

import sqlalchemy as sa  # noqa: E402
import webob  # noqa: E402

from benchmarks import common  # noqa: E402
from benchmarks import floor  # noqa: E402
from benchmarks import records  # noqa: E402
from cyborg.api import wsgi_app  # noqa: E402
from cyborg.common import service  # noqa: E402
from cyborg.db import models  # noqa: E402
from cyborg.tests.fixtures import database  # noqa: E402

REPEATS = 9
ATTRIBUTES = models.Attribute.__table__
PARENTS = floor.DEPLOYABLES.alias("parents")
ROOTS = floor.DEPLOYABLES.alias("roots")
CONFIG = "[DEFAULT]\nauth_strategy = noauth2\n"


def arqs(connection: sa.Connection) -> list[dict[str, Any]]:
    return [floor.show(row) for row in connection.execute(floor.SHOWN)]


def _shown(row: Any, resource: str) -> dict[str, Any]:
    document = dict(row._mapping)
    document["created_at"] = row.created_at.isoformat()
    document["updated_at"] = row.updated_at and row.updated_at.isoformat()
    document["links"] = [{"href": f"/v2/{resource}/{row.uuid}", "rel": "self"}]
    return document


def devices(connection: sa.Connection) -> list[dict[str, Any]]:
    query = sa.select(floor.DEVICES).order_by(floor.DEVICES.c.id)
    return [_shown(row, "devices") for row in connection.execute(query)]


def deployables(connection: sa.Connection) -> list[dict[str, Any]]:
    table, device = floor.DEPLOYABLES, floor.DEVICES
    query = (
        sa.select(
            table,
            device.c.uuid.label("device_uuid"),
            device.c.hostname,
            device.c.type,
            PARENTS.c.uuid.label("parent_uuid"),
            ROOTS.c.uuid.label("root_uuid"),
        )
        .select_from(
            table.join(device, device.c.id == table.c.device_id)
            .outerjoin(PARENTS, PARENTS.c.id == table.c.parent_id)
            .outerjoin(ROOTS, ROOTS.c.id == table.c.root_id)
        )
        .order_by(table.c.id)
    )
    rows = connection.execute(query).all()
    pairs: dict[int, list[dict[str, str]]] = {}
    for attribute in connection.execute(
        sa.select(
            ATTRIBUTES.c.deployable_id, ATTRIBUTES.c.key, ATTRIBUTES.c.value
        )
        .where(ATTRIBUTES.c.deployable_id.in_([row.id for row in rows]))
        .order_by(ATTRIBUTES.c.id)
    ):
        pairs.setdefault(attribute.deployable_id, []).append(
            {attribute.key: attribute.value}
        )
    return [
        _shown(row, "deployables")
        | {"attributes_list": json.dumps(pairs.get(row.id, []))}
        for row in rows
    ]


# Path: key of the list, and what makes the same document.
LISTS: dict[str, tuple[str, Callable[[sa.Connection], Any]]] = {
    "accelerator_requests": ("arqs", arqs),
    "devices": ("devices", devices),
    "deployables": ("deployables", deployables),
}


def ask(application: Any, path: str) -> bytes:
    """Return the body of the answer to an administrator."""
    request = webob.Request.blank(
        f"/v2/{path}", environ={"REMOTE_ADDR": "127.0.0.1"}
    )
    request.headers["OpenStack-API-Version"] = "accelerator 2.3"
    response = request.get_response(application)
    assert response.status_int == 200, response.text
    return bytes(response.body)


def compare(
    works: Sequence[Callable[[], Any]],
) -> list[tuple[float, float]]:
    """Return the medians of CPU and wall time of each, in ms."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    for repeat in range(REPEATS + 1):
        for work, times in zip(works, taken, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            if repeat:
                times.append(
                    (
                        (time.process_time() - cpu) * 1000,
                        (time.perf_counter() - wall) * 1000,
                    )
                )
    return [
        (
            common.median([cpu for cpu, _wall in times]),
            common.median([wall for _cpu, wall in times]),
        )
        for times in taken
    ]


def measure(sizes: Sequence[int]) -> list[common.Figure]:
    """Run everything and return the figures."""
    made = []
    with (
        tempfile.TemporaryDirectory() as directory,
        database.database("mysql") as url,
        database.configured(url) as engine,
    ):
        path = pathlib.Path(directory, "cyborg.conf")
        path.write_text(CONFIG)
        service.prepare([], [str(path)])
        models.Base.metadata.create_all(engine)
        application = wsgi_app.load()
        with engine.begin() as connection:
            profile = records.add_profile(connection)
        there = 0
        for size in sorted(sizes):
            with engine.begin() as connection:
                # One handle each would do; cards have eight.
                records.add_bound(connection, profile, size - there, there)
                cards = connection.execute(
                    sa.select(sa.func.count()).select_from(floor.DEVICES)
                ).scalar()
                hosts = -(-(size - int(cards or 0)) // 8)
                records.add_cards(
                    connection, [f"more-{size}-{n}" for n in range(hosts)]
                )
            there = size
            for name, (key, least) in LISTS.items():
                made += _figures(application, engine, name, key, least)
    return made


def _figures(
    application: Any,
    engine: sa.Engine,
    name: str,
    key: str,
    least: Callable[[sa.Connection], Any],
) -> list[common.Figure]:
    def serve() -> bytes:
        return ask(application, name)

    def build() -> bytes:
        with engine.connect() as connection:
            return json.dumps({key: least(connection)}).encode()

    documents = [json.loads(body) for body in (serve(), build())]
    served, built = ([row["uuid"] for row in d[key]] for d in documents)
    assert served == built
    (cpu, wall), (least_cpu, least_wall) = compare((serve, build))
    return [
        common.Figure(f"{len(served)} {key}, CPU", cpu, "ms", least_cpu),
        common.Figure(f"{len(served)} {key}, wall", wall, "ms", least_wall),
    ]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print what lists cost."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=_numbers, default=[1000, 10000])
    arguments: argparse.Namespace = parser.parse_args()
    sys.argv[1:] = []
    common.run(lambda: common.publish(measure(arguments.rows), arguments.json))


if __name__ == "__main__":
    main()
