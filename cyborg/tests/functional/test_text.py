"""Text that clients send: what it finds and what is stored, on each engine.

PostgreSQL knows no NUL, MySQL's ``utf8`` no character of four bytes; and
MySQL takes texts for the same that differ in case, accents and spaces at the
end.
"""

from collections.abc import Iterator
from typing import Any
import urllib.parse

import pytest

from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import records

DEVICES = "/v2/devices"
DEPLOYABLES = "/v2/deployables"
PROFILES = "/v2/device_profiles"
ARQS = "/v2/accelerator_requests"
ATTRIBUTES = "/v2/attributes"
NESTED = f"{DEPLOYABLES}/{records.uuid(1, 'e')}/attributes"

GROUPS = [{"resources:FPGA": "1"}]

# Not all engines hold these, so that no record has them.
NOWHERE = ["\0", "a\0b", "\U0001f600", "a\U0001f600b", "\uffff"]
ODD = [
    *NOWHERE,
    "\ufffd",
    "e\u0301",
    "\u202eabc",
    "a\r\nb",
    "'; DROP TABLE devices; --",
    '"\\%_',
    "!@#$%^&*()=-[]",
    "x" * 70000,
]


@pytest.fixture(scope="module", params=database.KINDS)
def api(request: pytest.FixtureRequest) -> Iterator[api_fixture.Api]:
    with api_fixture.running(kind=request.param) as running:
        yield running


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


@pytest.mark.parametrize(
    ("path", "names", "version"),
    [
        (DEVICES, ("type", "vendor", "hostname"), "2.0"),
        (DEVICES, ("status", "model"), "2.5"),
        (
            DEPLOYABLES,
            (
                "name",
                "device_uuid",
                "rp_uuid",
                "driver_name",
                "bitstream_id",
                "type",
                "parent_uuid",
                "root_uuid",
            ),
            "2.5",
        ),
        (PROFILES, ("name",), "2.0"),
        (PROFILES, ("uuid",), "2.5"),
        (
            ARQS,
            ("state", "device_profile_name", "hostname", "project_id"),
            "2.5",
        ),
        (ATTRIBUTES, ("key",), "2.0"),
        (NESTED, ("key",), "2.6"),
        ("/v2/services", ("binary", "host"), "2.6"),
    ],
)
def test_odd_text_is_found_nowhere(
    api: api_fixture.Api, path: str, names: tuple[str, ...], version: str
) -> None:
    for name in names:
        for text in ODD:
            found = api.get(f"{path}?{name}={quoted(text)}", version=version)
            assert list(found.values()) == [[]], (name, text)


def test_odd_text_in_pairs_is_found_nowhere(api: api_fixture.Api) -> None:
    for text in ODD:
        query = f"filters.field=name&filters.value={quoted(text)}"
        assert api.get(f"{DEPLOYABLES}?{query}") == {"deployables": []}
        for pair in (f"rc:{text}", f"{text}:FPGA"):
            found = api.get(
                f"{DEPLOYABLES}?attribute={quoted(pair)}", version="2.5"
            )
            assert found == {"deployables": []}


@pytest.mark.parametrize(
    ("method", "path", "version", "status"),
    [
        ("GET", f"{DEVICES}/{{}}", "2.0", 404),
        ("POST", f"{DEVICES}/{{}}/disable", "2.0", 404),
        ("GET", f"{DEPLOYABLES}/{{}}", "2.0", 400),
        ("GET", f"{PROFILES}/{{}}", "2.0", 406),
        ("GET", f"{PROFILES}/{{}}", "2.3", 404),
        ("DELETE", f"{PROFILES}/{{}}", "2.0", 404),
        ("DELETE", f"{PROFILES}?value={{}}", "2.0", 404),
        ("GET", f"{ARQS}/{{}}", "2.0", 400),
        ("DELETE", f"{ARQS}/{{}}", "2.0", 404),
        ("DELETE", f"{ARQS}?arqs={{}}", "2.0", 404),
        ("GET", f"{ARQS}?instance={{}}", "2.0", 400),
        ("GET", f"{ATTRIBUTES}/{{}}", "2.0", 400),
        ("DELETE", f"{ATTRIBUTES}/{{}}", "2.0", 404),
        ("GET", f"{ATTRIBUTES}?deployable_id={{}}", "2.0", 400),
        ("GET", f"{NESTED}/{{}}", "2.6", 404),
        ("DELETE", f"{NESTED}/{{}}", "2.6", 404),
    ],
)
def test_odd_text_names_nothing(
    api: api_fixture.Api, method: str, path: str, version: str, status: int
) -> None:
    for text in ODD:
        response = api.ask(
            method, path.format(quoted(text)), version=version, service=True
        )
        assert response.status_int == status, (text, response.text)
        api_fixture.fault(response)


