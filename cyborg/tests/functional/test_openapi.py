"""Requests made up from the OpenAPI document, at the newest version.

Nothing that a client sends may be a server's error, and every answer has the
form that the document promises. schemathesis makes the requests.
"""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi import checks

from cyborg.api import openapi
from cyborg.api import versions
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import database

HEADERS = {
    "OpenStack-API-Version": f"{versions.SERVICE_TYPE} {versions.MAXIMUM}",
    "X-Roles": "admin,manager,member,reader",
    "X-Project-Id": "admin-project",
    "X-User-Id": "admin",
    "X-Service-Identity-Status": "Confirmed",
    "X-Service-Roles": "service",
}
# The peers are not there, and an answer may say so.
AWAY = 503

CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

_running: list[api_fixture.Api] = []


def application(environ: Any, start_response: Any) -> Any:
    # The document's server has the prefix in its URL.
    return _running[0].application(environ, start_response)


SCHEMA = schemathesis.openapi.from_dict(openapi.document())
SCHEMA.app = application


@pytest.fixture(scope="module", autouse=True, params=database.KINDS)
def api(request: pytest.FixtureRequest) -> Iterator[None]:
    with api_fixture.running(kind=request.param) as running:
        _running.append(running)
        yield
        _running.clear()


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_request_breaks_the_api(case: schemathesis.Case) -> None:
    response = case.call(headers=HEADERS)
    assert response.status_code < 500 or response.status_code == AWAY
    case.validate_response(response, checks=CONFORMANCE)
