"""What the API refuses, with the status and the member it names.

Each at every version that the refusal is the same in.
"""

from typing import Any

import pytest

from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

VERSIONS = ("2.0", "2.3", "latest")

PROFILES = "/v2/device_profiles"
ARQS = "/v2/accelerator_requests"
ATTRIBUTES = "/v2/attributes"
PROGRAM = f"/v2/deployables/{records.uuid(1, 'e')}/program"

ARQ = records.uuid(1, "1")
RP = records.uuid(1, "f")
INSTANCE = records.uuid(1, "4")
FPGA = {"resources:FPGA": "1"}


def profile(**members: Any) -> list[dict[str, Any]]:
    return [{"name": "p", "groups": [FPGA]} | members]


def group(**keys: Any) -> list[dict[str, Any]]:
    """Return a profile; in keys ``__`` stands for the colon."""
    return profile(
        groups=[{key.replace("__", ":"): keys[key] for key in keys}]
    )


PROFILE_BODIES = [
    # A list with exactly one object.
    ("x", "body"),
    (5, "body"),
    (None, "body"),
    ({"name": "p", "groups": [FPGA]}, "body: has to be a list of"),
    ([], "body: has to be a list of"),
    ([None], "body[0]"),
    # Names.
    ([{"groups": [FPGA]}], "name"),
    (profile(name=None), "body[0].name"),
    (profile(name=5), "body[0].name"),
    (profile(name="a:b"), "body[0].name"),
    (profile(name="a b"), "body[0].name"),
    (profile(name="p\n"), "body[0].name"),
    (profile(uuid="x"), "body[0].uuid"),
    (profile(uuid=5), "body[0].uuid"),
    (profile(description=5), "body[0].description"),
    (profile(description="x" * 30000), "body[0].description"),
    (profile(description="\U0001f600"), "body[0].description"),
    (profile(description="\0"), "body[0].description"),
    # Groups.
    ([{"name": "p"}], "groups"),
    (profile(groups=None), "body[0].groups"),
    (profile(groups="x"), "body[0].groups"),
    (profile(groups={}), "body[0].groups"),
    (profile(groups=[]), "body[0].groups"),
    (profile(groups=["x"]), "body[0].groups[0]"),
    (profile(groups=[FPGA, None]), "body[0].groups[1]"),
    (group(color="red"), "resources:, trait: or accel:"),
    # Resources.
    (group(resources__GPU="1"), "PGPU or VGPU"),
    (group(resources__VCPU="1"), "VCPU"),
    (group(resources__fpga="1"), "fpga"),
    (group(resources__CUSTOM_="1"), "CUSTOM_"),
    (group(resources__CUSTOM_é="1"), "resources:CUSTOM_é"),
    # Its capital is SS.
    (group(resources__CUSTOM_ß="1"), "resources:CUSTOM_ß"),
    (group(**{"resources__CUSTOM_" + "A" * 249: "1"}), "255"),
    (group(resources__FPGA="0"), "groups[0].resources:FPGA"),
    (group(resources__FPGA=0), "groups[0].resources:FPGA"),
    (group(resources__FPGA=-1), "groups[0].resources:FPGA"),
    (group(resources__FPGA="1.5"), "groups[0].resources:FPGA"),
    (group(resources__FPGA=1.5), "groups[0].resources:FPGA"),
    (group(resources__FPGA=1.0), "groups[0].resources:FPGA"),
    (group(resources__FPGA=True), "groups[0].resources:FPGA"),
    (group(resources__FPGA="two"), "groups[0].resources:FPGA"),
    (group(resources__FPGA="٣"), "groups[0].resources:FPGA"),
    (group(resources__FPGA=""), "groups[0].resources:FPGA"),
    (group(resources__FPGA=None), "groups[0].resources:FPGA"),
    (group(resources__FPGA=["1"]), "groups[0].resources:FPGA"),
    (group(resources__FPGA="99999"), "256"),
    (group(resources__FPGA="9" * 40), "groups[0].resources:FPGA"),
    (
        profile(groups=[{"resources:FPGA": "1", "resources: FPGA": "2"}]),
        "resources:FPGA is given twice",
    ),
    (
        profile(groups=[{"resources:CUSTOM_A": 1, "resources:custom-a": 2}]),
        "given twice",
    ),
    # Traits.
    (group(resources__FPGA=1, trait__HW_CPU="required"), "trait:HW_CPU"),
    (group(resources__FPGA=1, trait__CUSTOM_A="maybe"), "trait:CUSTOM_A"),
    (group(resources__FPGA=1, trait__CUSTOM_A=True), "trait:CUSTOM_A"),
    (
        group(resources__PGPU=1, trait__CUSTOM_FPGA_XILINX="required"),
        "needs resources:FPGA",
    ),
    # What else an accelerator shall do.
    (group(resources__FPGA=1, accel__x={}), "accel:x"),
    (group(resources__FPGA=1, accel__x=None), "accel:x"),
    (
        group(resources__FPGA=1, accel__bitstream_id=1, accel__function_id=2),
        "accel:bitstream_id, accel:function_id",
    ),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("body", "named"), PROFILE_BODIES)
