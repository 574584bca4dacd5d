"""What the flows look at: a compute host, its records, its providers."""

import dataclasses
from typing import Any
import uuid

import sqlalchemy as sa

from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services

FAKE_HANDLES = 16


@dataclasses.dataclass
class Compute:
    """A host with the fake driver's one device.

    :ivar host: name on the bus, and of the root provider
    :ivar root: uuid of the root provider
    :ivar agent: its cyborg-agent
    """

    cloud: services.Cloud
    host: str
    root: str
    agent: process.Process

    @property
    def provider_name(self) -> str:
        return f"{self.host}_FakeDevice"

    def provider(self) -> dict[str, Any] | None:
        """Return Placement's record of the device, if there is one."""
        return self.cloud.placement.tree(self.root).get(self.provider_name)


def start_compute(cloud: services.Cloud, **options: Any) -> Compute:
    """Start an agent and return when Placement knows its device."""
    host = f"compute-{uuid.uuid4().hex[:8]}"
    root = cloud.placement.create_provider(host)
    agent = cloud.agent(host, options=options or None)
    agent.start()
    compute = Compute(cloud, host, root, agent)

    def published() -> bool:
        provider = compute.provider()
        return provider is not None and bool(
            provider["inventories"] and provider["traits"]
        )

    process.wait_until(published, f"provider {compute.provider_name}", 60)
    return compute


def rows(cloud: services.Cloud, query: str, **values: Any) -> list[Any]:
    """Return what a SELECT finds in the cloud's database."""
    engine = sa.create_engine(cloud.database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query), values))


def handles_in_use(compute: Compute) -> int:
    """Return how many handles of the host's device are given away."""
    found = rows(
        compute.cloud,
        "SELECT h.uuid FROM attach_handles h"
        " JOIN deployables d ON d.id = h.deployable_id"
        " WHERE d.name = :name AND h.in_use",
        name=compute.provider_name,
    )
    return len(found)


def check_agreement(compute: Compute, given: int) -> None:
    """Check that database and Placement tell the same story of a host.

    :param given: how many handles instances hold now
    """
    (deployable,) = rows(
        compute.cloud,
        "SELECT d.id, d.num_accelerators, d.rp_uuid, v.hostname, v.status"
        " FROM deployables d JOIN devices v ON v.id = d.device_id"
        " WHERE d.name = :name",
        name=compute.provider_name,
    )
    handles = rows(
        compute.cloud,
        "SELECT id, in_use FROM attach_handles WHERE deployable_id = :id",
        id=deployable.id,
    )
    attached = rows(
        compute.cloud,
        "SELECT attach_handle_id FROM extended_accelerator_requests"
        " WHERE deployable_id = :id AND attach_handle_id IS NOT NULL",
        id=deployable.id,
    )
    provider = compute.provider()
    assert provider is not None
    assert provider["uuid"] == deployable.rp_uuid
    assert provider["parent"] == compute.root
    assert deployable.hostname == compute.host
    inventory = provider["inventories"]["FPGA"]
    assert inventory["total"] == deployable.num_accelerators == len(handles)
    assert inventory["max_unit"] == inventory["total"]
    fenced = deployable.status == "maintaining"
    assert inventory["reserved"] == (inventory["total"] if fenced else 0)
    assert {"CUSTOM_FAKE_DEVICE", "OWNER_CYBORG"} <= provider["traits"]
    in_use = {handle.id for handle in handles if handle.in_use}
    # Each handle that is given away belongs to one request, and the other
    # way round.
    assert len(attached) == given
    assert in_use == {row.attach_handle_id for row in attached}
    assert provider["usages"]["FPGA"] == given
