"""Every operation that clients up to 2.3 know, at each version they ask for.

With the forms that no document mentions and clients send. What an answer may
hold is written down here once more, apart from the schemas it is made by.
"""

from collections.abc import Iterator
import dataclasses
from typing import Any

import pytest

from cyborg.api import versions
from cyborg.api.types import arq as arq_types
from cyborg.api.types import attribute
from cyborg.api.types import base
from cyborg.api.types import deployable
from cyborg.api.types import device
from cyborg.api.types import device_profile
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import records
from cyborg.tests.functional import gabbi_fixtures

DEVICES = "/v2/devices"
DEPLOYABLES = "/v2/deployables"
PROFILES = "/v2/device_profiles"
ARQS = "/v2/accelerator_requests"
ATTRIBUTES = "/v2/attributes"

DEVICE = f"{DEVICES}/{records.uuid(1, 'd')}"
DEPLOYABLE = f"{DEPLOYABLES}/{records.uuid(1, 'e')}"
RP = records.uuid(1, "f")
UNKNOWN = records.uuid(99)

COMMON = {"uuid", "links", "created_at", "updated_at"}
# Members of each representation at 2.0, and those that came later.
MEMBERS = {
    "devices": COMMON
    | {"type", "vendor", "model", "hostname"}
    | {"std_board_info", "vendor_board_info"},
    "deployables": COMMON
    | {"parent_id", "root_id", "device_id", "name", "num_accelerators"}
    | {"attributes_list", "rp_uuid", "driver_name", "bitstream_id"},
    "device_profiles": COMMON | {"name", "description", "groups"},
    "arqs": COMMON
    | {"state", "device_profile_name", "device_profile_group_id"}
    | {"hostname", "device_rp_uuid", "instance_uuid", "project_id"}
    | {"attach_handle_type", "attach_handle_uuid", "attach_handle_info"},
    "attributes": COMMON | {"deployable_id", "key", "value"},
}
LATER = {
    ("devices", "2.3"): {"status"},
    ("devices", "latest"): {
        "status",
        "is_maintaining",
        "status_reason",
        "last_job",
    },
    ("deployables", "latest"): {
        "device_uuid",
        "parent_uuid",
        "root_uuid",
        "attributes",
        "last_job",
    },
    ("attributes", "latest"): {"deployable_uuid"},
}
TYPES = {
    "devices": device.Device,
    "deployables": deployable.Deployable,
    "device_profiles": device_profile.DeviceProfile,
    "arqs": arq_types.AcceleratorRequest,
    "attributes": attribute.Attribute,
}
GROUPS = [{"resources:FPGA": "1", "trait:CUSTOM_X": "required"}]


@dataclasses.dataclass
class At:
    """The API at a version."""

    api: api_fixture.Api
    version: str

    @property
    def is_new(self) -> bool:
        return self.version == "latest"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        **more: Any,
    ) -> Any:
        """Return the body of the answer, which has to have ``status``.

        Of an error, what it says.
        """
        response = self.api.ask(
            method, path, body, version=self.version, **more
        )
        assert response.status_int == status, response.text
        number = str(versions.MAXIMUM) if self.is_new else self.version
        assert response.headers["OpenStack-API-Version"] == (
            f"accelerator {number}"
        )
        assert response.headers["OpenStack-API-Minimum-Version"] == "2.0"
        assert response.headers["OpenStack-API-Maximum-Version"] == str(
            versions.MAXIMUM
        )
        assert response.headers["Vary"] == "OpenStack-API-Version"
        if status >= 400:
            return api_fixture.fault(response)
        return response.json if response.body else None

    def find(self, path: str, **more: Any) -> list[dict[str, Any]]:
        """Return the records of a list, which comes first in the body."""
        document = self.ask("GET", path, **more)
        key = next(iter(document))
        assert path.startswith(ARQS if key == "arqs" else f"/v2/{key}")
        for record in document[key]:
            self.check(key, record)
        rows: list[dict[str, Any]] = document[key]
        return rows

    def check(self, key: str, record: dict[str, Any]) -> None:
        """Fail if a representation is not the one of this version."""
        expected = MEMBERS[key] | LATER.get((key, self.version), set())
        if self.is_new:
            # What is not released yet is wherever it is declared.
            new = [
                member
                for member in base.members(TYPES[key])
                if member.since == versions.LIFE
            ]
            expected |= {member.name for member in new}
            # Not everybody sees all of it.
            expected -= {one.name for one in new if one.seen_by} - set(record)
        assert set(record) == expected

    def walk(self, path: str) -> list[str]:
        """Return the uuids of a list that is read one by one."""
        found: list[str] = []
        while True:
            marker = f"&marker={found[-1]}" if found else ""
            page = self.find(f"{path}?limit=1{marker}")
            if not page:
                return found
            found.append(page[0]["uuid"])