@pytest.mark.parametrize("version", ["2.0", "2.3", "latest"])
def test_no_profile_has_an_odd_name(
    api: api_fixture.Api, version: str
) -> None:
    for text in ODD:
        response = api.ask(
            "POST", ARQS, {"device_profile_name": text}, version=version
        )
        assert response.status_int == 404, response.text


def test_what_cannot_be_stored_is_refused_by_name(
    api: api_fixture.Api,
) -> None:
    profile: dict[str, Any] = {"name": "p", "groups": GROUPS}
    attribute = {"deployable_id": 1, "key": "k", "value": "v"}
    arq = records.uuid(1, "1")
    for text in [*NOWHERE, "\ud800"]:
        for method, path, body, named in (
            ("POST", PROFILES, [profile | {"description": text}], "descripti"),
            (
                "POST",
                PROFILES,
                [profile | {"groups": [GROUPS[0] | {"accel:x": text}]}],
                "accel:x",
            ),
            ("POST", ATTRIBUTES, attribute | {"key": text}, "key"),
            ("POST", ATTRIBUTES, attribute | {"value": text}, "value"),
            (
                "PATCH",
                ARQS,
                {arq: [{"op": "add", "path": "/hostname", "value": text}]},
                f"{arq}[0].value",
            ),
        ):
            response = api.ask(method, path, body, service=True)
            assert response.status_int == 400, response.text
            assert named in api_fixture.fault(response)


def test_odd_text_is_kept(api: api_fixture.Api) -> None:
    for number, text in enumerate(ODD):
        if text in NOWHERE or len(text) > 999:
            continue
        body = [{"name": f"odd{number}", "groups": GROUPS}]
        body[0]["description"] = text
        made = api.ask("POST", PROFILES, body).json
        assert made["description"] == text
        shown = api.get(f"{PROFILES}/{made['uuid']}")["device_profile"]
        assert shown == made
        created = api.ask(
            "POST",
            ATTRIBUTES,
            {"deployable_id": 1, "key": text, "value": text},
        ).json
        (found,) = api.get(f"{ATTRIBUTES}?key={quoted(text)}")["attributes"]
        assert found == created


def test_texts_are_found_exactly(api: api_fixture.Api) -> None:
    for path, version, exact in (
        (f"{DEVICES}?hostname=", "2.0", "cn1"),
        (f"{DEVICES}?model=", "2.5", "A10"),
        (f"{DEPLOYABLES}?name=", "2.5", "cn1_0000:3b:00.0"),
        (f"{DEPLOYABLES}?driver_name=", "2.5", "fake_driver"),
        (f"{DEPLOYABLES}?attribute=trait0:", "2.5", "CUSTOM_X"),
        (f"{ATTRIBUTES}?key=", "2.0", "trait0"),
        ("/v2/services?host=", "2.6", "ctl1"),
    ):
        for text in (exact.swapcase(), f"{exact} ", exact.replace("c", "ç")):
            found = api.get(path + quoted(text), version=version)
            expected = text == exact
            assert bool(*found.values()) == expected, path + text
        assert any(api.get(path + quoted(exact), version=version).values())
    # But not vendors: drivers spell them differently.
    assert len(api.get(f"{DEVICES}?vendor=0X10dE")["devices"]) == 1


def test_profiles_whose_names_differ_in_case(api: api_fixture.Api) -> None:
    """To MySQL they have the same name, which it must not fail over."""
    is_mysql = api.engine.dialect.name == "mysql"

    def post(*names: str) -> int:
        response = api.ask(
            "POST",
            PROFILES,
            [{"name": name, "groups": GROUPS} for name in names],
            version="latest",
        )
        return int(response.status_int)

    assert post("CaseName") == 201
    assert api.get(f"{PROFILES}?name=casename") == {"device_profiles": []}
    for method, path in (
        ("GET", f"{PROFILES}/casename"),
        ("DELETE", f"{PROFILES}/casename"),
    ):
        response = api.ask(method, path, version="2.3")
        assert response.status_int == 404
    response = api.ask("POST", ARQS, {"device_profile_name": "casename"})
    assert response.status_int == 404
    assert post("casename") == (409 if is_mysql else 201)
    assert post("b1", "B1") == 400
    assert post("another") == 201

    def rename(name: str, new: str) -> int:
        (profile,) = api.get(f"{PROFILES}?name={name}")["device_profiles"]
        response = api.ask(
            "PUT",
            f"{PROFILES}/{profile['uuid']}",
            {"name": new, "groups": GROUPS},
            version="latest",
        )
        return int(response.status_int)

    assert rename("another", "cASEnAME") == (409 if is_mysql else 200)
    assert rename("CaseName", "CASEname") == 200
