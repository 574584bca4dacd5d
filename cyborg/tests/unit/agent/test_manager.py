"""The agent as a whole: its threads, its answers on the message bus."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest

from cyborg.agent import manager as agent_manager
from cyborg.objects import register_all
from cyborg.tests.unit.agent import conftest

Start = Callable[..., agent_manager.AgentManager]


@pytest.fixture
def start(conductor: conftest.Conductor) -> Iterator[Start]:
    """Starts agents with these drivers, and stops them after the test."""
    register_all()
    started = []

    def start_one(**drivers: Any) -> agent_manager.AgentManager:
        agent = agent_manager.AgentManager(
            conductor.api(), "cn1", monitor=lambda: None
        )
        agent.load_drivers(conftest.enabled(**drivers))
        started.append(agent)
        agent.init_host()
        return agent

    yield start_one
    for agent in started:
        agent.stop()


def test_agent_registers_discovers_and_reports(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    config.config(group="agent", resource_provider_name="cn1.example.org")
    start(one=conftest.ListDriver(conftest.device("0c", handles=2)))
    conductor.wait_for(conductor.reports, 1)
    assert conductor.registrations == [["cn1.example.org", "cn1"]]
    (report,) = conductor.reports
    assert report["hostname"] == "cn1.example.org"
    assert report["devices"][0].vendor == "abcd"
    assert report["drivers"][0]["complete"] is True
