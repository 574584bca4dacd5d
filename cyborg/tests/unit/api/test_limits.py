"""How much one request may hold, and what that may cost."""

import pytest

from cyborg.api import lists
from cyborg.api import request as api_request
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records


@pytest.mark.parametrize("version", ["2.0", "latest"])
@pytest.mark.parametrize(
    "path",
    ["/v2/devices", "/v2/deployables", "/v2/device_profiles"],
)
def test_arguments_are_counted(
    shared_api: api_fixture.Api, path: str, version: str
) -> None:
    """Each was compared with each."""
    query = "&".join(["limit=1"] * 15000)
    answer = shared_api.ask("GET", f"{path}?{query}", version=version)
    assert answer.status_int == 400
    assert str(api_request.MOST_ARGUMENTS) in api_fixture.fault(answer)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v2/accelerator_requests?arqs=", "arqs"),
        ("GET", "/v2/accelerator_requests?instance=", "instance"),
        ("DELETE", "/v2/accelerator_requests?arqs=", "arqs"),
        ("GET", "/v2/device_profiles?name=", "name"),
        ("GET", "/v2/device_profiles?uuid=", "uuid"),
        ("DELETE", "/v2/device_profiles?value=", "value"),
        ("DELETE", "/v2/device_profiles?name=", "name"),
    ],
)
def test_values_are_counted(
    shared_api: api_fixture.Api, method: str, path: str, name: str
) -> None:
    uuids = [records.uuid(number, "5") for number in range(lists.MOST_VALUES)]
    answer = shared_api.ask(method, path + ",".join(uuids), version="latest")
    assert answer.status_int in (200, 404)
    values = ",".join([*uuids, uuids[0]])
    answer = shared_api.ask(method, path + values, version="latest")
    assert answer.status_int == 400
    text = api_fixture.fault(answer)
    assert text == f"query.{name}: {lists.MOST_VALUES} values are the most."


def test_attributes_are_counted(shared_api: api_fixture.Api) -> None:
    path = "/v2/deployables?" + "&".join(["attribute=rc:FPGA"] * 32)
    assert len(shared_api.get(path, version="2.5")["deployables"]) == 3
    answer = shared_api.ask("GET", f"{path}&attribute=a:b", version="2.5")
    assert answer.status_int == 400
    assert "query.attribute: can be given 32" in api_fixture.fault(answer)


def test_member_that_is_given_twice_is_named(
    shared_api: api_fixture.Api,
) -> None:
    members = [f'"m{number}": 0' for number in range(8000)]
    body = "{" + ", ".join([*members, members[-1]]) + "}"
    answer = shared_api.ask("POST", "/v2/attributes", body.encode())
    assert answer.status_int == 400
    assert "m7999 is given twice" in api_fixture.fault(answer)


@pytest.mark.parametrize("name", ["a\U0001f600b", "\uffff", "\uffff41\uffff"])
def test_what_cannot_be_stored_is_shown_as_it_was_sent(
    shared_api: api_fixture.Api, name: str
) -> None:
    answer = shared_api.ask(
        "POST", "/v2/accelerator_requests", {"device_profile_name": name}
    )
    assert answer.status_int == 404
    assert api_fixture.fault(answer).endswith(f", {name}.")
