"""Deployables as clients see them."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base
from cyborg.api.types import job
from cyborg.api.types import withheld as withheld_type


@dataclasses.dataclass
class Related:
    """What is shown of deployables besides their rows, by their ids.

    :ivar jobs: the last of each, with what is loaded
    """

    attributes: Mapping[int, Sequence[Any]]
    jobs: Mapping[int, Any]


def _pairs(deployable: Any, related: Related) -> list[dict[str, str]]:
    return [
        {attribute.key: attribute.value}
        for attribute in related.attributes.get(deployable.id, ())
    ]


def _bitstream(deployable: Any, related: Related) -> str | None:
    # As of when the job was read, which may have ended just then.
    found = related.jobs.get(deployable.id, deployable).bitstream_id
    return None if found is None else str(found)


class Deployable(base.Resource):
    """The part of a device that is given to servers."""

    uuid = base.member(base.UUID, "The uuid of the deployable.")
    parent_id = base.member(
        base.NUMBER,
        "The number of the parent; use ``parent_uuid``.",
        nullable=True,
    )
    root_id = base.member(
        base.NUMBER,
        "The number of the root; use ``root_uuid``.",
        nullable=True,
    )
    name = base.member(
        base.TEXT, "The name, which the resource provider has, too."
    )
    num_accelerators = base.member(
        base.COUNT, "How many accelerators it has to give."
    )
    device_id = base.member(
        base.NUMBER, "The number of the device; use ``device_uuid``."
    )
    attributes_list = base.member(
        base.JSON_TEXT,
        "A JSON list of one-member objects as text; use ``attributes``.",
        value=lambda deployable, related: json.dumps(
            _pairs(deployable, related)
        ),
    )
    rp_uuid = base.member(
        base.UUID,
        "The uuid of its resource provider; null until there is one.",
        nullable=True,
    )
    driver_name = base.member(
        base.TEXT, "The driver that reported it.", nullable=True
    )
    bitstream_id = base.member(
        base.UUID,
        "The uuid of the image that was loaded last.",
        nullable=True,
        value=_bitstream,
    )
    device_uuid = base.member(
        base.UUID,
        "The uuid of the device it is part of.",
        since=versions.STRICT,
    )
    parent_uuid = base.member(
        base.UUID,
        "The uuid of the parent.",
        since=versions.STRICT,
        nullable=True,
    )
    root_uuid = base.member(
        base.UUID,
        "The uuid of the root.",
        since=versions.STRICT,
        nullable=True,
    )
    attributes = base.member(
        [
            base.Scalar(
                "pair",
                dict,
                type="object",
                additionalProperties=base.TEXT.schema,
                minProperties=1,
                maxProperties=1,
            )
        ],
        "The attributes: objects with one member each. ``rc`` is the resource "
        "class; ``trait0`` and so on are traits.",
        since=versions.STRICT,
        value=_pairs,
    )
    last_job = job.last_job()
    withheld = withheld_type.member(
        withheld_type.of_deployable,
        "Why nobody is given it: objects with ``rule``, the name of a rule of "
        "the agent's, and ``text``. Empty if it is offered; what servers have "
        "stays theirs.",
    )
    links = base.links("deployables", bookmark=True)
    created_at = base.created_at()
    updated_at = base.updated_at()


SHOWN = base.shown(Deployable)
LISTED = base.listed("deployables", "The deployables.", SHOWN)
