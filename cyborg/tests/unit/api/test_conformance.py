"""The check of answers against their schemas finds what is wrong."""

import json
from typing import Any

import jsonschema
import pytest
import webob

from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import conformance
from cyborg.tests.fixtures import records

PATH = f"/v2/devices/{records.uuid(1, 'd')}"


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"uuid": "X"},
        {"type": "TOASTER"},
        {"created_at": "2026-07-21 09:30:00+00:00"},
        {"updated_at": "None"},
        {"links": []},
        {"status": "enabled"},
    ],
)
def test_wrong_member(
    shared_api: api_fixture.Api, change: dict[str, Any]
) -> None:
    response = shared_api.ask("GET", PATH)
    response.body = json.dumps(response.json | change).encode()
    with pytest.raises(jsonschema.ValidationError):
        conformance.check(webob.Request.blank(PATH), response)


def test_missing_member(shared_api: api_fixture.Api) -> None:
    response = shared_api.ask("GET", PATH)
    device = response.json
    del device["model"]
    response.body = json.dumps(device).encode()
    with pytest.raises(jsonschema.ValidationError, match="model"):
        conformance.check(webob.Request.blank(PATH), response)


@pytest.mark.parametrize("status", [201, 204])
def test_wrong_status(shared_api: api_fixture.Api, status: int) -> None:
    response = shared_api.ask("GET", PATH)
    response.status_int = status
    with pytest.raises(AssertionError, match=r"not one of .*200"):
        conformance.check(webob.Request.blank(PATH), response)


def test_error_of_another_form(shared_api: api_fixture.Api) -> None:
    response = shared_api.ask("GET", "/v2/devices/x")
    conformance.check(webob.Request.blank("/v2/devices/x"), response)
    response.body = b'{"message": "no"}'
    with pytest.raises(jsonschema.ValidationError):
        conformance.check(webob.Request.blank("/v2/devices/x"), response)
