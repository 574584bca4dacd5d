"""What clients see of an accelerator request that has failed."""

import datetime
import types
from typing import Any

import pytest

from cyborg.api import versions
from cyborg.api.types import arq
from cyborg.api.types import base
from cyborg.common import states
from cyborg.policies import arq as policies

ROW = types.SimpleNamespace(
    uuid="eeeeeeee-0000-4000-8000-000000000001",
    state="BindFailed",
    device_profile_name="gpu",
    device_profile_group_id=0,
    hostname="compute-1",
    device_rp_uuid=None,
    instance_uuid=None,
    project_id="mine",
    attach_handle_type=None,
    attach_handle_uuid=None,
    attach_handle_info=None,
    state_reason=states.Reason.UNPREPARED.value,
    state_detail="mdevctl on compute-1 failed with 1",
    created_at=datetime.datetime(2026, 7, 21, tzinfo=datetime.UTC),
    updated_at=None,
)


@pytest.mark.parametrize(
    ("version", "is_admin", "shown"),
    [
        (versions.RESOURCES, True, {}),
        (
            versions.LIFE,
            False,
            {"state_reason": "The host could not prepare the device."},
        ),
        (
            versions.LIFE,
            True,
            {
                "state_reason": "The host could not prepare the device.",
                "state_detail": "mdevctl on compute-1 failed with 1",
            },
        ),
    ],
)
def test_why_it_failed_is_told_by_who_asks(
    version: versions.Version, is_admin: bool, shown: dict[str, str]
) -> None:
    request: Any = types.SimpleNamespace(
        version=version,
        permits=lambda rule: is_admin and rule == policies.ALL_PROJECTS,
        link=lambda *segments: {"href": "/".join(segments), "rel": "self"},
    )
    whole = base.show(arq.AcceleratorRequest, request, ROW)
    assert {
        name: value
        for name, value in whole.items()
        if name.startswith("state_")
    } == shown
