"""What Nova and operators do, and what they were told of it."""

import contextlib
import dataclasses
import itertools
import json
import math
import random
import threading
import time
from typing import Any
import urllib.error
import urllib.request

import sqlalchemy as sa

from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults.site import FUNCTIONS

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
# Profiles whose bind is done when it is answered, and cannot fail later.
AT_ONCE = ("plain", "pair")


@dataclasses.dataclass
class Instance:
    """What a client knows of one server's ARQs.

    :ivar state: what the last answer said: new, bound, unbound or deleted
    :ivar unsure: an answer was lost: anything asked for since may be true
    """

    uuid: str
    profile: str
    arqs: list[str] = dataclasses.field(default_factory=list)
    state: str = "new"
    unsure: bool = False


@dataclasses.dataclass
class Holding:
    """That a server surely had a handle, for its client was told so.

    :ivar since: when the answer had come that showed it
    :ivar until: when the client first asked to take it away
    """

    handle: str
    server: str
    arq: str
    since: float
    until: float = math.inf

    def collides(self, other: "Holding") -> bool:
        """Tell whether both had the same handle at the same time."""
        return (
            self.handle == other.handle
            and self.arq != other.arq
            and self.since < other.until
            and other.since < self.until
        )


class Lost(Exception):
    """No answer, or one that does not say what happened."""


class Api:
    """Speaks HTTP as Nova does, and notes every word."""

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


