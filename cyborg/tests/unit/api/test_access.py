"""Requests of each persona: policy, project, service token."""

import pytest

from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

DEVICE = f"/v2/devices/{records.uuid(1, 'd')}"
DEPLOYABLE = f"/v2/deployables/{records.uuid(1, 'e')}"
ATTRIBUTE = f"/v2/attributes/{records.uuid(99, 'a')}"
PROFILE = f"/v2/device_profiles/{records.uuid(99, '9')}"
ARQ = f"/v2/accelerator_requests/{records.uuid(99, '1')}"

READS = [
    "/v2/devices",
    DEVICE,
    "/v2/deployables",
    DEPLOYABLE,
    "/v2/attributes",
]
PUBLISHED = ["/v2/device_profiles"]
ARQS = ["/v2/accelerator_requests"]
ADMIN_WRITES = [
    ("POST", f"{DEVICE}/enable"),
    ("POST", f"{DEVICE}/disable"),
    ("PATCH", f"{DEPLOYABLE}/program"),
    ("POST", "/v2/attributes"),
    ("DELETE", ATTRIBUTE),
    ("POST", "/v2/device_profiles"),
    ("DELETE", PROFILE),
]
ARQ_WRITES = [
    ("POST", "/v2/accelerator_requests"),
    ("PATCH", "/v2/accelerator_requests"),
    ("DELETE", ARQ),
]


@pytest.mark.parametrize(
    ("persona", "hardware", "profiles", "arqs"),
    [
        ("admin", 200, 200, 200),
        ("manager", 200, 200, 200),
        ("member", 403, 200, 200),
        ("reader", 403, 200, 200),
        ("service", 403, 403, 403),
        ("nobody", 403, 403, 403),
    ],
)
def test_reads(
    shared_api: api_fixture.Api,
    persona: str,
    hardware: int,
    profiles: int,
    arqs: int,
) -> None:
    for paths, status in (
        (READS, hardware),
        (PUBLISHED, profiles),
        (ARQS, arqs),
    ):
        for path in paths:
            response = shared_api.ask("GET", path, persona=persona)
            assert response.status_int == status, path


@pytest.mark.parametrize(
    ("persona", "administers", "requests"),
    [
        ("admin", True, True),
        ("manager", False, True),
        ("member", False, True),
        ("reader", False, False),
        ("service", False, True),
        ("nobody", False, False),
    ],
)
def test_writes(
    shared_api: api_fixture.Api,
    persona: str,
    administers: bool,
    requests: bool,
) -> None:
    """An empty body is looked at only after the rule."""
    for operations, admitted in (
        (ADMIN_WRITES, administers),
        (ARQ_WRITES, requests),
    ):
        for method, path in operations:
            if admitted and path.endswith(("/enable", "/disable")):
                continue
            response = shared_api.ask(method, path, persona=persona)
            expected = {400, 404} if admitted else {403}
            assert response.status_int in expected, (method, path)


@pytest.mark.parametrize("path", [*READS, *PUBLISHED, *ARQS])
def test_token_without_a_project(
    shared_api: api_fixture.Api, path: str
) -> None:
    for scope in ({}, {"OpenStack-System-Scope": "all"}):
        response = shared_api.ask(
            "GET", path, headers={"X-Project-Id": "", **scope}
        )
        assert response.status_int == 403
        assert "cyborg:" in api_fixture.fault(response)


def test_service_token_has_to_be_valid_and_of_a_service(
    shared_api: api_fixture.Api,
) -> None:
    path = f"/v2/accelerator_requests?instance={records.uuid(1, '4')}"
    for headers, status in (
        ({}, 403),
        ({"X-Service-Roles": "service"}, 403),
        (
            {
                "X-Service-Roles": "service",
                "X-Service-Identity-Status": "Invalid",
            },
            403,
        ),
        (
            {
                "X-Service-Roles": "member",
                "X-Service-Identity-Status": "Confirmed",
            },
            403,
        ),
        (
            {
                "X-Service-Roles": "reader,service",
                "X-Service-Identity-Status": "Confirmed",
            },
            204,
        ),
    ):
        response = shared_api.ask(
            "DELETE", path, persona="member", headers=headers
        )
        assert response.status_int == status, headers


def test_policy_file_may_let_support_staff_see_all_projects(
    shared_api: api_fixture.Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with shared_api.writing() as connection:
        profile = records.device_profile(connection, 1, "p")
        records.arq(connection, 1, profile, project_id="somebody")
    path = "/v2/accelerator_requests"
    assert shared_api.get(path, persona="reader")["arqs"] == []
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text('"cyborg:arq:get_all:all_projects": "role:reader"\n')
    CONF.set_override("policy_file", str(file), "oslo_policy")
    policy.reset()
    try:
        (arq,) = shared_api.get(path, persona="reader")["arqs"]
        shown = shared_api.get(f"{path}/{arq['uuid']}", persona="reader")
        assert shown == arq
    finally:
        CONF.clear_override("policy_file", "oslo_policy")
        policy.reset()
