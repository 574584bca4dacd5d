"""Clients that boot and delete at random, and a nemesis that breaks things.

Everything random comes from the seed: the same seed asks for the same
operations and the same faults, in the same order for each client.
"""

import collections
from collections.abc import Callable
import contextlib
import random
import signal
import threading
import time
from typing import TypeVar

from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import points
from cyborg.tests.functional.faults import site as site_module

CLIENTS = 5
Work = TypeVar("Work")


class Storm:
    """One seed's clients and faults over a running site.

    :ivar faults: how many were injected, by kind
    :ivar operations: how many were asked for, by kind
    """

    def __init__(self, site: site_module.Site, seed: int) -> None:
        self.site = site
        self.seed = seed
        self.cloud = clients.Cloud(site)
        self.faults: collections.Counter[str] = collections.Counter()
        self.operations: collections.Counter[str] = collections.Counter()
        self._ended = threading.Event()
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """Let clients and nemesis work, then start all that was killed.

        The cards stay as disabled, and the hosts as forced down, as clients
        have left them.
        """
        threads = [
            threading.Thread(target=self._guard, args=(self._client, number))
            for number in range(CLIENTS)
        ]
        threads += [
            threading.Thread(target=self._guard, args=(work, 0))
            for work in (self._operator, self._nemesis)
        ]
        for thread in threads:
            thread.start()
        try:
            self._ended.wait(seconds)
        finally:
            # Whoever interrupts the run ends the storm.
            self._ended.set()
            for thread in threads:
                thread.join()
        self.site.all_up()
        if self._errors:
            raise self._errors[0]

    def _guard(
        self, work: Callable[[random.Random], None], number: int
    ) -> None:
        try:
            work(random.Random(f"{self.seed}/{work.__name__}/{number}"))
        except BaseException as error:
            self._errors.append(error)
            self._ended.set()

    def _note(self, kind: str) -> None:
        with self._lock:
            self.operations[kind] += 1

    # -- clients

    def _client(self, rng: random.Random) -> None:
        mine: list[clients.Instance] = []
        fresh = (
            (self._boot, 8),
            (self._boot_twice, 2),
            (self._quarrel, 2),
            (self._boot_and_delete, 3),
        )
        later = (
            (self.cloud.look, 4),
            (self.cloud.bind, 2),
            (self.cloud.unbind, 2),
            (self.cloud.move, 2),
        )
        while not self._ended.is_set():
            choice = rng.random()
            if choice < 0.45 or not mine:
                profile = rng.choice(list(clients.PROFILES))
                work = _pick(rng, fresh)
                self._note(work.__name__.strip("_"))
                instance = work(profile)
                if instance.state != "deleted":
                    mine.append(instance)
            elif choice < 0.8:
                self._note("delete")
                instance = mine.pop(rng.randrange(len(mine)))
                # What it has until now, nobody else may have had.
                self.cloud.look(instance)
                self.cloud.delete(instance, rng.random() < 0.6)
            else:
                act = _pick(rng, later)
                self._note(act.__name__)
                act(rng.choice(mine))
            time.sleep(rng.random() * 0.2)

    def _boot(self, profile: str) -> clients.Instance:
        return self.cloud.boot(profile)

    def _boot_twice(self, profile: str) -> clients.Instance:
        instance = self.cloud.create(profile)
        self.cloud.bind_twice(instance)
        return instance

    def _quarrel(self, profile: str) -> clients.Instance:
        instance = self.cloud.create(profile)
        self.cloud.quarrel(instance)
        return instance

    def _boot_and_delete(self, profile: str) -> clients.Instance:
        instance = self.cloud.boot(profile)
        self.cloud.delete(instance)
        return instance

    def _operator(self, rng: random.Random) -> None:
        works = (
            (self._program, 4),
            (self._firmware, 1),
            (self._set_status, 4),
            (self._force_down, 1),
            (self._change_hardware, 3),
            (self._lay_out, 2),
        )
        while not self._ended.is_set():
            work = _pick(rng, works)
            self._note(work.__name__.strip("_"))
            work(rng)
            self._ended.wait(rng.random() * 0.6)

    def _program(self, rng: random.Random) -> None:
        self.cloud.program(rng.choice(list(site_module.FUNCTIONS.values())))

    def _firmware(self, rng: random.Random) -> None:
        self.cloud.firmware(
            rng.choice(list(site_module.FUNCTIONS.values())),
            rng.choice(list(site_module.HOSTS)),
        )

    def _set_status(self, rng: random.Random) -> None:
        self.cloud.set_status(rng)

    def _force_down(self, rng: random.Random) -> None:
        self.cloud.force_down(rng, True)
        self._ended.wait(0.5)
        self.cloud.force_down(rng, False)

    def _change_hardware(self, rng: random.Random) -> None:
        """Cards and handles come and go; the agent reports them."""
        self.site.equip(
            rng.choice(list(site_module.HOSTS)),
            devices=rng.choice([1, 2, 3]),
            handles=rng.choice([3, 6, site_module.MOST_HANDLES]),
        )

    def _lay_out(self, rng: random.Random) -> None:
        """Have other providers count the cards of a host."""
        # Where the database is away nothing has changed.
        with contextlib.suppress(AssertionError):
            self.cloud.lay_out(
                rng.choice(list(site_module.HOSTS)),
                rng.choice(["device", "pool", "auto"]),
            )

    # -- faults

    def _nemesis(self, rng: random.Random) -> None:
        faults = (
            (self._kill_conductor, 6),
            (self._kill_agent, 4),
            (self._die_at_point, 8),
            (self._pause_conductor, 4),
            (self._pause_agent, 3),
            (self._slow_card, 5),
            (self._failing_card, 5),
            (self._hanging_card, 2),
            (self._blind_driver, 2),
            (self._kill_placement, 3),
            (self._kill_api, 1),
            (self._power_cut, 1),
            (self._kill_database, 1),
            (self._kill_broker, 1),
            (self._nova_away, 3),
        )
        while not self._ended.wait(0.2 + rng.random()):
            fault = _pick(rng, faults)
            name = fault.__name__.strip("_")
            self.cloud.history.append(f"{time.monotonic():.2f} FAULT {name}")
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

    def _die_at_point(self, rng: random.Random) -> None:
        """Have whoever comes to some point first die there."""
        point = rng.choice(points.names())
        daemons = [*self.site.conductors, *self.site.agents.values()]
        self.cloud.history.append(f"{time.monotonic():.2f} POINT {point}")
        self.site.arm(daemons, point)
        self._ended.wait(1.5)
        self.site.disarm(daemons)
        for daemon in daemons:
            if not daemon.running:
                self.faults[f"died at {point}"] += 1
                daemon.launch()

    def _power_cut(self, rng: random.Random) -> None:
        """Kill every daemon of ours at once."""
        daemons = [*self.site.conductors, *self.site.agents.values()]
        for daemon in daemons:
            daemon.kill()
        self._ended.wait(0.2)
        for daemon in daemons:
            daemon.launch()

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

    def _pause_agent(self, rng: random.Random) -> None:
        """Stop one for so long that calls come late, and all at once."""
        daemon = rng.choice(list(self.site.agents.values()))
        daemon.signal(signal.SIGSTOP)
        self._ended.wait(rng.choice([2, 5]))
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

    def _blind_driver(self, rng: random.Random) -> None:
        """Let a driver see nothing; what it reported stays."""
        host = rng.choice(list(site_module.HOSTS))
        self.site.steer(host, discover={"fail": "broken"})
        self._ended.wait(rng.choice([1, 3]))
        self.site.steer(host)

    def _nova_away(self, rng: random.Random) -> None:
        self.site.nova.status = 503
        self._ended.wait(1)
        self.site.nova.status = None


def _pick(rng: random.Random, weighted: tuple[tuple[Work, int], ...]) -> Work:
    works, weights = zip(*weighted, strict=True)
    return rng.choices(works, weights)[0]
