"""The digest changes with what is reported and with nothing else."""

import pathlib
from typing import Any

import pytest

from cyborg.agent import report
from cyborg.agent import reporter
from cyborg.tests.unit.agent import conftest


def found(*devices: Any, **values: Any) -> report.Found:
    return report.Found(
        **{
            "name": "one",
            "devices": [report.plain(device) for device in devices],
            "complete": True,
            "error": None,
            "capabilities": ["program", "stats"],
            **values,
        }
    )


def digest(*each: report.Found, rpc_host: str = "cn1") -> str:
    return report.Report.of(list(each), rpc_host).digest


def test_digest_is_the_same_in_every_process() -> None:
    assert digest(found(conftest.device())) == (
        "e029db6b93fa84f1ec8fdfe641102b4e58dfcf69b04313a834e04273a3df2f45"
    )


def test_order_of_a_listing_does_not_count() -> None:
    one, two = conftest.device("0c", 3), conftest.device("0d", 3)
    expected = digest(found(one, two))
    for each in (one, two):
        (deployable,) = each.deployable_list
        deployable.attach_handle_list = [
            *reversed(deployable.attach_handle_list or ())
        ]
        deployable.attribute_list = [
            *reversed(deployable.attribute_list or ())
        ]
    assert digest(found(two, one)) == expected


@pytest.mark.parametrize(
    "other",
    [
        found(conftest.device("0d")),
        found(conftest.device(model="another")),
        found(conftest.device(handles=2)),
        found(conftest.device(stub=True)),
        found(conftest.device(), name="two"),
        found(conftest.device(), complete=False),
        found(conftest.device(), error="no bus"),
        found(conftest.device(), capabilities=["program"]),
        found(),
    ],
)
def test_digest_covers_everything(other: report.Found) -> None:
    assert digest(other) != digest(found(conftest.device()))


def test_digest_covers_the_name_on_the_bus() -> None:
    assert digest(found(), rpc_host="a") != digest(found(), rpc_host="b")


def test_plain_and_back_is_the_same() -> None:
    device = conftest.device(handles=2)
    plain = report.plain(device)
    assert report.plain(report.device_from_plain(plain)) == plain
    assert plain["deployable_list"][0]["attribute_list"][0] == {
        "key": "rc",
        "value": "FPGA",
    }


@pytest.fixture
def told(
    conductor: conftest.Conductor, tmp_path: pathlib.Path
) -> reporter.Reporter:
    result = conftest.reporter_of(conductor.api(), tmp_path)
    result.hostname = "cn1.example.org"
    return result


def a_report(*devices: Any) -> report.Report:
    return report.Report.of([found(*devices)], "cn1")


def test_unchanged_hardware_costs_a_heartbeat(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    current = a_report(conftest.device())
    told.publish(current)
    told.publish(current)
    assert len(conductor.reports) == 1
    assert conductor.heartbeats == [current.digest]


def test_restarted_agent_sends_a_heartbeat_first(
    conductor: conftest.Conductor,
    told: reporter.Reporter,
    tmp_path: pathlib.Path,
) -> None:
    told.publish(a_report(conftest.device()))
    restarted = conftest.reporter_of(conductor.api(), tmp_path)
    restarted.hostname = "cn1.example.org"
    restarted.publish(a_report(conftest.device()))
    assert (len(conductor.reports), len(conductor.heartbeats)) == (1, 1)


def test_changed_hardware_is_reported_at_once(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    told.publish(a_report(conftest.device()))
    told.publish(a_report(conftest.device(), conftest.device("0d")))
    assert [len(each["devices"]) for each in conductor.reports] == [1, 2]
    assert conductor.heartbeats == []


def test_conductor_that_forgot_gets_everything(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    current = a_report(conftest.device())
    told.publish(current)
    conductor.digests.clear()
    told.publish(current)
    assert len(conductor.reports) == 2
    assert conductor.digests == {"cn1.example.org": current.digest}


def test_report_names_what_each_driver_can_and_found(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    told.publish(a_report(conftest.device()))
    assert conductor.reports[0]["drivers"] == [
        {
            "name": "one",
            "complete": True,
            "error": None,
            "capabilities": ["program", "stats"],
            "cpids": [conftest.device().controlpath_id.cpid_info],
        }
    ]


def test_absent_conductor_is_told_later(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    for error in (conftest.UNAVAILABLE, RuntimeError("a bug")):
        conductor.error = error
        told.publish(a_report(conftest.device()))
    conductor.error = None
    told.publish(a_report(conftest.device()))
    assert len(conductor.reports) == 1


def test_without_drivers_nothing_is_reported(
    conductor: conftest.Conductor, told: reporter.Reporter
) -> None:
    told.publish(None)
    assert conductor.reports == []
    assert conductor.heartbeats == [None]


def test_heartbeat_only_after_silence(
    conductor: conftest.Conductor,
    told: reporter.Reporter,
    config: Any,
) -> None:
    told.publish(a_report(conftest.device()))
    told.heartbeat()
    assert conductor.heartbeats == []
    config.config(group="agent", heartbeat_interval=0)
    told.heartbeat()
    assert len(conductor.heartbeats) == 1
