"""The samples of the API reference are what is sent and answered."""

from collections.abc import Iterator
import dataclasses
import json
import pathlib
import re

import pytest

from cyborg.api import versions
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records
from cyborg.tests.fixtures import samples
from cyborg.tests.functional import gabbi_fixtures

pytestmark = pytest.mark.skipif(
    not samples.DIRECTORY.exists(), reason="not a source tree"
)

DEVICE = "6e1d2f3a-5b0c-4d8e-9a77-0c4b1f2e3d5a"
DEPLOYABLE = "29e2c1b4-7f3d-4a6e-8b90-d5c6e7f8a901"
PROVIDER = "853fb7a0-2c1d-4e5f-a6b7-c8d9e0f1a2b3"
INSTANCE = "d1e3f5a7-9b8c-4d2e-8f10-a1b2c3d4e5f6"
PROFILE = "c0f7a1d2-3b4c-4d5e-9f60-718293a4b5c6"
ARQ = "7e88d9c0-b1a2-4c3d-8e4f-5a6b7c8d9e0f"
ATTRIBUTE = "4b6d8f0a-2c4e-4061-8a3b-5c7d9e1f3a5b"
SERVICE = "f2d4c6b8-a09e-4871-9c2d-3e4f5a6b7c8d"
IMAGE = "76bac1d2-e3f4-4a5b-8c6d-7e8f90a1b2c3"
# What the fixture has under other uuids.
KNOWN = {
    DEVICE: records.uuid(1, "d"),
    DEPLOYABLE: records.uuid(1, "e"),
    PROVIDER: records.uuid(1, "f"),
    SERVICE: records.uuid(1, "2"),
    INSTANCE: INSTANCE,
    IMAGE: api_fixture.IMAGE,
}


@dataclasses.dataclass
class Step:
    """A request: its sample is ``name-req``, that of its answer ``-resp``."""

    method: str
    path: str
    status: int = 200
    request: str | None = None
    answer: str | None = None
    persona: str = "admin"
    service: bool = False


