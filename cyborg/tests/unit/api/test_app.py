"""What holds for every request, whatever the paste file puts in front."""

from collections.abc import Callable
import json
import logging
import pathlib
import types
from typing import Any

from paste import deploy
import pytest
import sqlalchemy as sa
import webob

from cyborg.api import app
from cyborg.api import conductor as api_conductor
from cyborg.api import routing
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor import rpcapi
from cyborg.conductor.inventory import attributes
from cyborg.conductor.requests import profiles
from cyborg.conf import CONF
from cyborg.db import arq as arq_db
from cyborg.db import models
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import records

DEVICES = "/v2/devices"
DEVICE = f"{DEVICES}/{records.uuid(1, 'd')}"
BODY = {"device_profile_name": "p"}


def failing(error: Exception) -> Callable[[], rpcapi.ConductorAPI]:
    def call(*args: Any, **kwargs: Any) -> None:
        raise error

    return lambda: rpcapi.ConductorAPI(call)


def href(api: api_fixture.Api, **environ: str) -> str:
    request = webob.Request.blank(DEVICE, headers={"X-Roles": "admin"})
    request.headers["X-Project-Id"] = "p"
    request.environ.update(environ)
    response = request.get_response(api.application)
    return str(response.json["links"][0]["href"])


# -- links


def test_links_under_a_prefix_and_without(api: api_fixture.Api) -> None:
    assert href(api) == f"http://localhost/accelerator{DEVICE}"
    assert (
        href(api, SCRIPT_NAME="/accelerator", HTTP_HOST="cloud")
        == f"http://cloud/accelerator{DEVICE}"
    )
    mounted = {
        "SCRIPT_NAME": "/else/where",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "cloud:8080",
    }
    assert href(api, **mounted) == f"https://cloud:8080/else/where{DEVICE}"


def test_links_to_a_host_that_is_named_like_the_prefix(
    api: api_fixture.Api,
) -> None:
    expected = f"http://accelerator/accelerator{DEVICE}"
    host = {"HTTP_HOST": "accelerator"}
    assert href(api, **host) == expected
    assert href(api, SCRIPT_NAME="/accelerator", **host) == expected
    CONF.set_override("public_endpoint", "http://accelerator", "api")
    assert href(api) == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://cloud/accelerator",
        "https://cloud/accelerator/",
        "https://cloud/accelerator/v2",
        "https://cloud",
        "https://cloud/",
    ],
)
def test_links_begin_with_the_public_endpoint(
    api: api_fixture.Api, endpoint: str
) -> None:
    CONF.set_override("public_endpoint", endpoint, "api")
    assert href(api) == f"https://cloud/accelerator{DEVICE}"
    versions = api.get("/")["versions"]
    assert versions[0]["links"][0]["href"] == "https://cloud/accelerator/v2"


def test_every_link_leads_back(api: api_fixture.Api) -> None:
    for collection in ("devices", "deployables", "attributes"):
        for record in api.get(f"/v2/{collection}")[collection]:
            path = record["links"][0]["href"].removeprefix("http://localhost")
            assert api.get(path) == record


def test_empty_path_is_the_root(api: api_fixture.Api) -> None:
    request = webob.Request.blank("/")
    request.environ.update(SCRIPT_NAME="/accelerator", PATH_INFO="")
    response = request.get_response(api.application)
    assert response.json["default_version"]["id"] == "v2"


# -- cost


