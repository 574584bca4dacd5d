"""Walks the main job with a real client, one line for each step."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import sys
import time
from typing import Any
import uuid

import openstack

from cyborg.standalone import cloud as cloud_module

_GROUP = {"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}
_PATIENCE = 30.0


class StepFailed(Exception):
    """Something did not come out as it has to."""


class Demo:
    """The main job against a running cloud.

    :param say: prints a line
    """

    def __init__(
        self, cloud: cloud_module.Cloud, say: Callable[[str], None] = print
    ) -> None:
        self._cloud = cloud
        self._say = say
        self._steps = 0
        self._client = openstack.connection.Connection(
            auth_type="none",
            auth={"endpoint": cloud.endpoint},
            app_name="cyborg-standalone",
        ).accelerator

    def run(self) -> bool:
        """Walk all steps; returns whether every one held."""
        instance = str(uuid.uuid4())
        name = f"demo-{instance[:8]}"
        try:
            self._walk(instance, name)
        except StepFailed as error:
            self._say(f"FAILED: {error}")
            return False
        finally:
            with contextlib.suppress(Exception):
                self._tidy(instance, name)
        self._say("Every step held.")
        return True

    def _step(self, text: str, answer: object) -> None:
        self._steps += 1
        self._say(f"{self._steps:2}. {text}: {answer}")
        sys.stdout.flush()

    def _hold(self, holds: object, what: str) -> None:
        if not holds:
            raise StepFailed(what)

    def _walk(self, instance: str, name: str) -> None:
        provider = self._discovered()
        before = self._show_tree("Placement before")
        profile = self._client.create_device_profile(
            name=name, groups=[_GROUP]
        )
        self._step(
            "The operator makes a device profile", f"{name} {profile.groups}"
        )
        candidate = self._candidate()
        self._step("The scheduler finds a provider", candidate)
        self._hold(candidate == provider, "it is not the fake device's")
        self._claim(instance, candidate)
        arq = self._bind(instance, name, candidate)
        event = self._cloud.events.wait_for(arq.uuid, _PATIENCE)
        self._hold(event, "Nova was not told")
        self._step(
            "Nova is told",
            f"{event['name']} {event['status']}" if event else "",
        )
        self._show_tree("Placement while it is used")
        self._release(instance, arq, name)
        after = self._show_tree("Placement after")
        self._hold(before == after, "Placement is not as it was")

    def _discovered(self) -> str:
        device = self._wait(lambda: next(self._client.devices(), None))
        self._hold(device, "the agent reported no device")
        self._step(
            "The agent's fake driver found a device",
            f"{device.type} {device.vendor} on {device.hostname}",
        )
        deployable = next(self._client.deployables())
        provider = self._wait(lambda: self._provider(deployable.name))
        self._hold(provider, "Placement was not told of it")
        self._step(
            "The conductor stored and published it",
            f"{deployable.name}, {deployable.num_accelerators} accelerators",
        )
        return str(provider)

    def _provider(self, name: str) -> str | None:
        """Return the uuid of a provider that has an inventory, or None."""
        get = self._cloud.placement.get
        found = get("/resource_providers", params={"name": name}).json()
        for provider in found["resource_providers"]:
            path = f"/resource_providers/{provider['uuid']}/inventories"
            if get(path).json()["inventories"]:
                return str(provider["uuid"])
        return None

    def _wait(self, look: Callable[[], Any]) -> Any:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.2)
        return None

    def _candidate(self) -> str | None:
        answer = self._cloud.placement.get(
            "/allocation_candidates",
            params={
                "resources1": "FPGA:1",
                "required1": "CUSTOM_FAKE_DEVICE",
            },
        ).json()
        return next(iter(answer["provider_summaries"]), None) and next(
            iter(answer["allocation_requests"][0]["allocations"])
        )

    def _claim(self, instance: str, provider: str | None) -> None:
        answer = self._cloud.placement.put(
            f"/allocations/{instance}",
            json={
                "allocations": {provider: {"resources": {"FPGA": 1}}},
                "project_id": cloud_module.PROJECT_ID,
                "user_id": cloud_module.PROJECT_ID,
                "consumer_generation": None,
            },
        )
        self._hold(answer.status_code == 204, answer.text)
        self._step("Nova claims it for a server", instance)

    def _bind(self, instance: str, name: str, provider: str | None) -> Any:
        arq = self._client.create_accelerator_request(device_profile_name=name)
        self._step("Nova asks for an accelerator", f"{arq.uuid} {arq.state}")
        self._hold(arq.state == "Initial", "it is not in its first state")
        fields = {
            "hostname": self._cloud.host,
            "device_rp_uuid": provider,
            "instance_uuid": instance,
        }
        self._client.patch_accelerator_request(
            arq.uuid,
            [
                {"op": "add", "path": f"/{field}", "value": value}
                for field, value in fields.items()
            ],
        )
        bound = self._wait(
            lambda: next(
                (
                    found
                    for found in [
                        self._client.get_accelerator_request(arq.uuid)
                    ]
                    if found.state == "Bound"
                ),
                None,
            )
        )
        self._hold(bound, "it was not bound")
        self._step(
            "Nova binds it and reads its handle back",
            f"{bound.state} {bound.attach_handle_type} "
            f"{bound.attach_handle_info}",
        )
        return bound

    def _release(self, instance: str, arq: Any, name: str) -> None:
        self._client.delete_accelerator_request(arq.uuid)
        left = [
            a for a in self._client.accelerator_requests() if a.id == arq.id
        ]
        self._hold(not left, "the request is still there")
        self._cloud.placement.delete(f"/allocations/{instance}")
        self._step("Nova gives it back", "the request is gone")
        self._client.delete_device_profile(name)
        self._step("The operator removes the profile", name)

    def _tidy(self, instance: str, name: str) -> None:
        """Leave nothing behind, wherever the walk ended."""
        for arq in self._client.accelerator_requests():
            if arq.device_profile_name == name:
                self._client.delete_accelerator_request(arq.uuid)
        self._cloud.placement.delete(f"/allocations/{instance}")
        self._client.delete_device_profile(name, ignore_missing=True)

    def _show_tree(self, title: str) -> list[str]:
        lines = list(self._tree())
        self._step(title, "")
        for line in lines:
            self._say(f"      {line}")
        return lines

    def _tree(self) -> Iterator[str]:
        """Describe the host's providers, parents first."""
        get = self._cloud.placement.get
        providers = get("/resource_providers").json()["resource_providers"]
        for provider in sorted(
            providers,
            key=lambda p: (p["parent_provider_uuid"] or "", p["name"]),
        ):
            path = f"/resource_providers/{provider['uuid']}"
            stock = get(f"{path}/inventories").json()["inventories"]
            used = get(f"{path}/usages").json()["usages"]
            traits = get(f"{path}/traits").json()["traits"]
            amounts = ", ".join(
                f"{name} {used.get(name, 0)} of {values['total']} in use"
                for name, values in sorted(stock.items())
            )
            indent = "  " if provider["parent_provider_uuid"] else ""
            yield (
                f"{indent}{provider['name']}"
                + (f": {amounts}; {' '.join(sorted(traits))}" if stock else "")
            )