@pytest.fixture(scope="module", params=["2.0", "2.3", "latest"])
def at(request: pytest.FixtureRequest) -> Iterator[At]:
    running = gabbi_fixtures.APIWithPlacement()
    running.start_fixture()
    try:
        yield At(running.running, request.param)
    finally:
        running.stop_fixture()


@pytest.fixture
def profile(at: At) -> Iterator[str]:
    """Name of a profile that asks for one FPGA."""
    body = [{"name": "one", "groups": GROUPS}]
    at.ask("POST", PROFILES, body, status=201)
    yield "one"
    at.ask("DELETE", f"{PROFILES}/one", status=204)


# -- devices


def test_devices_are_listed(at: At) -> None:
    devices = at.find(DEVICES)
    assert len(devices) == 5
    assert at.walk(DEVICES) == [device["uuid"] for device in devices]
    for query, hosts in (
        ("type=GPU", ["cn2"]),
        ("vendor=0x10de", ["cn2"]),
        ("hostname=cn3", ["cn3"]),
        ("type=FPGA&vendor=8086&hostname=cn4", ["cn4"]),
        ("type=GPU&hostname=cn1", []),
        ("type=TOASTER", []),
        ("type=&vendor=&hostname=cn1", ["cn1"]),
        ("filters.field=limit&filters.value=1", ["cn1"]),
        (
            "filters.field=sort_dir&filters.value=desc"
            "&filters.field=limit&filters.value=2",
            ["cn5", "cn4"],
        ),
        ("sort_key=hostname&sort_dir=desc&limit=1", ["cn5"]),
    ):
        found = at.find(f"{DEVICES}?{query}")
        assert [device["hostname"] for device in found] == hosts, query
    for query in ("colour=red", "filters.field=board&filters.value=x"):
        at.ask("GET", f"{DEVICES}?{query}", status=400)


def test_device_is_shown(at: At) -> None:
    device = at.ask("GET", DEVICE)
    at.check("devices", device)
    uuid = device["uuid"]
    for other in (uuid.upper(), uuid.replace("-", ""), f"{uuid}/"):
        assert at.ask("GET", f"{DEVICES}/{other}") == device
    for other in (UNKNOWN, "x"):
        assert other in at.ask("GET", f"{DEVICES}/{other}", status=404)


def test_device_is_disabled_and_enabled(at: At) -> None:
    uuid = DEVICE.rsplit("/", 1)[-1]
    for action, status in (("disable", "maintaining"), ("enable", "enabled")):
        for path in (f"{DEVICE}/{action}", f"{DEVICES}/{action}/{uuid}"):
            for _again in range(2):
                shown = at.ask("POST", path, status=200 if at.is_new else 204)
                assert (shown is not None) == at.is_new
                assert at.ask("GET", DEVICE).get("status") == (
                    None if at.version == "2.0" else status
                )
        for other in (UNKNOWN, "x"):
            at.ask("POST", f"{DEVICES}/{other}/{action}", status=404)
        at.ask("POST", f"{DEVICES}/{action}", status=400)
        bare = f"{DEVICES}/{records.uuid(4, 'd')}/{action}"
        at.ask("POST", bare, status=409)


# -- deployables


def test_deployables_are_listed(at: At) -> None:
    deployables = at.find(DEPLOYABLES)
    assert len(deployables) == 5
    assert at.walk(DEPLOYABLES) == [one["uuid"] for one in deployables]
    name = deployables[1]["name"]
    query = f"filters.field=name&filters.value={name}"
    assert at.find(f"{DEPLOYABLES}?{query}") == [deployables[1]]
    query = "filters.field=limit&filters.value=2"
    assert at.find(f"{DEPLOYABLES}?{query}") == deployables[:2]
    query = "filters.field=interface_type&filters.value=pci"
    at.ask("GET", f"{DEPLOYABLES}?{query}", status=400)


def test_deployable_is_shown(at: At) -> None:
    deployable = at.ask("GET", DEPLOYABLE)
    at.check("deployables", deployable)
    assert isinstance(deployable["attributes_list"], str)
    assert [link["rel"] for link in deployable["links"]] == [
        "self",
        "bookmark",
    ]
    at.ask("GET", f"{DEPLOYABLES}/x", status=400)
    at.ask("GET", f"{DEPLOYABLES}/{UNKNOWN}", status=404)