@pytest.mark.parametrize(
    ("path", "version", "statements"),
    [
        ("/v2/devices", "2.0", 1),
        ("/v2/devices", "2.6", 2),
        ("/v2/devices?limit=3", "2.0", 1),
        ("/v2/deployables", "2.0", 2),
        ("/v2/deployables", "2.6", 3),
        ("/v2/device_profiles?name=p1", "2.0", 1),
        ("/v2/accelerator_requests", "2.0", 1),
        (f"/v2/accelerator_requests?instance={records.uuid(1)}", "2.0", 1),
        ("/v2/attributes", "2.0", 1),
        ("/v2/services", "2.6", 1),
        ("/v2/quota_usages", "2.6", 1),
    ],
)
def test_statements_of_a_list_do_not_grow_with_it(
    api: api_fixture.Api, path: str, version: str, statements: int
) -> None:
    for size in (10, 60):
        with api.writing() as connection:
            for number in range(size, 2 * size):
                device = records.device(connection, number)
                deployable = records.deployable(connection, number, device)
                records.attribute(
                    connection, number + 100, deployable, "k", "v"
                )
                profile = records.device_profile(
                    connection, number, f"p{number}"
                )
                records.arq(
                    connection,
                    number,
                    profile,
                    instance_uuid=records.uuid(1 + number // 100),
                )
        with inventory.counted() as counted:
            api.get(path, version=version)
        assert len(counted) == statements, counted


def test_list_without_a_limit_is_whole_until_2_5(
    api: api_fixture.Api,
) -> None:
    CONF.set_override("max_limit", 2, "api")
    for version in ("2.0", "2.4"):
        response = api.ask("GET", DEVICES, version=version)
        assert len(response.json["devices"]) == 5
        assert "Link" not in response.headers
    for version in ("2.5", "latest"):
        response = api.ask("GET", DEVICES, version=version)
        assert len(response.json["devices"]) == 2
        assert "Link" in response.headers
    response = api.ask("GET", f"{DEVICES}?limit=4", version="2.0")
    assert len(response.json["devices"]) == 2
    # openstacksdk would fail on it.
    assert "Link" not in response.headers


@pytest.mark.parametrize(
    "order", ["id", "state&sort_dir=desc", "hostname", "created_at"]
)
def test_what_is_deleted_meanwhile_does_not_end_a_whole_list(
    api: api_fixture.Api, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    CONF.set_override("max_limit", 2, "api")
    with api.writing() as connection:
        profile = records.device_profile(connection, 1, "p")
        for number in range(1, 6):
            records.arq(connection, number, profile)

    def find(context: Any, page: Any, **filters: Any) -> Any:
        rows = found(context, page, **filters)
        with api.writing() as connection:
            connection.execute(
                sa.delete(models.ARQ).where(
                    models.ARQ.id.in_([row.id for row in rows])
                )
            )
        return rows

    found = arq_db.find
    monkeypatch.setattr(arq_db, "find", find)
    path = f"/v2/accelerator_requests?sort_key={order}"
    assert len(api.get(path)["arqs"]) == 5


@pytest.mark.parametrize("version", ["2.0", "latest"])
def test_what_is_sent_and_answered_is_not_logged(
    api: api_fixture.Api, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    caplog.set_level(logging.INFO)
    text = "0123456789" * 100
    profile = {
        "name": "p",
        "description": text,
        "groups": [{"resources:FPGA": "200"}],
    }
    path = "/v2/device_profiles"
    assert api.ask("POST", path, [profile], version=version).status_int == 201
    assert api.ask("POST", path, [profile], version=version).status_int == 409
    assert len(api.get(path, version=version)["device_profiles"]) == 1
    path = "/v2/accelerator_requests"
    assert api.ask("POST", path, BODY, version=version).status_int == 201
    assert len(api.get(path, version=version)["arqs"]) == 200
    assert text not in caplog.text
    assert len(caplog.text) < 1000


# -- pages, as openstacksdk reads them


@pytest.mark.parametrize("version", ["2.5", "2.6"])
def test_following_links_ends_and_finds_everything(
    api: api_fixture.Api, version: str
) -> None:
    path: str | None = f"{DEVICES}?limit=2&sort_key=hostname&sort_dir=desc"
    hosts = []
    while path is not None:
        response = api.ask("GET", path, version=version)
        hosts += [device["hostname"] for device in response.json["devices"]]
        link = response.headers.get("Link")
        path = link and link[1 : link.index(">")].removeprefix(
            "http://localhost"
        )
    assert hosts == ["cn5", "cn4", "cn3", "cn2", "cn1"]


def test_asking_on_until_a_page_is_empty_ends(api: api_fixture.Api) -> None:
    found = []
    path = f"{DEVICES}?limit=1"
    while devices := api.get(path)["devices"]:
        found.append(devices[0]["hostname"])
        path = f"{DEVICES}?limit=1&marker={devices[-1]['uuid']}"
    assert found == ["cn1", "cn2", "cn3", "cn4", "cn5"]


# -- instances that are still being bound


def test_unresolved_instance_is_423(api: api_fixture.Api) -> None:
    with api.writing() as connection:
        profile = records.device_profile(connection, 1, "p")
        for number, state in ((1, "Bound"), (2, "BindStarted")):
            records.arq(
                connection,
                number,
                profile,
                state=state,
                instance_uuid=records.uuid(5),
            )
    path = f"/v2/accelerator_requests?instance={records.uuid(5)}"
    response = api.ask("GET", f"{path}&bind_state=resolved", persona="member")
    assert response.status_int == 423
    assert records.uuid(2, "1") in api_fixture.fault(response)
    assert len(api.get(path, persona="member")["arqs"]) == 2
    states = api.get(
        "/v2/accelerator_requests?bind_state=resolved", persona="member"
    )
    assert [arq["state"] for arq in states["arqs"]] == ["Bound"]


def test_request_of_a_project_with_an_odd_id(api: api_fixture.Api) -> None:
    with api.writing() as connection:
        profile = records.device_profile(connection, 1, "p")
        records.arq(connection, 1, profile, project_id="my own: project")
    path = f"/v2/accelerator_requests/{records.uuid(1, '1')}"
    assert api.get(path)["project_id"] == "my own: project"


def test_profile_of_an_earlier_release_that_asks_for_nothing(
    api: api_fixture.Api,
) -> None:
    amounts = ("0", "-1", "1.5", "true")
    with api.writing() as connection:
        for number, amount in enumerate(amounts):
            records.device_profile(
                connection, number, f"p{number}", [{"resources:FPGA": amount}]
            )
        records.device_profile(
            connection, 9, "p9", [{"resources:FPGA": "999"}]
        )
    for number in (0, 1, 2, 3, 9):
        response = api.ask(
            "POST",
            "/v2/accelerator_requests",
            {"device_profile_name": f"p{number}"},
            persona="member",
        )
        assert response.status_int == 400
        assert f"p{number}" in api_fixture.fault(response)


# -- what somebody else deletes as soon as it is stored


@pytest.mark.parametrize(
    ("module", "model", "path", "body"),
    [
        (
            profiles,
            models.DeviceProfile,
            "/v2/device_profiles",
            [{"name": "p", "groups": [{"resources:FPGA": "1"}]}],
        ),
        (
            attributes,
            models.Attribute,
            "/v2/attributes",
            {"deployable_id": 1, "key": "k", "value": "v"},
        ),
    ],
)
def test_created_and_deleted_at_once_is_created(
    api: api_fixture.Api,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    model: Any,
    path: str,
    body: Any,
) -> None:
    insert = module._insert

    def insert_and_delete(*arguments: Any) -> Any:
        stored = insert(*arguments)
        with api.writing() as connection:
            connection.execute(sa.delete(model))
        return stored

    monkeypatch.setattr(module, "_insert", insert_and_delete)
    assert api.ask("POST", path, body).status_int == 201


@pytest.mark.parametrize(("method", "status"), [("PUT", 404), ("DELETE", 204)])
def test_attribute_whose_deployable_goes_at_that_moment(
    api: api_fixture.Api,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    status: int,
) -> None:
    (attribute, *_rest) = api.get("/v2/attributes")["attributes"]
    path = f"/v2/deployables/{records.uuid(1, 'e')}/attributes"
    body = {"value": "CUSTOM_Y"} if method == "PUT" else None
    # The API looks, too, and still finds it.
    gone = types.SimpleNamespace(get=lambda context, uuid: None)
    monkeypatch.setattr(attributes, "deployable_db", gone)
    response = api.ask(
        method, f"{path}/{attribute['uuid']}", body, version="2.6"
    )
    assert response.status_int == status


def test_service_that_goes_while_it_is_forced_down_is_not_found(
    api: api_fixture.Api,
) -> None:
    conductor = rpcapi.ConductorAPI(lambda *args, **kwargs: None)
    api.application = app.make_app(lambda: conductor)
    response = api.ask(
        "PUT",
        f"/v2/services/{records.uuid(99)}",
        {"forced_down": True},
        version="2.6",
    )
    assert response.status_int == 404
    assert records.uuid(99) in api_fixture.fault(response)


# -- failures


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (exception.ConductorUnavailable(), 503, "No conductor answered"),
        (
            exception.PlacementUnavailable("it is stored"),
            503,
            "it is stored",
        ),
        (
            exception.ProgrammingFailed(uuid="u", reason="bad image"),
            500,
            "bad image",
        ),
    ],
)
def test_what_the_conductor_says_reaches_the_client(
    api: api_fixture.Api, error: Exception, status: int, text: str
) -> None:
    api.application = app.make_app(failing(error))
    response = api.ask("POST", f"{DEVICE}/disable")
    assert response.status_int == status
    assert text in api_fixture.fault(response)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("SELECT secret FROM devices"),
        exception.PlacementError(operation="PUT", status=500, reason="secret"),
        exception.PlacementUnavailable(reason="http://secret: refused"),
        exception.PlacementUnavailable(
            "It is stored: secret", reason="secret"
        ),
        exception.GlanceConnectionFailed(server="Glance", reason="secret"),
        UnicodeEncodeError("utf-8", "secret", 0, 1, "secret"),
    ],
)
def test_what_went_wrong_inside_stays_inside(
    api: api_fixture.Api, error: Exception
) -> None:
    api.application = app.make_app(failing(error))
    response = api.ask("POST", f"{DEVICE}/disable")
    assert response.status_int == getattr(error, "code", 500)
    assert "secret" not in response.text
    assert "req-" in api_fixture.fault(response)


