"""Device profiles: what depends on the version, and what is stored."""

from typing import Any

import pytest

from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.unit.api.test_refusals import FPGA
from cyborg.tests.unit.api.test_refusals import group
from cyborg.tests.unit.api.test_refusals import profile
from cyborg.tests.unit.api.test_refusals import PROFILES

# Refused from 2.4; up to 2.3 as it always was.
STRICT_PROFILES = [
    (profile(name=""), 500, "body[0].name"),
    (profile(name="p" * 256), 500, "body[0].name"),
    (profile(groups=[{}]), 201, "groups[0]"),
    (group(trait__CUSTOM_A="required"), 201, "groups[0]"),
    (profile(colour="red"), 201, "colour"),
    (
        group(
            resources__FPGA=1, accel__function_id=1, accel__bitstream_name=2
        ),
        201,
        "accel:",
    ),
    (group(resources__FPGA=1, accel__attach_target="host"), 201, "accel:"),
    (
        group(resources__FPGA=1, accel__video_ram="2GB"),
        201,
        "groups[0].accel:video_ram: is not known; known are accel:bitstream",
    ),
    (
        group(resources__FPGA=1, accel__bitstream_id="3AFB"),
        201,
        "groups[0].accel:bitstream_id: has to be the uuid",
    ),
    (group(resources__FPGA=1, accel__function_id=""), 201, "is empty"),
    (
        group(**{"resources__FPGA": 1, "accel__function_name:gzip": "maybe"}),
        201,
        "groups[0].accel:function_name:gzip: has to be required",
    ),
    (
        group(**{"resources__FPGA": 1, "accel__function:GZIP": "required"}),
        201,
        "CUSTOM_FPGA_FUNCTION_<vendor>_<id>",
    ),
]


@pytest.mark.parametrize(("body", "lenient", "named"), STRICT_PROFILES)
def test_profiles_that_only_newer_versions_refuse(
    api: api_fixture.Api, body: Any, lenient: int, named: str
) -> None:
    for version in ("2.4", "latest"):
        response = api.ask("POST", PROFILES, body, version=version)
        assert response.status_int == 400
        assert named in api_fixture.fault(response)
    response = api.ask("POST", PROFILES, body, version="2.3")
    assert response.status_int == lenient
    if lenient == 500:
        assert named in api_fixture.fault(response)


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_server_errors_that_clients_expect_are_one_line_in_the_log(
    api: api_fixture.Api, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    there = api.ask("POST", PROFILES, profile(name="there")).json
    for body in (
        profile(name=""),
        profile(name="p" * 256),
        profile(uuid=there["uuid"]),
    ):
        caplog.clear()
        response = api.ask("POST", PROFILES, body, version=version)
        assert response.status_int == 500
        (line,) = caplog.records
        assert (line.levelname, line.exc_info) == ("WARNING", None)
        assert api_fixture.fault(response) in line.getMessage()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"resources:FPGA": 1}, {"resources:FPGA": "1"}),
        ({"resources: FPGA ": " 2 "}, {"resources:FPGA": "2"}),
        ({"resources:CUSTOM_my-nic": "03"}, {"resources:CUSTOM_MY_NIC": "3"}),
        (
            FPGA | {"trait: custom_a-b": "forbidden"},
            FPGA | {"trait:CUSTOM_A_B": "forbidden"},
        ),
        (
            FPGA | {"accel:function_name": 5},
            FPGA | {"accel:function_name": "5"},
        ),
        (
            FPGA | {"accel:function_name": 1.5},
            FPGA | {"accel:function_name": "1.5"},
        ),
        (
            FPGA | {"accel:function_name:gzip": "required"},
            FPGA | {"accel:function_name:gzip": "required"},
        ),
        (
            FPGA | {"accel:function:CUSTOM_FPGA_FUNCTION_INTEL_1": "required"},
            FPGA | {"accel:function:CUSTOM_FPGA_FUNCTION_INTEL_1": "required"},
        ),
    ],
)
def test_profiles_are_stored_as_placement_takes_them(
    api: api_fixture.Api, given: dict[str, Any], stored: dict[str, str]
) -> None:
    response = api.ask("POST", PROFILES, profile(groups=[given]))
    assert response.status_int == 201
    assert response.json["groups"] == [stored]
    assert api.get(PROFILES)["device_profiles"][0]["groups"] == [stored]