def test_what_is_programmed_has_to_be_there(at: At) -> None:
    """That it is programmed is shown where an agent runs."""

    def program(path: str, image: str, status: int) -> str:
        value = [{"image_uuid": image}]
        body = [{"op": "replace", "path": "/program", "value": value}]
        return str(at.ask("PATCH", path, body, status=status))

    image = api_fixture.IMAGE
    gpu = records.uuid(2, "e")
    for path, status in (
        (f"{DEPLOYABLES}/x/program", 400),
        (f"{DEPLOYABLES}/{UNKNOWN}/program", 404),
        (f"{DEPLOYABLES}/{UNKNOWN}/program/{UNKNOWN}", 404),
        (f"{DEPLOYABLES}/{gpu}/program", 409),
        (f"{DEPLOYABLES}/{gpu}/program/{gpu}", 409),
        (f"{DEPLOYABLES}/{gpu}/program/{UNKNOWN}", 400),
    ):
        program(path, image, status)
    assert UNKNOWN in program(f"{DEPLOYABLE}/program", UNKNOWN, 404)
    assert "image_uuid" in program(f"{DEPLOYABLE}/program", "x", 400)


# -- device profiles


def test_profiles(at: At) -> None:
    for name in ("a", "b", "c"):
        body = [{"name": name, "groups": GROUPS, "description": None}]
        made = at.ask("POST", PROFILES, body, status=201)
        at.check("device_profiles", made)
        assert (made["name"], made["groups"]) == (name, GROUPS)
    profiles = at.find(PROFILES, persona="reader")
    assert [one["name"] for one in profiles] == ["a", "b", "c"]
    assert at.walk(PROFILES) == [one["uuid"] for one in profiles]
    assert at.find(f"{PROFILES}?name=b") == [profiles[1]]
    assert at.find(f"{PROFILES}?name=c,x,a") == [profiles[0], profiles[2]]
    for query in ("name=", "name=x"):
        assert at.find(f"{PROFILES}?{query}") == []

    for uuid in (made["uuid"], made["uuid"].upper()):
        shown = at.ask("GET", f"{PROFILES}/{uuid}", persona="reader")
        assert shown == {"device_profile": made}
    at.ask("GET", f"{PROFILES}/{UNKNOWN}", status=404)
    if at.version == "2.0":
        for name in ("c", "x"):
            said = at.ask("GET", f"{PROFILES}/{name}", status=406)
            assert "2.2" in said
    else:
        assert at.ask("GET", f"{PROFILES}/c") == {"device_profile": made}
        at.ask("GET", f"{PROFILES}/x", status=404)

    at.ask("DELETE", f"{PROFILES}/", status=400)
    at.ask("DELETE", f"{PROFILES}?value=a,x", status=404)
    at.ask("DELETE", f"{PROFILES}/x", status=404)
    assert at.find(PROFILES) == profiles
    at.ask("DELETE", f"{PROFILES}/a", status=204)
    at.ask("DELETE", f"{PROFILES}?value=b,{made['uuid']}", status=204)
    assert at.find(PROFILES) == []


def test_profiles_that_conflict(at: At, profile: str) -> None:
    (there,) = at.find(PROFILES)
    body = {"name": profile, "groups": GROUPS}
    assert profile in at.ask("POST", PROFILES, [body], status=409)
    for changes, strict in (
        ({"name": "x", "uuid": there["uuid"]}, 409),
        ({"name": ""}, 400),
        ({"name": "x" * 256}, 400),
    ):
        # Clients up to 2.3 expect a server error, and are told why.
        status = strict if at.is_new else 500
        said = at.ask("POST", PROFILES, [body | changes], status=status)
        assert there["uuid"] in said or "body[0].name" in said
    arq = at.ask("POST", ARQS, {"device_profile_name": profile}, status=201)
    said = at.ask("DELETE", f"{PROFILES}/{profile}", status=409)
    assert profile in said
    at.ask("DELETE", f"{ARQS}/{arq['arqs'][0]['uuid']}", status=204)
    assert at.find(PROFILES) == [there]


# -- accelerator requests


