"""A host beside a real Placement."""

import dataclasses
from typing import Any

from oslo_utils import uuidutils

from cyborg.conductor.placement import sync
from cyborg.tests.fixtures import cards
from cyborg.tests.fixtures import placement as placement_fixture


@dataclasses.dataclass
class Site:
    """A host, its root provider, and every request Placement was sent."""

    peer: placement_fixture.Placement
    host: cards.Host
    root: str
    requests: list[tuple[str, str]]

    def sync(self, **options: Any) -> dict[int, str]:
        self.requests.clear()
        return sync.sync_host(self.host.context, self.host.name, **options)

    def audit(self) -> list[str]:
        changes, problems = sync.audit(self.host.context, self.host.name)
        return [change.action for change in changes] + problems

    @property
    def tree(self) -> dict[str, dict[str, Any]]:
        return self.peer.tree(self.root)

    def put(self, path: str, **body: Any) -> None:
        self.peer.client.put(
            path,
            json=body,
            headers={"OpenStack-API-Version": "placement 1.37"},
        )

    def generation(self, rp_uuid: str) -> int:
        found = self.peer.get(f"/resource_providers/{rp_uuid}")
        return int(found["generation"])

    def set_traits(self, rp_uuid: str, *traits: str) -> None:
        for trait in traits:
            if trait.startswith("CUSTOM_"):
                self.put(f"/traits/{trait}")
        self.put(
            f"/resource_providers/{rp_uuid}/traits",
            traits=list(traits),
            resource_provider_generation=self.generation(rp_uuid),
        )

    def set_inventories(self, rp_uuid: str, **inventories: Any) -> None:
        self.put(
            f"/resource_providers/{rp_uuid}/inventories",
            inventories=inventories,
            resource_provider_generation=self.generation(rp_uuid),
        )

    def allocate(self, rp_uuid: str, rc: str = "FPGA") -> str:
        consumer = uuidutils.generate_uuid()
        self.peer.allocate(
            consumer, {"allocations": {rp_uuid: {"resources": {rc: 1}}}}
        )
        return consumer

    def create_child(self, name: str, rp_uuid: str, parent: str) -> None:
        self.peer.client.post(
            "/resource_providers",
            json={
                "name": name,
                "uuid": rp_uuid,
                "parent_provider_uuid": parent,
            },
        )