_ATTRIBUTES = f"/v2/deployables/{DEPLOYABLE}/attributes"
_ARQS = "accelerator_requests/accelerator-request"
STORY = [
    Step("GET", "/", answer="versions/versions-list-resp"),
    Step("GET", "/v2", answer="versions/version-show-resp"),
    # Devices
    Step(
        "GET",
        "/v2/devices?hostname=cn1",
        answer="devices/devices-list-resp",
    ),
    Step("GET", f"/v2/devices/{DEVICE}", answer="devices/device-show-resp"),
    Step(
        "PATCH",
        f"/v2/devices/{DEVICE}",
        request="devices/device-update-req",
        answer="devices/device-update-resp",
    ),
    Step(
        "GET",
        f"/v2/devices/{DEVICE}/history",
        answer="devices/device-history-resp",
    ),
    Step(
        "PATCH",
        f"/v2/devices/{DEVICE}",
        request="devices/device-condition-req",
        answer="devices/device-condition-resp",
    ),
    Step(
        "POST",
        f"/v2/devices/{DEVICE}/enable",
        answer="devices/device-enable-resp",
    ),
    Step(
        "POST",
        f"/v2/devices/{DEVICE}/disable",
        answer="devices/device-disable-resp",
    ),
    Step(
        "POST",
        f"/v2/devices/{DEVICE}/enable",
        answer="devices/device-enable-resp",
    ),
    # Deployables
    Step(
        "GET",
        "/v2/deployables?name=cn1_0000:3b:00.0",
        answer="deployables/deployables-list-resp",
    ),
    Step(
        "GET",
        f"/v2/deployables/{DEPLOYABLE}",
        answer="deployables/deployable-show-resp",
    ),
    # Device profiles
    Step(
        "POST",
        "/v2/device_profiles",
        201,
        "device_profiles/device-profile-create-req",
        "device_profiles/device-profile-create-resp",
    ),
    Step(
        "GET",
        "/v2/device_profiles",
        answer="device_profiles/device-profiles-list-resp",
    ),
    Step(
        "GET",
        "/v2/device_profiles/gzip-fpga",
        answer="device_profiles/device-profile-show-resp",
    ),
    Step(
        "PUT",
        f"/v2/device_profiles/{PROFILE}",
        request="device_profiles/device-profile-update-req",
        answer="device_profiles/device-profile-update-resp",
    ),
    # Accelerator requests
    Step(
        "POST",
        "/v2/accelerator_requests",
        201,
        f"{_ARQS}-create-req",
        f"{_ARQS}-create-resp",
        persona="member",
    ),
    Step(
        "PATCH",
        "/v2/accelerator_requests",
        202,
        f"{_ARQS}-bind-req",
        persona="member",
        service=True,
    ),
    Step(
        "GET",
        f"/v2/accelerator_requests?instance={INSTANCE}",
        answer="accelerator_requests/accelerator-requests-list-resp",
        persona="member",
    ),
    Step(
        "GET",
        f"/v2/accelerator_requests/{ARQ}",
        answer=f"{_ARQS}-show-resp",
        persona="member",
    ),
    Step(
        "POST",
        f"/v2/accelerator_requests/{ARQ}/fault",
        204,
        f"{_ARQS}-fault-req",
        persona="member",
    ),
    Step(
        "PATCH",
        f"/v2/accelerator_requests/{ARQ}",
        202,
        f"{_ARQS}-unbind-req",
        persona="member",
        service=True,
    ),
    Step(
        "DELETE",
        f"/v2/accelerator_requests/{ARQ}",
        204,
        persona="member",
    ),
    # Attributes
    Step(
        "POST",
        "/v2/attributes",
        201,
        "attributes/attribute-create-req",
        "attributes/attribute-create-resp",
    ),
    Step(
        "GET",
        "/v2/attributes?key=phys_net",
        answer="attributes/attributes-list-resp",
    ),
    Step(
        "GET",
        f"/v2/attributes/{ATTRIBUTE}",
        answer="attributes/attribute-show-resp",
    ),
    Step("DELETE", f"/v2/attributes/{ATTRIBUTE}", 204),
    Step(
        "POST",
        _ATTRIBUTES,
        201,
        "deployable_attributes/attributes-create-req",
        "deployable_attributes/attributes-create-resp",
    ),
    Step(
        "GET",
        f"{_ATTRIBUTES}?key=rack",
        answer="deployable_attributes/attributes-list-resp",
    ),
    Step(
        "GET",
        f"{_ATTRIBUTES}/rack",
        answer="deployable_attributes/attribute-show-resp",
    ),
    Step(
        "PUT",
        f"{_ATTRIBUTES}/rack",
        204,
        "deployable_attributes/attribute-update-req",
    ),
    # After binding, since nobody does the job.
    Step(
        "PATCH",
        f"/v2/deployables/{DEPLOYABLE}",
        202,
        "deployables/deployable-update-req",
    ),
    # Services and quotas
    Step(
        "GET",
        "/v2/services?host=cn1",
        answer="services/services-list-resp",
    ),
    Step(
        "PUT",
        f"/v2/services/{SERVICE}",
        request="services/service-update-req",
        answer="services/service-update-resp",
    ),
    Step(
        "GET",
        "/v2/quota_usages?project_id=member-project",
        answer="quota_usages/quota-usages-list-resp",
    ),
]


class Public(gabbi_fixtures.APIWithPlacement):
    """The API with the address that the samples give it."""

    def _configure(self, directory: pathlib.Path) -> str:
        return (
            super()._configure(directory)
            + "[api]\npublic_endpoint = https://cloud.example.com\n"
        )


@pytest.fixture
def api() -> Iterator[api_fixture.Api]:
    fixture = Public()
    fixture.start_fixture()
    yield fixture.running
    fixture.stop_fixture()


def test_samples(api: api_fixture.Api) -> None:
    matcher = samples.Matcher(KNOWN)
    for step in STORY:
        body = None
        if step.request is not None:
            body = json.loads(matcher.real(samples.read(step.request)))
        response = api.ask(
            step.method,
            matcher.real(step.path),
            body,
            persona=step.persona,
            version=str(versions.MAXIMUM),
            service=step.service,
        )
        assert response.status_int == step.status, f"{step} {response.text}"
        if step.answer is None:
            assert not response.body
        else:
            matcher.check_answer(step.answer, response.json)


def test_every_sample_is_checked_and_shown() -> None:
    there = {
        str(path.relative_to(samples.DIRECTORY).with_suffix(""))
        for path in samples.DIRECTORY.rglob("*.json")
    }
    checked = set(samples.WITH_AGENT)
    for step in STORY:
        checked |= {step.request, step.answer} - {None}
    assert there == checked
    shown = set()
    for page in samples.DIRECTORY.parent.glob("*.inc"):
        shown |= set(
            re.findall(
                r"^\.\. literalinclude:: samples/(.*)\.json$",
                page.read_text(),
                re.MULTILINE,
            )
        )
    assert there == shown