def test_profiles(
    shared_api: api_fixture.Api, body: Any, named: str, version: str
) -> None:
    response = shared_api.ask("POST", PROFILES, body, version=version)
    assert response.status_int == 400, response.text
    assert named in api_fixture.fault(response)
    assert shared_api.get(PROFILES)["device_profiles"] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        ("x", "body"),
        (None, "body"),
        ({}, "device_profile_name"),
        ({"device_profile_name": None}, "body.device_profile_name"),
        ({"device_profile_name": []}, "body.device_profile_name"),
        ({"device_profile_name": {}}, "body.device_profile_name"),
        ({"device_profile_name": 5}, "body.device_profile_name"),
    ],
)
def test_new_requests(
    shared_api: api_fixture.Api, body: Any, named: str, version: str
) -> None:
    response = shared_api.ask(
        "POST", ARQS, body, persona="member", version=version
    )
    assert response.status_int == 400
    assert named in api_fixture.fault(response)


def add(**values: Any) -> list[dict[str, Any]]:
    """Return operations that bind; None leaves one out."""
    values = {
        "hostname": "cn1",
        "device_rp_uuid": RP,
        "instance_uuid": INSTANCE,
    } | values
    return [
        {"op": "add", "path": f"/{name}", "value": value}
        for name, value in values.items()
        if value is not None
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "body"),
        ([], "body"),
        ("x", "body"),
        (None, "body"),
        ({ARQ: []}, ARQ),
        ({ARQ: {}}, ARQ),
        ({ARQ: [None]}, ARQ),
        ({"x": add()}, "x"),
        ({ARQ: add(), ARQ.replace("-", ""): add()}, "twice"),
        ({ARQ: [{"path": "/hostname", "value": "x"}]}, "op"),
        ({ARQ: [{"op": "add", "value": "x"}]}, "path"),
        ({ARQ: [{"op": "add", "path": "/hostname"}]}, "value"),
        ({ARQ: [{"op": "replace", "path": "/hostname", "value": "x"}]}, "op"),
        ({ARQ: [{"op": "add", "path": "/state", "value": "x"}]}, "path"),
        ({ARQ: [{"op": "remove", "path": "/state"}]}, "path"),
        ({ARQ: [*add(), {"op": "remove", "path": "/hostname"}]}, "remove"),
        ({ARQ: add(hostname=None)}, "/hostname is missing"),
        ({ARQ: add(device_rp_uuid=None)}, "/device_rp_uuid is missing"),
        ({ARQ: add(instance_uuid=None)}, "/instance_uuid is missing"),
        ({ARQ: add() + add()}, "twice"),
        ({ARQ: add(hostname="")}, "value"),
        ({ARQ: add(hostname=5)}, "value"),
        ({ARQ: add(hostname="h" * 256)}, "value"),
        ({ARQ: add(device_rp_uuid="x")}, "value"),
        ({ARQ: add(instance_uuid="x")}, "value"),
    ],
)
def test_binding(
    shared_api: api_fixture.Api, body: Any, named: str, version: str
) -> None:
    """The shape is looked at before the service token."""
    for service in (True, False):
        response = shared_api.ask(
            "PATCH",
            ARQS,
            body,
            persona="member",
            version=version,
            service=service,
        )
        assert response.status_int == 400
        assert named in api_fixture.fault(response)


