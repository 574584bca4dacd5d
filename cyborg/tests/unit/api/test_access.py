"""Requests of each persona: policy, project, service token."""

import re
from typing import Any

import pytest
import webob

from cyborg.api import app
from cyborg.api import routing
from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

ADMINS = {"admin", "bare admin"}
MANAGERS = ADMINS | {"manager"}
READERS = MANAGERS | {"member", "reader"}
# An administrator without the roles that Keystone implies is no member.
ARQ_WRITERS = {"admin", "manager", "member", "service"}

_ATTRIBUTES = "/v2/deployables/{uuid}/attributes"
ADMITTED = {
    ("GET", "/v2/devices"): MANAGERS,
    ("GET", "/v2/devices/{uuid}"): MANAGERS,
    ("GET", "/v2/devices/{uuid}/stats"): ADMINS,
    ("GET", "/v2/devices/{uuid}/history"): ADMINS,
    ("POST", "/v2/devices/{uuid}/enable"): ADMINS,
    ("POST", "/v2/devices/{uuid}/disable"): ADMINS,
    ("POST", "/v2/devices/enable"): ADMINS,
    ("PATCH", "/v2/devices/{uuid}"): ADMINS,
    ("GET", "/v2/deployables"): MANAGERS,
    ("GET", "/v2/deployables/{uuid}"): MANAGERS,
    ("PATCH", "/v2/deployables/{uuid}"): ADMINS,
    ("PATCH", "/v2/deployables/{uuid}/program"): ADMINS,
    ("PATCH", "/v2/deployables/{uuid}/program/{same_uuid}"): ADMINS,
    ("GET", "/v2/attributes"): MANAGERS,
    ("GET", "/v2/attributes/{uuid}"): MANAGERS,
    ("POST", "/v2/attributes"): ADMINS,
    ("DELETE", "/v2/attributes"): ADMINS,
    ("DELETE", "/v2/attributes/{uuid}"): ADMINS,
    ("GET", _ATTRIBUTES): MANAGERS,
    ("POST", _ATTRIBUTES): ADMINS,
    ("DELETE", _ATTRIBUTES): ADMINS,
    ("GET", f"{_ATTRIBUTES}/{{uuid_or_key}}"): MANAGERS,
    ("PUT", f"{_ATTRIBUTES}/{{uuid_or_key}}"): ADMINS,
    ("DELETE", f"{_ATTRIBUTES}/{{uuid_or_key}}"): ADMINS,
    ("GET", "/v2/device_profiles"): READERS,
    ("GET", "/v2/device_profiles/{uuid_or_name}"): READERS,
    ("POST", "/v2/device_profiles"): ADMINS,
    ("PUT", "/v2/device_profiles/{uuid_or_name}"): ADMINS,
    ("DELETE", "/v2/device_profiles"): ADMINS,
    ("DELETE", "/v2/device_profiles/{uuid_or_name}"): ADMINS,
    ("GET", "/v2/accelerator_requests"): READERS,
    ("GET", "/v2/accelerator_requests/{uuid}"): READERS,
    ("POST", "/v2/accelerator_requests"): ARQ_WRITERS,
    ("PATCH", "/v2/accelerator_requests"): ARQ_WRITERS,
    ("PATCH", "/v2/accelerator_requests/{uuid}"): ARQ_WRITERS,
    ("DELETE", "/v2/accelerator_requests"): ARQ_WRITERS,
    ("DELETE", "/v2/accelerator_requests/{uuid}"): ARQ_WRITERS,
    ("POST", "/v2/accelerator_requests/{uuid}/fault"): ARQ_WRITERS,
    ("GET", "/v2/services"): ADMINS,
    ("POST", "/v2/services/{id}/discover"): ADMINS,
    ("PUT", "/v2/services/{id}"): ADMINS,
    ("GET", "/v2/quota_usages"): READERS,
}
OPERATIONS = {
    (operation.method, operation.paths[0]): operation
    for controller in app.CONTROLLERS
    for operation, _handler in routing.operations(controller)
    if operation.rule is not None
}
NOTHING = records.uuid(99)