def test_requests_of_a_server(at: At, profile: str) -> None:
    """As Nova makes, binds, reads and deletes them, in any project."""
    nova: dict[str, Any] = {
        "persona": "member",
        "project": "tenant",
        "service": True,
    }
    body = {"device_profile_name": profile, "device_profile_group_id": None}
    arqs = []
    for _number in range(2):
        made = at.ask("POST", ARQS, body, status=201, **nova)
        assert list(made) == ["arqs"]
        arqs += made["arqs"]
    for arq in arqs:
        at.check("arqs", arq)
        assert (arq["state"], arq["project_id"]) == ("Initial", "tenant")
    assert at.find(ARQS, **nova) == arqs
    path = f"{ARQS}/{arqs[0]['uuid']}"
    assert at.ask("GET", path, **nova) == arqs[0]

    instance = records.uuid(1, "4")
    binding = client.bind_body(arqs, "cn1", RP, instance)
    said = at.ask("PATCH", ARQS, binding, status=403, persona="member")
    assert "requires a service token" in said
    for _again in range(2):
        assert at.ask("PATCH", ARQS, binding, status=202, **nova) is None
    other = client.bind_body(arqs, "cn1", RP, UNKNOWN)
    at.ask("PATCH", ARQS, other, status=409, **nova)

    of_instance = f"{ARQS}?instance={instance}"
    bound = at.find(of_instance, **nova)
    assert at.find(f"{of_instance}&bind_state=resolved", **nova) == bound
    assert at.find(f"{ARQS}?bind_state=resolved", **nova) == bound
    assert at.find(f"{ARQS}?bind_state=", **nova) == bound
    assert at.walk(ARQS) == [arq["uuid"] for arq in bound]
    for arq in bound:
        assert arq["state"] == "Bound"
        assert arq["attach_handle_type"] == "PCI"
        assert arq["attach_handle_info"].keys() >= {
            "domain",
            "bus",
            "device",
            "function",
        }
    assert at.find(f"{ARQS}?instance={UNKNOWN}", **nova) == []
    for query in ("instance=", "instance=x", "bind_state=bound"):
        at.ask("GET", f"{ARQS}?{query}", status=400, **nova)

    said = at.ask("DELETE", of_instance, status=403, persona="admin")
    assert "requires a service token" in said
    at.ask("DELETE", path, status=403, persona="admin")
    for _again in range(2):
        at.ask(
            "DELETE", of_instance, status=204, persona="admin", service=True
        )
    assert at.find(ARQS) == []


def test_one_request_by_its_path(at: At, profile: str) -> None:
    """As openstacksdk and the command line do."""
    body = {"device_profile_name": profile}
    (arq,) = at.ask("POST", ARQS, body, status=201)["arqs"]
    path = f"{ARQS}/{arq['uuid']}"
    binding = client.bind_body([arq], "cn1", RP, records.uuid(1, "4"))
    removal = [{"op": "remove", "path": "/hostname"}]
    at.ask("PATCH", path, {UNKNOWN: removal}, status=400, service=True)
    at.ask("PATCH", path, binding, status=202, service=True)
    assert at.ask("GET", path)["state"] == "Bound"
    for _again in range(2):
        unbinding = {arq["uuid"]: removal}
        at.ask("PATCH", path, unbinding, status=202, service=True)
    shown = at.ask("GET", path)
    assert (shown["state"], shown["attach_handle_info"]) == ("Unbound", {})
    at.ask("DELETE", path, status=204)
    at.ask("DELETE", path, status=404)
    at.ask("GET", path, status=404)
    at.ask("GET", f"{ARQS}/x", status=400)


def test_requests_of_other_projects_are_not_there(
    at: At, profile: str
) -> None:
    body = {"device_profile_name": profile}
    (arq,) = at.ask("POST", ARQS, body, status=201, persona="member")["arqs"]
    path = f"{ARQS}/{arq['uuid']}"
    other = {"persona": "member", "project": "other"}
    assert at.find(ARQS, **other) == []
    at.ask("GET", path, status=404, **other)
    at.ask("DELETE", path, status=404, **other)
    assert at.find(ARQS, persona="reader", project="member-project") == [arq]
    at.ask("DELETE", path, status=204, persona="member")


def test_nothing_is_deleted_together_with_what_must_not_be(
    at: At, profile: str
) -> None:
    body = {"device_profile_name": profile}
    first, second = (
        at.ask("POST", ARQS, body, status=201, persona="member")["arqs"][0]
        for _number in range(2)
    )
    binding = client.bind_body([second], "cn1", RP, records.uuid(1, "4"))
    at.ask("PATCH", ARQS, binding, status=202, service=True)
    path = f"{ARQS}?arqs={first['uuid']},{second['uuid']},{UNKNOWN}"
    for persona in ("member", "admin"):
        said = at.ask("DELETE", path, status=403, persona=persona)
        assert "requires a service token" in said
    assert len(at.find(ARQS)) == 2
    at.ask("DELETE", path, status=404, service=True)
    assert at.find(ARQS) == []