def operation(**members: Any) -> list[dict[str, Any]]:
    """Return a body that programs; None leaves a member out."""
    members = {
        "op": "replace",
        "path": "/program",
        "value": [{"image_uuid": api_fixture.IMAGE}],
    } | members
    return [{k: v for k, v in members.items() if v is not None}]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        ({}, "body"),
        ("x", "body"),
        (None, "body"),
        ([None], "body[0]"),
        (operation() * 2, "body: has to be a list of one operation"),
        (operation(op=None), "op"),
        (operation(op="test"), "body[0].op"),
        (operation(op="remove", value=None), "body[0]"),
        (operation(path="program"), "body[0].path"),
        (operation(path="/program\n"), "body[0].path"),
        (operation(path="/name"), "body[0].path"),
        (operation(path="/num_accelerators"), "body[0].path"),
        (operation(value=None), "value"),
        (operation(value="x"), "body[0].value"),
        (operation(value=[]), "body[0].value"),
        (operation(value=[{}]), "image_uuid"),
        (operation(value=[{"image_uuid": "x"}]), "image_uuid"),
    ],
)
def test_programming(
    shared_api: api_fixture.Api, body: Any, named: str, version: str
) -> None:
    response = shared_api.ask("PATCH", PROGRAM, body, version=version)
    assert response.status_int == 400
    assert named in api_fixture.fault(response)


def attribute(**members: Any) -> dict[str, Any]:
    members = {"deployable_id": 1, "key": "k", "value": "v"} | members
    return {k: v for k, v in members.items() if v is not None}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        (None, "body"),
        ({"key": "k"}, "deployable_id"),
        (attribute(key=None), "key"),
        (attribute(key=""), "key"),
        (attribute(key=5), "key"),
        (attribute(value=None), "value"),
        (attribute(value=5), "value"),
        (attribute(deployable_id=None), "deployable_id"),
        (attribute(deployable_id="x"), "deployable_id"),
        (attribute(deployable_id=1.5), "deployable_id"),
        (attribute(deployable_id=True), "deployable_id"),
        (attribute(deployable_id=[1]), "deployable_id"),
        (attribute(uuid="x"), "uuid"),
    ],
)
def test_attributes(
    shared_api: api_fixture.Api,
    body: Any,
    named: str,
    version: str,
    wrapped: bool,
) -> None:
    body = {"attribute": body} if wrapped else body
    response = shared_api.ask("POST", ATTRIBUTES, body, version=version)
    assert response.status_int == 400
    assert named in api_fixture.fault(response)


def test_bodies_that_only_look_like_json(
    shared_api: api_fixture.Api,
) -> None:
    for body in (b"[" * 100000, b"\xff", b"1" * 5000, b"[Infinity]"):
        response = shared_api.ask("POST", PROFILES, body)
        assert response.status_int == 400
        assert "JSON" in api_fixture.fault(response)


@pytest.mark.parametrize("version", VERSIONS)
def test_bodies_that_are_too_deep(
    shared_api: api_fixture.Api, version: str
) -> None:
    """As deep as the interpreter can read, and looks no further."""
    for depth in (33, 200, *range(900, 1000)):
        deep = b"[" * depth + b"]" * depth
        for method, path, body in (
            ("POST", PROFILES, b'[{"name": "p", "groups": %s}]' % deep),
            ("POST", ARQS, b'{"device_profile_name": %s}' % deep),
            ("PATCH", ARQS, b'{"%s": %s}' % (ARQ.encode(), deep)),
            ("PATCH", PROGRAM, deep),
            ("POST", ATTRIBUTES, b'{"attribute": %s}' % deep),
        ):
            response = shared_api.ask(method, path, body, version=version)
            assert response.status_int == 400, response.text
            assert "JSON" in api_fixture.fault(response)


def test_path_that_is_not_utf8(shared_api: api_fixture.Api) -> None:
    response = shared_api.ask("GET", "/v2/device_profiles/%ff")
    assert response.status_int == 400
    assert "UTF-8" in api_fixture.fault(response)
