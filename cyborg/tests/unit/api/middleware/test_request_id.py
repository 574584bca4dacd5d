from collections.abc import Iterable
from typing import Any

import pytest
import webob

from cyborg.api.middleware import request_id

GLOBAL = "req-0f6a1c5e-2b7d-4e8a-9c31-d5b4f7a60e92"


def application(
    environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    response = webob.Response(
        status=404,
        json={
            "own": environ["openstack.request_id"],
            "global": environ.get("openstack.global_request_id"),
        },
    )
    return response(environ, start_response)


def ask(**headers: str) -> webob.Response:
    filtered = request_id.RequestId.factory({})(application)
    request = webob.Request.blank(
        "/", headers={n.replace("_", "-"): v for n, v in headers.items()}
    )
    return request.get_response(filtered)


def test_each_request_has_an_id_of_its_own() -> None:
    first, second = ask(), ask()
    for answer in (first, second):
        assert answer.status_int == 404
        assert answer.headers.getall("X-OpenStack-Request-ID") == [
            answer.json["own"]
        ]
        assert answer.json["global"] is None
    assert first.json["own"] != second.json["own"]


@pytest.mark.parametrize(
    ("sent", "taken"),
    [(GLOBAL, GLOBAL), ("req-1", None), (f"{GLOBAL}0", None)],
)
def test_an_id_that_a_caller_gives_is_taken_along(
    sent: str, taken: str | None
) -> None:
    answer = ask(X_OpenStack_Request_ID=sent)
    assert answer.json["global"] == taken
    assert answer.json["own"] != sent
