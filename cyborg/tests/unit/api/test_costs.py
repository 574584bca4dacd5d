"""What requests that mean ill cost, in CPU per KB, over the whole API.

Every operation gets every shape of a request that somebody once made
expensive, and some at random. The table says what was the worst; it is shown
with ``pytest -s``. A request may cost a generous multiple of what a small one
costs, for each KB that it has: whatever compares everything with everything
costs a hundred times as much.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import functools
import json
import random
import re
import time
from typing import Any

import pytest
import webob

from cyborg.api import app
from cyborg.api import routing
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

# Times the CPU of a small request, for one of no size and for each KB.
GENEROUS = 20
# Enough to tell in proportion from worse.
SIZE = 24 * 1024

OPERATIONS = [
    operation
    for controller in app.CONTROLLERS
    for operation, _handler in routing.operations(controller)
]


def fill(piece: str, size: int = SIZE) -> str:
    """Return so many pieces, with a number where they have ``%d``."""
    if "%d" in piece:
        pieces = (piece % number for number in range(size // len(piece)))
        return "".join(pieces)
    return piece * (size // len(piece))


UUIDS = ",".join(records.uuid(number, "5") for number in range(SIZE // 37))
QUERIES = {
    "one argument again and again": fill("limit=1&"),
    "many arguments": fill("a%d=&"),
    "fields of filters": fill("filters.field=limit&"),
    "fields and values": fill("filters.field=limit&filters.value=1&"),
    "attributes": fill("attribute=a:b&", 32 * 14),
    "too many attributes": fill("attribute=a:b&"),
    "arqs": f"arqs={UUIDS}",
    "instances": f"instance={UUIDS}",
    "names": f"name={UUIDS}",
    "uuids": f"uuid={UUIDS}",
    "values": f"value={UUIDS}",
    "empty values": "value=" + fill(","),
    "a number of many digits": "limit=" + fill("1"),
    "spaces": "deployable_id=" + fill("%20") + "x",
    "nothing but ampersands": fill("&"),
    "escapes that are none": "name=" + fill("%"),
    "characters nobody has": "name=" + fill("%F0%9F%98%80"),
    "colons": "attribute=" + fill(":"),
}
HEADERS = {
    "types that are accepted": ("Accept", fill("a/b;q=0.5,")),
    "one long type": ("Accept", "a/" + fill("b")),
    "parameters of a type": ("Accept", "a/b" + fill(";c=d")),
    "quotes in a type": ("Accept", 'a/b;c="' + fill('\\"')),
    "versions": ("OpenStack-API-Version", fill("compute 2.%d,")),
    "spaces in a version": ("OpenStack-API-Version", fill(" ") + "x"),
    "digits of a version": ("OpenStack-API-Version", "2." + fill("1")),
    "type of the body": ("Content-Type", "a/b" + fill(";c=d")),
    "request id": ("X-Openstack-Request-Id", "req-" + fill("a")),
    "host": ("Host", fill("a.")),
}
PATHS = {
    "a long name": fill("a"),
    "a name nobody has": fill("%F0%9F%98%80"),
    "slashes": fill("/"),
}


def _random_document(source: random.Random, left: int) -> Any:
    """Return a document of about ``left`` values."""
    kind = source.randrange(6) if left > 1 else source.randrange(4)
    if kind == 0:
        return source.choice([None, True, 0, -1, 1e300, 10**50])
    if kind < 4:
        return source.choice(["add", "/hostname", "é" * 9, "\0", ""])
    parts = [
        _random_document(source, left // 8)
        for _number in range(source.randrange(1, 9))
    ]
    if kind == 4:
        return parts
    names = ["op", "path", "value", "name", "groups", "key", "a:b", "x"]
    return dict(zip(source.sample(names, len(parts)), parts, strict=True))


def _bodies() -> dict[str, str]:
    arq = records.uuid(1, "1")
    operations = fill('{"op": "add", "path": "/hostname", "value": "h"},')
    operation_list = operations[: operations.rindex("},") + 1]
    removal = [{"op": "remove", "path": "/hostname"}]
    many = {records.uuid(number, "1"): removal for number in range(700)}
    group = {f"resources:CUSTOM_{number}": "1" for number in range(1500)}
    fpga = {"groups": [{"resources:FPGA": "1"}]}
    members = dict.fromkeys((f"m{number}" for number in range(8000)), 0)
    bodies = {
        "lists in lists": fill("["),
        "lists in lists, complete": "[" * 900 + "]" * 900,
        "objects in objects": fill('{"a":'),
        "numbers": f"[{fill('0,')}0]",
        "a number": fill("1"),
        "empty objects": f"[{fill('{},')}1]",
        "empty lists": f"[{fill('[],')}1]",
        "a text": f'"{fill("a")}"',
        "escapes": '"' + fill("\\u00e9") + '"',
        "a text that cannot be stored": f'["{fill("a")}", "\\u0000"]',
        "many members": json.dumps(members),
        "a member twice, at the end": json.dumps(members)[:-1]
        + ', "m7999": 0}',
        "texts below a long name": json.dumps(
            {"a" * (SIZE // 2): [""] * (SIZE // 8)}
        ),
        "operations of one request": f'{{"{arq}": [{operation_list}]}}',
        "operations of many requests": json.dumps(many),
        "operations": f"[{operation_list}]",
        "keys of a group": json.dumps([{"name": "p", "groups": [group]}]),
        "groups": json.dumps([{"name": "p", "groups": fpga["groups"] * 1500}]),
        "wrong groups": json.dumps(
            [{"name": "p", "groups": [{"x": "1"}] * 3000}]
        ),
        "profiles": json.dumps(
            [fpga | {"name": f"p{number}"} for number in range(90)]
        ),
        "attributes": json.dumps(
            [{"key": f"k{number}", "value": "v"} for number in range(400)]
        ),
        "wrong attributes": json.dumps([{"key": 1, "value": 2}] * 2500),
        "spaces": fill(" ") + "1",
    }
    source = random.Random(13)
    for number in range(5):
        parts = [_random_document(source, 4096) for _turn in range(40)]
        bodies[f"at random, {number}"] = json.dumps(parts)[:SIZE]
    return bodies


BODIES = _bodies()


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a request cost.

    :ivar seconds: of CPU
    :ivar kib: of the request
    """

    what: str
    where: str
    status: int
    seconds: float
    kib: float

    def ratio(self, floor: float) -> float:
        """Return how many small requests would cost as much, per KB."""
        return self.seconds / floor / (1 + self.kib)


