"""What drivers measure on devices."""

from typing import Any

import pytest
import sqlalchemy as sa
import webob

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.api import app
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.db import models
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records
from cyborg.tests.fixtures import standin

UUID = records.uuid(1, "d")


@standin.of(agent_rpcapi.AgentAPI)
class Agent:
    """Answers what it is made with, or raises it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def device_get_stats(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def stats(api: api_fixture.Api, answer: Any) -> webob.Response:
    conductor = rpcapi.local(manager.ConductorManager(Agent(answer)))
    api.application = app.make_app(lambda: conductor)
    return api.ask("GET", f"/v2/devices/{UUID}/stats", version="2.6")


@pytest.mark.parametrize("nothing", [{}, None])
def test_driver_that_measures_nothing(
    api: api_fixture.Api, nothing: Any
) -> None:
    response = stats(api, nothing)
    assert response.status_int == 200
    assert response.json == {
        "device": {"device_name": "", "device_number": "", "properties": {}}
    }


def test_host_that_was_forced_down(api: api_fixture.Api) -> None:
    with api.writing() as connection:
        hosts = models.Host.__table__
        connection.execute(
            sa.update(hosts)
            .where(hosts.c.hostname == "cn1")
            .values(forced_down=True)
        )
    response = stats(api, {})
    assert response.status_int == 503
    assert "cn1 is down, or forced down" in api_fixture.fault(response)


def test_device_that_its_agent_does_not_find(api: api_fixture.Api) -> None:
    response = stats(api, LookupError("Driver fake_driver is not enabled."))
    assert response.status_int == 409
    text = api_fixture.fault(response)
    assert UUID in text
    assert "fake_driver is not enabled" in text
