"""Clients that boot and delete at random, and a nemesis that breaks things.

Everything random comes from the seed: the same seed asks for the same
operations and the same faults, in the same order for each client.
"""

import collections
from collections.abc import Callable
import contextlib
import dataclasses
import json
import random
import signal
import threading
import time
from typing import Any
import urllib.error
import urllib.request

from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults.site import FUNCTIONS

CLIENTS = 5
RESOURCE = {"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}
# Name of a profile: its group, and the host that can serve it.
PROFILES = {
    "plain": (RESOURCE, "fpga-host"),
    "pair": (RESOURCE | {"resources:FPGA": "2"}, "fpga-host"),
    "function-a": (
        RESOURCE | {"accel:function_id": "function-a"},
        "fpga-host",
    ),
    "image-b": (
        RESOURCE | {"accel:bitstream_id": FUNCTIONS["function-b"]},
        "fpga-host",
    ),
    "mdev": (RESOURCE, "gpu-host"),
}


@dataclasses.dataclass
class Instance:
    """What a client knows of one server's ARQs.

    :ivar bound: the PATCH was answered with success
    :ivar deleted: a DELETE was answered with success
    :ivar unsure: an answer was lost: either may be true
    """

    uuid: str
    profile: str
    arqs: list[str] = dataclasses.field(default_factory=list)
    bound: bool = False
    deleted: bool = False
    unsure: bool = False
    seen: dict[str, str] = dataclasses.field(default_factory=dict)


class Lost(Exception):
    """No answer, or one that does not say what happened."""


class Api:
    """Speaks as Nova does."""

    def __init__(self, site: site_module.Site, history: list[str]) -> None:
        self._url = site.url
        self._history = history

    def call(
        self, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        """Return status and body.

        :raises Lost: it is not known what became of the request
        """
        request = urllib.request.Request(
            f"{self._url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "OpenStack-API-Version": "accelerator 2.6",
            },
        )
        line = f"{time.monotonic():.2f} {method} {path} {body}"
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except (OSError, ConnectionError) as error:
            self._history.append(f"{line} -> {error!r}")
            raise Lost() from error
        self._history.append(f"{line} -> {status} {text[:200]!r}")
        if status >= 500:
            raise Lost()
        return status, json.loads(text) if text else None


class Storm:
    """One seed's clients and faults over a running site."""

    def __init__(self, site: site_module.Site, seed: int) -> None:
        self.site = site
        self.seed = seed
        self.history: list[str] = []
        self.instances: list[Instance] = []
        self.faults: collections.Counter[str] = collections.Counter()
        self.operations = 0
        self._ended = threading.Event()
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """Let clients and nemesis work, then start all that was killed."""
        threads = [
            threading.Thread(target=self._guard, args=(self._client, number))
            for number in range(CLIENTS)
        ]
        threads.append(
            threading.Thread(target=self._guard, args=(self._nemesis, 0))
        )
        for thread in threads:
            thread.start()
        self._ended.wait(seconds)
        self._ended.set()
        for thread in threads:
            thread.join()
        self.site.all_up()
        if self._errors:
            raise self._errors[0]

    def _guard(self, work: Callable[[random.Random], None], number: int) -> None:
        try:
            work(random.Random(f"{self.seed}/{work.__name__}/{number}"))
        except BaseException as error:
            self._errors.append(error)
            self._ended.set()

    # -- clients

    def _client(self, rng: random.Random) -> None:
        api = Api(self.site, self.history)
        mine: list[Instance] = []
        while not self._ended.is_set():
            with self._lock:
                self.operations += 1
            choice = rng.random()
            if choice < 0.5 or not mine:
                mine.append(self._boot(api, rng))
            elif choice < 0.85:
                self._delete(api, rng, mine.pop(rng.randrange(len(mine))))
            elif choice < 0.93:
                self._look(api, rng.choice(mine))
            else:
                self._program(api, rng)
            time.sleep(rng.random() * 0.2)

    def _boot(self, api: Api, rng: random.Random) -> Instance:
        profile = rng.choice(list(PROFILES))
        instance = Instance(site_module.new_uuid(), profile)
        with self._lock:
            self.instances.append(instance)
        provider = self._providers[PROFILES[profile][1]]
        try:
            status, body = api.call(
                "POST",
                "/accelerator_requests",
                {"device_profile_name": profile},
            )
            assert status == 201, (status, body)
            instance.arqs = [arq["uuid"] for arq in body["arqs"]]
            values = {
                "hostname": PROFILES[profile][1],
                "device_rp_uuid": provider,
                "instance_uuid": instance.uuid,
            }
            operations = [
                {"op": "add", "path": f"/{name}", "value": value}
                for name, value in values.items()
            ]
            status, body = api.call(
                "PATCH",
                "/accelerator_requests",
                dict.fromkeys(instance.arqs, operations),
            )
            assert status in (202, 409), (status, body)
            instance.bound = status == 202
        except Lost:
            instance.unsure = True
        return instance

    @property
    def _providers(self) -> dict[str, str]:
        if not hasattr(self, "_known"):
            self._known = self.site.providers()
        return self._known

    def _delete(
        self, api: Api, rng: random.Random, instance: Instance
    ) -> None:
        by_instance = rng.random() < 0.6 or not instance.arqs
        paths = [f"/accelerator_requests?instance={instance.uuid}"]
        if not by_instance:
            paths = [f"/accelerator_requests?arqs={','.join(instance.arqs)}"]
        elif not instance.bound and instance.arqs:
            # What Nova does after a bind that failed.
            paths.append(
                f"/accelerator_requests?arqs={','.join(instance.arqs)}"
            )
        try:
            for path in paths:
                status, body = api.call("DELETE", path)
                assert status in (204, 404), (status, body)
            instance.deleted = True
        except Lost:
            instance.unsure = True

    def _look(self, api: Api, instance: Instance) -> None:
        with contextlib.suppress(Lost):
            status, body = api.call(
                "GET", f"/accelerator_requests?instance={instance.uuid}"
            )
            assert status == 200, (status, body)
            for arq in body["arqs"]:
                instance.seen[arq["uuid"]] = arq["state"]

    def _program(self, api: Api, rng: random.Random) -> None:
        with contextlib.suppress(Lost):
            status, body = api.call("GET", "/deployables")
            found = [
                d
                for d in body["deployables"]
                if d["name"].startswith("fpga-host")
            ]
            image = rng.choice(list(FUNCTIONS.values()))
            status, body = api.call(
                "PATCH",
                f"/deployables/{found[0]['uuid']}",
                [{"op": "add", "path": "/bitstream", "value": image}],
            )
            assert status in (202, 409), (status, body)

    # -- faults

    def _nemesis(self, rng: random.Random) -> None:
        faults: list[tuple[Callable[[random.Random], None], int]] = [
            (self._kill_conductor, 8),
            (self._kill_agent, 5),
            (self._pause_conductor, 4),
            (self._slow_card, 5),
            (self._failing_card, 5),
            (self._hanging_card, 2),
            (self._kill_placement, 3),
            (self._kill_api, 1),
            (self._kill_database, 1),
            (self._kill_broker, 1),
            (self._nova_away, 3),
        ]
        population = [fault for fault, weight in faults for _ in range(weight)]
        while not self._ended.wait(0.2 + rng.random()):
            fault = rng.choice(population)
            name = fault.__name__.strip("_")
            self.history.append(f"{time.monotonic():.2f} FAULT {name}")
            self.faults[name] += 1
            fault(rng)

    def _kill(self, daemon: process.Process) -> None:
        daemon.kill()
        self._ended.wait(0.2)
        daemon.launch()

    def _kill_conductor(self, rng: random.Random) -> None:
        self._kill(rng.choice(self.site.conductors))

    def _kill_agent(self, rng: random.Random) -> None:
        self._kill(rng.choice(list(self.site.agents.values())))

    def _kill_api(self, rng: random.Random) -> None:
        self._kill(self.site.api)

    def _kill_placement(self, rng: random.Random) -> None:
        self._kill(self.site.placement.process)

    def _kill_database(self, rng: random.Random) -> None:
        self._kill(self.site.database.process)
        self.site.database.process.wait_ready()

    def _kill_broker(self, rng: random.Random) -> None:
        self._kill(self.site.broker.process)
        self.site.broker.process.wait_ready()

    def _pause_conductor(self, rng: random.Random) -> None:
        """Stop one for longer than its lease: another takes over."""
        daemon = rng.choice(self.site.conductors)
        daemon.signal(signal.SIGSTOP)
        self._ended.wait(site_module.LEASE + 1)
        daemon.signal(signal.SIGCONT)

    def _slow_card(self, rng: random.Random) -> None:
        self.site.steer(
            rng.choice(list(site_module.HOSTS)),
            program={"seconds": 2},
            create_mdev={"seconds": 1},
            remove_mdev={"seconds": 1},
        )

    def _failing_card(self, rng: random.Random) -> None:
        host = rng.choice(list(site_module.HOSTS))
        self.site.steer(
            host,
            program={"fail": "broken"},
            create_mdev={"fail": "broken"},
            remove_mdev={"fail": "broken"},
        )
        self._ended.wait(1.5)
        self.site.steer(host)

    def _hanging_card(self, rng: random.Random) -> None:
        host = rng.choice(list(site_module.HOSTS))
        hang = {"hang": True}
        self.site.steer(host, program=hang, create_mdev=hang, remove_mdev=hang)
        self._ended.wait(3)
        self.site.steer(host)

    def _nova_away(self, rng: random.Random) -> None:
        self.site.nova.status = 503
        self._ended.wait(1)
        self.site.nova.status = None