@pytest.fixture(scope="module")
def api() -> Iterator[api_fixture.Api]:
    """The API without what looks at its answers."""
    with api_fixture.running() as running:
        conductor = rpcapi.local(manager.ConductorManager())
        application = app.make_app(lambda: conductor)
        yield api_fixture.Api(application, running.engine)


def _measure(ask: Callable[[], webob.Response]) -> tuple[float, int]:
    began = time.process_time()
    status = ask().status_int
    return time.process_time() - began, status


def _requests(
    operation: routing.Operation,
) -> Iterator[tuple[str, str, dict[str, str], str | None]]:
    """Provide what to ask an operation: name, URL, headers, body."""
    path = re.sub(r"\{\w+\}", records.uuid(1, "e"), operation.paths[0])
    for name, query in QUERIES.items():
        yield f"query: {name}", f"{path}?{query}", {}, None
    for name, (header, value) in HEADERS.items():
        # They are looked at before it is known which operation it is.
        if operation.method == "GET":
            yield f"header: {name}", path, {header: value}, None
    if "{" in operation.paths[0]:
        for name, segment in PATHS.items():
            url = re.sub(r"\{\w+\}", segment, operation.paths[0], count=1)
            url = re.sub(r"\{\w+\}", "x", url)
            yield f"path: {name}", url, {}, None
    if operation.body is not None:
        for name, body in BODIES.items():
            yield f"body: {name}", path, {}, body


def test_cost_is_in_proportion_to_size(api: api_fixture.Api) -> None:
    device = f"/v2/devices/{records.uuid(1, 'd')}"
    for _turn in range(20):
        api.ask("GET", device)
    floor = min(_measure(lambda: api.ask("GET", device))[0] for _ in range(50))
    worst: dict[str, Cost] = {}
    for operation in OPERATIONS:
        for name, url, headers, body in _requests(operation):
            ask = functools.partial(
                api.ask,
                operation.method,
                url,
                None if body is None else body.encode(),
                version="latest",
                service=True,
                headers=headers,
            )
            size = len(url + (body or "") + "".join(headers.values()))
            seconds, status = _measure(ask)
            if seconds > GENEROUS * floor * (1 + size / 1024):
                # Something else may have run, the garbage collector for one.
                seconds, status = min(_measure(ask), (seconds, status))
            where = f"{operation.method} {operation.paths[0]}"
            cost = Cost(name, where, status, seconds, size / 1024)
            assert status < 500 or status == 503, cost
            before = worst.get(name)
            if before is None or cost.ratio(floor) > before.ratio(floor):
                worst[name] = cost
    print(f"\nA small request: {floor * 1000:.2f} ms of CPU")
    print("ms/KB    times  KB    status  request")
    for cost in sorted(worst.values(), key=lambda c: -c.ratio(floor)):
        print(
            f"{cost.seconds * 1000 / (1 + cost.kib):7.3f}"
            f"{cost.ratio(floor):8.2f}  {cost.kib:5.1f} {cost.status:5d}  "
            f"{cost.what} ({cost.where})"
        )
    bad = [c for c in worst.values() if c.ratio(floor) > GENEROUS]
    assert not bad
