"""Bitstreams and firmware reach a card; the samples of the API that need it.

An agent with the fake driver, whose control file says how the card behaves.
"""

from collections.abc import Iterator
import contextlib
import json
import pathlib
from typing import Any
import uuid

import jsonschema
import pytest

from cyborg.api import versions
from cyborg.api.types import deployable as deployable_types
from cyborg.api.types import device as device_types
from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import samples
from cyborg.tests.fixtures import services
from cyborg.tests.functional.faults import peers
from cyborg.tests.functional.flows import site

pytestmark = [
    pytest.mark.skipif(
        not samples.DIRECTORY.exists(), reason="not a source tree"
    ),
    # What a card is told does not depend on the engine.
    pytest.mark.parametrize("cloud", ["postgresql"], indirect=True),
]

ADDRESS = "0000:0c:00.0"
FUNCTION = "CUSTOM_FPGA_FUNCTION_ID_FAKE_GZIP"
OTHER_IMAGE = "0f9e8d7c-6b5a-4948-8737-261504f3e2d1"


def sample(name: str) -> Any:
    return json.loads(samples.read(name))


@pytest.fixture(scope="module")
def image() -> str:
    """The image of the samples."""
    return str(sample(samples.PROGRAM)[0]["value"][0]["image_uuid"])


@pytest.fixture(scope="module")
def compute(cloud: services.Cloud, image: str) -> Iterator[site.Compute]:
    """A host in a cloud that has images."""
    glance = peers.Glance({"gzip": image, "aes": OTHER_IMAGE})
    glance.start()
    cloud.options["glance"] = {"endpoint_override": glance.url}
    conductor, api = cloud.conductor(), cloud.api()
    conductor.launch()
    api.launch()
    conductor.wait_ready()
    api.wait_ready()
    yield site.start_compute(cloud)
    glance.stop()


@pytest.fixture(scope="module")
def admin(compute: site.Compute) -> client.Client:
    cloud = compute.cloud
    return client.Client(
        cloud.keystone, cloud.url, microversion=str(versions.MAXIMUM)
    )


@pytest.fixture
def device(admin: client.Client, compute: site.Compute) -> str:
    """Path of the host's device."""
    (found,) = admin.get("/devices", hostname=compute.host)["devices"]
    return f"/devices/{found['uuid']}"


@pytest.fixture
def deployable(admin: client.Client, compute: site.Compute) -> str:
    """Path of the device's deployable."""
    (found,) = admin.get("/deployables", name=compute.provider_name)[
        "deployables"
    ]
    return f"/deployables/{found['uuid']}"


@contextlib.contextmanager
def behaving(compute: site.Compute, **operations: Any) -> Iterator[None]:
    """Let the card behave in some way; see the fake driver."""
    state = compute.cloud.directory / compute.host
    control = state / "fake-driver.json"
    control.write_text(json.dumps(operations))
    try:
        yield
    finally:
        control.unlink()


def loaded(compute: site.Compute) -> str:
    """Return the digest of what the card holds."""
    state = compute.cloud.directory / compute.host
    path = pathlib.Path(state, "fake-driver", "images", ADDRESS)
    return path.read_text() if path.exists() else ""


def wait_for_job(
    admin: client.Client, path: str, *states: str
) -> dict[str, Any]:
    """Return the record at a path when its last job is in a state."""

    def look() -> dict[str, Any] | None:
        record: dict[str, Any] = admin.get(path)
        job = record["last_job"]
        return record if job and job["state"] in states else None

    found: dict[str, Any] = process.wait_until(
        look, f"last job of {path} {states}", 60
    )
    return found


def newest(schemas: Any) -> Any:
    return schemas[max(schemas)]


def program_body(image: str) -> list[dict[str, Any]]:
    (operation,) = sample(samples.PROGRAM)
    return [operation | {"value": [{"image_uuid": image}]}]


def bitstream_body(image: str) -> list[dict[str, str]]:
    return [{"op": "add", "path": "/bitstream", "value": image}]


def test_program(
    admin: client.Client, compute: site.Compute, deployable: str, image: str
) -> None:
    before = admin.get(deployable)
    assert before["last_job"] is None
    answer = admin.patch(f"{deployable}/program", sample(samples.PROGRAM), 200)
    jsonschema.validate(answer, newest(deployable_types.SHOWN))
    expected = sample(samples.PROGRAMMED)
    assert list(answer) == list(expected)
    assert answer["bitstream_id"] == expected["bitstream_id"] == image
    updated_at = {"updated_at": answer["last_job"]["updated_at"]}
    assert answer["last_job"] == expected["last_job"] | updated_at
    # What the image is for can be asked for now.
    assert answer["attributes"] == [
        *before["attributes"],
        {"trait_function0": FUNCTION},
    ]
    changed = {"attributes", "attributes_list", "bitstream_id", "last_job"}
    for name in set(before) - changed - {"updated_at"}:
        assert answer[name] == before[name], name
    assert loaded(compute) == peers.digest("gzip")

    def published() -> bool:
        provider = compute.provider()
        assert provider is not None
        return FUNCTION in provider["traits"]

    process.wait_until(published, f"trait {FUNCTION}")