def paths(operation: routing.Operation) -> list[str]:
    """Return the paths of an operation, naming what is not there."""
    return [re.sub(r"\{\w+\}", NOTHING, path) for path in operation.paths]


def test_table_has_every_operation() -> None:
    assert ADMITTED.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("persona", api_fixture.PERSONAS)
def test_persona_may_do_exactly_these(
    shared_api: api_fixture.Api, persona: str
) -> None:
    """What a request is about is looked at only after the rule."""
    for key, operation in OPERATIONS.items():
        for path in paths(operation):
            response = shared_api.ask(
                operation.method, path, persona=persona, version="latest"
            )
            if persona in ADMITTED[key]:
                assert response.status_int in (200, 400, 404), (key, path)
            else:
                assert response.status_int == 403, (key, path)
                assert str(operation.rule) in api_fixture.fault(response)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"OpenStack-System-Scope": "all"},
        {"X-Domain-Id": "default"},
    ],
)
def test_token_without_a_project_may_do_nothing(
    shared_api: api_fixture.Api, scope: dict[str, str]
) -> None:
    for operation in OPERATIONS.values():
        for path in paths(operation):
            response = shared_api.ask(
                operation.method,
                path,
                version="latest",
                service=True,
                headers={"X-Project-Id": "", **scope},
            )
            assert response.status_int == 403, path
            assert str(operation.rule) in api_fixture.fault(response)


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


@pytest.mark.parametrize(
    ("persona", "service", "seen", "statuses"),
    [
        ("admin", False, 1, (200, 403, 403, 403, 204)),
        ("admin", True, 1, (200, 202, 204, 204, 204)),
        ("manager", False, 0, (404, 403, 403, 404, 404)),
        ("manager", True, 1, (404, 202, 204, 204, 204)),
        ("member", False, 0, (404, 403, 403, 404, 404)),
        ("member", True, 1, (404, 202, 204, 204, 204)),
        # A service's token lends nobody a role.
        ("reader", False, 0, (404, 403, 403, 403, 403)),
        ("reader", True, 1, (404, 403, 403, 403, 403)),
        # A user's token is none of a service, whatever its role.
        ("service", False, None, (403, 403, 403, 404, 404)),
        ("service", True, None, (403, 202, 204, 204, 204)),
        ("nobody", True, None, (403, 403, 403, 403, 403)),
    ],
)
def test_requests_of_another_project(
    api: api_fixture.Api,
    persona: str,
    service: bool,
    seen: int | None,
    statuses: tuple[int, ...],
) -> None:
    """Shown, unbound, deleted: of an instance, while bound, while not."""
    uuids = [records.uuid(number, "1") for number in range(1, 5)]
    with api.writing() as connection:
        profile = records.device_profile(connection, 1, "p")
        for number, state in enumerate(
            ("Bound", "Bound", "Bound", "Initial"), 1
        ):
            bound = state == "Bound"
            records.arq(
                connection,
                number,
                profile,
                state=state,
                instance_uuid=records.uuid(number) if bound else None,
                project_id="somebody",
            )
    path = "/v2/accelerator_requests"

    def ask(method: str, path: str, body: Any = None) -> webob.Response:
        return api.ask(method, path, body, persona=persona, service=service)

    response = ask("GET", f"{path}?instance={records.uuid(1)}")
    if seen is None:
        assert response.status_int == 403
    else:
        assert len(response.json["arqs"]) == seen
    unbind = {uuids[0]: [{"op": "remove", "path": "/hostname"}]}
    assert statuses == tuple(
        response.status_int
        for response in (
            ask("GET", f"{path}/{uuids[3]}"),
            ask("PATCH", path, unbind),
            ask("DELETE", f"{path}?instance={records.uuid(2)}"),
            ask("DELETE", f"{path}/{uuids[2]}"),
            ask("DELETE", f"{path}?arqs={uuids[3]}"),
        )
    )
    left = {arq["uuid"] for arq in api.get(path)["arqs"]}
    gone = {
        u for u, s in zip(uuids[1:], statuses[2:], strict=True) if s == 204
    }
    assert left == set(uuids) - gone