def test_no_sql_in_the_answer(api: api_fixture.Api) -> None:
    api.application = app.make_app()
    with api.writing() as connection:
        connection.execute(sa.text("ALTER TABLE devices RENAME TO hidden"))
    response = api.ask("GET", f"{DEVICES}?hostname=cn1")
    assert response.status_int == 500
    for secret in ("SELECT", "devices", "cn1", "sqlite"):
        assert secret not in response.text
    assert "req-" in api_fixture.fault(response)


def test_body_limit_holds_without_a_filter(api: api_fixture.Api) -> None:
    CONF.set_override("max_request_body_size", 100, "oslo_middleware")
    path = "/v2/accelerator_requests"
    body = json.dumps(BODY | {"x": "y" * 100}).encode()
    response = api.ask("POST", path, body)
    assert response.status_int == 413
    assert "100 bytes" in api_fixture.fault(response)
    assert api.ask("POST", path, BODY).status_int == 404


# -- how it is put together


FACTORIES = {
    "cors": "oslo_middleware.cors:filter_factory",
    "http_proxy_to_wsgi": (
        "oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory"
    ),
    "request_id": "oslo_middleware:RequestId.factory",
    "authtoken": (
        "cyborg.api.middleware.auth_token:AuthTokenMiddleware.factory"
    ),
}