def test_in_the_background(
    admin: client.Client, compute: site.Compute, deployable: str, image: str
) -> None:
    with behaving(compute, program={"hang": True}):
        admin.patch(deployable, bitstream_body(OTHER_IMAGE))
        record = wait_for_job(admin, deployable, "running")
        assert record["last_job"]["action"] == "program"
        process.wait_until(
            lambda: admin.get(deployable)["bitstream_id"] is None,
            "the image before to be forgotten",
        )
        # One thing at a time.
        admin.patch(deployable, bitstream_body(image), 409)
        admin.patch(f"{deployable}/program", program_body(image), 409)
    record = wait_for_job(admin, deployable, "done", "failed")
    jsonschema.validate(record, newest(deployable_types.SHOWN))
    assert record["last_job"]["state"] == "done"
    assert record["last_job"]["detail"] is None
    assert record["bitstream_id"] == OTHER_IMAGE
    site.check_agreement(compute, given=0)


def test_card_refuses(
    admin: client.Client, compute: site.Compute, deployable: str, image: str
) -> None:
    with behaving(compute, program={"result": False}):
        answer = admin.patch(f"{deployable}/program", program_body(image), 500)
        fault = answer["error_message"]
        assert fault["faultcode"] == "Server"
        told = wait_for_job(admin, deployable, "failed")["last_job"]["detail"]
        assert told
        assert told in fault["faultstring"]
        admin.patch(deployable, bitstream_body(image))
        wait_for_job(admin, deployable, "failed")
    # Nobody knows what it holds now.
    record = admin.get(deployable)
    assert record["bitstream_id"] is None
    assert FUNCTION not in record["attributes_list"]
    # The next attempt may succeed.
    admin.patch(f"{deployable}/program", program_body(image), 200)
    assert admin.get(deployable)["bitstream_id"] == image


def test_image_that_is_not_there(
    admin: client.Client, deployable: str
) -> None:
    held = admin.get(deployable)["last_job"]
    missing = str(uuid.uuid4())
    for path, body in (
        (f"{deployable}/program", program_body(missing)),
        (deployable, bitstream_body(missing)),
    ):
        answer = admin.patch(path, body, 404)
        assert missing in answer["error_message"]["faultstring"]
    assert admin.get(deployable)["last_job"] == held


def test_card_in_use(
    admin: client.Client,
    compute: site.Compute,
    deployable: str,
    device: str,
    image: str,
) -> None:
    cloud = compute.cloud
    name = f"one-{uuid.uuid4().hex[:8]}"
    groups = [{"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}]
    admin.post("/device_profiles", [{"name": name, "groups": groups}])
    arqs = admin.post("/accelerator_requests", {"device_profile_name": name})
    nova = client.Client(
        cloud.keystone, cloud.url, service_user=services.NOVA_USER
    )
    provider = compute.provider()
    assert provider is not None
    instance = str(uuid.uuid4())
    nova.patch(
        "/accelerator_requests",
        client.bind_body(
            arqs["arqs"], compute.host, provider["uuid"], instance
        ),
    )
    held = admin.get(deployable)["last_job"]
    admin.patch(f"{deployable}/program", program_body(image), 409)
    admin.patch(deployable, bitstream_body(image), 409)
    admin.patch(device, sample(samples.FIRMWARE), 409)
    assert admin.get(deployable)["last_job"] == held
    nova.delete("/accelerator_requests", instance=instance)
    admin.delete(f"/device_profiles/{name}")
    admin.patch(f"{deployable}/program", program_body(image), 200)


def test_firmware(
    admin: client.Client, compute: site.Compute, device: str
) -> None:
    with behaving(compute, update={"hang": True}):
        admin.patch(device, sample(samples.FIRMWARE))
        record = wait_for_job(admin, device, "running")
        assert record["last_job"]["action"] == "firmware"
        admin.patch(device, sample(samples.FIRMWARE), 409)
    record = wait_for_job(admin, device, "done", "failed")
    jsonschema.validate(record, newest(device_types.SHOWN))
    assert record["last_job"]["state"] == "done"
    with behaving(compute, update={"result": False}):
        admin.patch(device, sample(samples.FIRMWARE))
        record = wait_for_job(admin, device, "failed")
        assert record["last_job"]["detail"]


def test_stats(
    admin: client.Client, compute: site.Compute, device: str
) -> None:
    answer = admin.get(f"{device}/stats")
    jsonschema.validate(answer, newest(device_types.STATS))
    assert samples.shape(answer) == samples.shape(sample(samples.STATS))
    assert answer["device"]["device_name"] == ADDRESS
    assert answer["device"]["properties"]["image"] == loaded(compute)
    (part,) = answer["device"]["deploy"]
    assert part["accelerator"]["acc_name"] == compute.provider_name


def test_agent_that_is_away(
    admin: client.Client,
    compute: site.Compute,
    device: str,
    deployable: str,
    image: str,
) -> None:
    compute.agent.kill()
    try:
        answer = admin.get(f"{device}/stats", 503)
        assert compute.host in answer["error_message"]["faultstring"]
        # Known not to answer by now.
        process.wait_until(
            lambda: (
                admin.get("/services", host=compute.host)["services"][0][
                    "state"
                ]
                == "down"
            ),
            "the agent to be missed",
            60,
        )
        admin.patch(deployable, bitstream_body(image), 503)
        admin.patch(device, sample(samples.FIRMWARE), 503)
    finally:
        compute.agent.start()