def test_patches_have_a_media_type_of_their_own(at: At, profile: str) -> None:
    body = {"device_profile_name": profile}
    (arq,) = at.ask("POST", ARQS, body, status=201)["arqs"]
    path = f"{ARQS}/{arq['uuid']}"
    unbinding = {arq["uuid"]: [{"op": "remove", "path": "/hostname"}]}
    for media_type, status in (
        ("application/json-patch+json", 202),
        ("application/json; charset=utf-8", 202),
        ("text/plain", 415),
    ):
        headers = {"Content-Type": media_type}
        for where in (path, ARQS):
            at.ask(
                "PATCH",
                where,
                unbinding,
                status=status,
                service=True,
                headers=headers,
            )
    at.ask("DELETE", path, status=204)


def test_requests_that_are_deleted_together(at: At, profile: str) -> None:
    body = {"device_profile_name": profile}
    uuids = [
        at.ask("POST", ARQS, body, status=201)["arqs"][0]["uuid"]
        for _number in range(3)
    ]
    said = at.ask("DELETE", f"{ARQS}?arqs={uuids[0]},{UNKNOWN}", status=404)
    assert UNKNOWN in said
    assert uuids[0] not in said
    at.ask("GET", f"{ARQS}/{uuids[0]}", status=404)
    at.ask(
        "DELETE",
        f"{ARQS}?arqs={uuids[1]},,%20{uuids[2]},{uuids[1]}",
        status=204,
    )
    for query in ("", f"?arqs={UNKNOWN}&instance={UNKNOWN}", "?instance=x"):
        at.ask("DELETE", ARQS + query, status=400, service=True)
    assert at.find(ARQS) == []


@pytest.mark.parametrize("name", ["", "none", "!@#$%^&*()=-[]"])
def test_requests_of_no_profile(at: At, name: str) -> None:
    at.ask("POST", ARQS, {"device_profile_name": name}, status=404)


def test_owner_is_named_from_2_1_and_by_administrators(
    at: At, profile: str
) -> None:
    body = {"device_profile_name": profile}
    (arq,) = at.ask("POST", ARQS, body, status=201, persona="member")["arqs"]
    path = f"{ARQS}/{arq['uuid']}"
    binding = client.bind_body([arq], "cn1", RP, records.uuid(1, "4"))
    binding[arq["uuid"]].append(
        {"op": "add", "path": "/project_id", "value": "other"}
    )
    old = at.version == "2.0"
    for persona, status in (("member", 403), ("admin", 202)):
        said = at.ask(
            "PATCH",
            ARQS,
            binding,
            status=406 if old else status,
            persona=persona,
            service=True,
        )
        assert not old or "2.1" in said
    owner = "member-project" if old else "other"
    assert at.ask("GET", path)["project_id"] == owner
    at.ask("DELETE", path, status=204, service=True)


# -- attributes


def test_attributes(at: At) -> None:
    there = at.find(ATTRIBUTES)
    assert len(there) == 5
    assert at.walk(ATTRIBUTES) == [one["uuid"] for one in there]
    uuid = records.uuid(2, "e")
    made = []
    for body in (
        {"deployable_id": 2, "key": "note", "value": "x"},
        {"deployable_id": "2", "key": "note", "value": "y"},
        {"attribute": {"deployable_id": uuid, "key": "k", "value": "z"}},
    ):
        made.append(at.ask("POST", ATTRIBUTES, body, status=201))
        at.check("attributes", made[-1])
        assert made[-1]["deployable_id"] == 2
    for query, found in (
        ("deployable_id=2", [*there[2:3], *made]),
        (f"deployable_id={uuid}&key=note", made[:2]),
        ("key=k", made[2:]),
        ("deployable_id=0", []),
        ("key=none", []),
    ):
        assert at.find(f"{ATTRIBUTES}?{query}") == found, query
    path = f"{ATTRIBUTES}/{made[0]['uuid']}"
    assert at.ask("GET", path) == made[0]
    at.ask("GET", f"{ATTRIBUTES}/x", status=400)
    at.ask("GET", f"{ATTRIBUTES}/{UNKNOWN}", status=404)
    for method in ("PUT", "PATCH"):
        at.ask(method, path, {"value": "x"}, status=405)
    body = {"deployable_id": 99, "key": "note", "value": "x"}
    at.ask("POST", ATTRIBUTES, body, status=404)
    for one in made:
        at.ask("DELETE", f"{ATTRIBUTES}/{one['uuid']}", status=204)
    at.ask("DELETE", path, status=404)
    at.ask("DELETE", f"{ATTRIBUTES}/x", status=404)
    at.ask("DELETE", f"{ATTRIBUTES}/", status=400)
    assert at.find(ATTRIBUTES) == there