class Cloud:
    """All that clients do, in terms of servers and cards.

    :ivar instances: every server that was ever asked for
    :ivar violations: answers that must not be
    :ivar holdings: which handles servers were shown to have, and when
    :ivar wishes: status last asked for, by device uuid; None = not known
    """

    def __init__(self, site: site_module.Site) -> None:
        self.site = site
        self.history: list[str] = []
        self.api = Api(site, self.history)
        self.instances: list[Instance] = []
        self.violations: list[str] = []
        self.holdings: list[Holding] = []
        self.wishes: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._providers = site.providers()

    # -- servers

    def create(self, profile: str) -> Instance:
        """Create the ARQs of a server."""
        instance = Instance(site_module.new_uuid(), profile)
        with self._lock:
            self.instances.append(instance)
        try:
            status, body = self.api.call(
                "POST",
                "/accelerator_requests",
                {"device_profile_name": profile},
            )
            assert status == 201, (status, body)
            instance.arqs = [arq["uuid"] for arq in body["arqs"]]
        except Lost:
            instance.unsure = True
        return instance

    def bind(self, instance: Instance) -> bool:
        """Bind a server's ARQs; returns whether the answer was success."""
        host = PROFILES[instance.profile][1]
        return self._bind(instance, instance.uuid, host)

    def _bind(self, instance: Instance, server: str, host: str) -> bool:
        if not instance.arqs:
            return False
        values = {
            "hostname": host,
            "device_rp_uuid": self._provider(host),
            "instance_uuid": server,
        }
        operations = [
            {"op": "add", "path": f"/{name}", "value": value}
            for name, value in values.items()
        ]
        try:
            status, body = self._patch(instance, operations)
        except Lost:
            instance.unsure = True
            return False
        assert status in (202, 404, 409), (status, body)
        if status == 202:
            instance.state, instance.uuid = "bound", server
        return status == 202

    def _provider(self, host: str) -> str:
        """Return the provider of a host's first card, as last seen."""
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            self._providers |= self.site.providers()
        return self._providers[host]

    def _patch(
        self, instance: Instance, operations: list[dict[str, str]]
    ) -> tuple[int, Any]:
        return self.api.call(
            "PATCH",
            "/accelerator_requests",
            dict.fromkeys(instance.arqs, operations),
        )

    def boot(self, profile: str) -> Instance:
        instance = self.create(profile)
        self.bind(instance)
        return instance

    def unbind(self, instance: Instance) -> None:
        if not instance.arqs:
            return
        self._let_go(instance)
        operations = [
            {"op": "remove", "path": f"/{name}"}
            for name in ("hostname", "device_rp_uuid", "instance_uuid")
        ]
        try:
            status, body = self._patch(instance, operations)
        except Lost:
            instance.unsure = True
            return
        assert status in (202, 404, 409), (status, body)
        if status == 202:
            instance.state = "unbound"

    def move(self, instance: Instance) -> None:
        """Unbind a server's ARQs and bind them to another server."""
        self.unbind(instance)
        if instance.state == "unbound":
            instance.uuid = site_module.new_uuid()
            self.bind(instance)

    def bind_twice(self, instance: Instance) -> None:
        """Ask as a client does whose first answer was slow."""
        self._at_once(lambda: self.bind(instance), lambda: self.bind(instance))

    def quarrel(self, instance: Instance) -> None:
        """Bind the same ARQs to two servers at once: one may get them."""
        host = PROFILES[instance.profile][1]
        servers = [site_module.new_uuid() for _ in range(2)]
        won = self._at_once(
            *(
                lambda server=server: self._bind(instance, server, host)
                for server in servers
            )
        )
        if all(won):
            if instance.profile in AT_ONCE:
                self.violations.append(
                    f"ARQs {instance.arqs} were given to both of {servers}"
                )
            instance.unsure = True

    @staticmethod
    def _at_once(*calls: Any) -> list[bool]:
        results: list[bool] = [False] * len(calls)

        def run(index: int) -> None:
            results[index] = calls[index]()

        threads = [
            threading.Thread(target=run, args=(index,))
            for index in range(len(calls))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def delete(self, instance: Instance, by_instance: bool = True) -> None:
        paths = []
        if by_instance:
            paths.append(f"/accelerator_requests?instance={instance.uuid}")
        if instance.arqs and (
            not by_instance or instance.unsure or instance.state != "bound"
        ):
            # After a bind that failed, Nova names the ARQs.
            paths.append(
                f"/accelerator_requests?arqs={','.join(instance.arqs)}"
            )
        self._let_go(instance)
        try:
            for path in paths:
                status, body = self.api.call("DELETE", path)
                assert status in (204, 404), (status, body)
            # Without an answer to the POST there is no name to delete by.
            instance.unsure = instance.unsure and not instance.arqs
            instance.state = "deleted"
        except Lost:
            instance.unsure = True

    def look(self, instance: Instance) -> None:
        """Ask what a server has, and compare it with what is known."""
        try:
            status, body = self.api.call(
                "GET", f"/accelerator_requests?instance={instance.uuid}"
            )
        except Lost:
            return
        assert status == 200, (status, body)
        if instance.unsure:
            # What was asked for may be done at any time yet.
            return
        self._compare(instance, body["arqs"])
        for arq in body["arqs"]:
            if arq["state"] == "Bound":
                self._hold(instance, arq)

    def _compare(self, instance: Instance, found: list[Any]) -> None:
        """A success is no more lost while the storm goes on than after."""
        expected = instance.arqs if instance.state == "bound" else []
        if sorted(expected) != sorted(arq["uuid"] for arq in found):
            self.violations.append(
                f"{instance.state} server {instance.uuid} of {expected} "
                f"was shown {found}"
            )

    def _hold(self, instance: Instance, arq: Any) -> None:
        holding = Holding(
            arq["attach_handle_uuid"],
            instance.uuid,
            arq["uuid"],
            time.monotonic(),
        )
        with self._lock:
            for known in self.holdings:
                if known.arq == holding.arq and known.until == math.inf:
                    if known.handle != holding.handle:
                        self.violations.append(f"{known} became {holding}")
                    return
            self.holdings.append(holding)

    def _let_go(self, instance: Instance) -> None:
        with self._lock:
            for holding in self.holdings:
                if holding.arq in instance.arqs and holding.until == math.inf:
                    holding.until = time.monotonic()

    def given_twice(self) -> list[str]:
        """Return which servers were shown to have one handle at once."""
        return [
            f"handle given twice: {one}, {other}"
            for one, other in itertools.combinations(self.holdings, 2)
            if one.collides(other)
        ]

    # -- cards

    def _list(self, what: str) -> list[Any]:
        status, body = self.api.call("GET", f"/{what}")
        assert status == 200, (status, body)
        return list(body[what])

    def program(self, image: str) -> None:
        """Load an image into the card of the FPGA host."""
        with contextlib.suppress(Lost):
            for deployable in self._list("deployables"):
                if deployable["name"] == "fpga-host_FakeDevice":
                    status, body = self.api.call(
                        "PATCH",
                        f"/deployables/{deployable['uuid']}",
                        [{"op": "add", "path": "/bitstream", "value": image}],
                    )
                    assert status in (202, 409), (status, body)

    def firmware(self, image: str, host: str = "gpu-host") -> None:
        """Load firmware into the cards of a host."""
        with contextlib.suppress(Lost):
            for device in self._list("devices"):
                if device["hostname"] == host:
                    status, body = self.api.call(
                        "PATCH",
                        f"/devices/{device['uuid']}",
                        [{"op": "add", "path": "/firmware", "value": image}],
                    )
                    assert status in (202, 404, 409), (status, body)

    def set_status(self, rng: random.Random, word: str | None = None) -> None:
        """Enable or disable a card."""
        with contextlib.suppress(Lost):
            devices = self._list("devices")
            if devices:
                device = rng.choice(devices)["uuid"]
                self.tell(device, word or rng.choice(["enable", "disable"]))

    def tell(self, device: str, word: str) -> None:
        status_of = {"enable": "enabled", "disable": "maintaining"}
        try:
            status, body = self.api.call("POST", f"/devices/{device}/{word}")
        except Lost:
            self.wishes[device] = None
            raise
        assert status in (200, 404), (status, body)
        if status == 404:
            self.wishes.pop(device, None)
        else:
            self.wishes[device] = status_of[word]

    def lay_out(self, host: str, layout: str) -> None:
        """Say which providers count a host's cards."""
        self.site.tool("manage", "placement", "layout", host, layout)

    def force_down(self, rng: random.Random, down: bool) -> None:
        """Say that a host is not to be used, or may be again."""
        with contextlib.suppress(Lost):
            agents = [
                service
                for service in self._list("services")
                if service["binary"] == "cyborg-agent"
            ]
            service = rng.choice(agents)
            status, body = self.api.call(
                "PUT", f"/services/{service['id']}", {"forced_down": down}
            )
            assert status == 200, (status, body)

    def mend(self) -> None:
        """Have every card and host in use again; ask until it is so."""
        deadline = time.monotonic() + 60
        while True:
            try:
                for device in self._list("devices"):
                    if device["status"] != "enabled":
                        self.tell(device["uuid"], "enable")
                for service in self._list("services"):
                    if service["forced_down"]:
                        self.api.call(
                            "PUT",
                            f"/services/{service['id']}",
                            {"forced_down": False},
                        )
                return
            except Lost:
                assert time.monotonic() < deadline, self.history[-5:]
                time.sleep(0.5)