def test_paste_file_of_an_earlier_release(
    api: api_fixture.Api, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "api-paste.ini"
    lines = [
        "[pipeline:main]",
        f"pipeline = {' '.join(FACTORIES)} api_v2",
        "[app:api_v2]",
        "paste.app_factory = cyborg.api.app:app_factory",
    ]
    for name, factory in FACTORIES.items():
        lines += [f"[filter:{name}]", f"paste.filter_factory = {factory}"]
        lines += {
            "cors": ["oslo_config_project = cyborg"],
            "authtoken": ["acl_public_routes = /, /v2"],
        }.get(name, [])
    file.write_text("\n".join(lines))
    CONF.set_override("auth_strategy", "noauth2")
    CONF.set_override("mode", "local", "conductor")
    api_conductor.get.cache_clear()
    application = deploy.loadapp(f"config:{file}", name="main")
    for path in ("/", "/v2", "/accelerator/v2"):
        response = webob.Request.blank(path).get_response(application)
        assert response.status_int == 200
    request = webob.Request.blank(DEVICES, environ={"REMOTE_ADDR": "::1"})
    response = request.get_response(application)
    assert len(response.json["devices"]) == 5
    assert response.headers["x-openstack-request-id"].startswith("req-")
    api_conductor.get.cache_clear()
    rpc.cleanup()


def test_application_of_one_process(api: api_fixture.Api) -> None:
    CONF.set_override("auth_strategy", "noauth2")
    application = app.make_application(rpcapi.ConductorAPI(lambda: None))
    request = webob.Request.blank(
        "/accelerator/v2/devices", environ={"REMOTE_ADDR": "127.0.0.1"}
    )
    response = request.get_response(application)
    assert len(response.json["devices"]) == 5
    request.environ["REMOTE_ADDR"] = "192.0.2.1"
    assert request.get_response(application).status_int == 403


def test_every_operation_says_what_it_does() -> None:
    for controller in app.CONTROLLERS:
        for _operation, handler in routing.operations(controller):
            assert handler.__doc__
