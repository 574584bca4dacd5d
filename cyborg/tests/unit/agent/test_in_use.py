"""What an agent keeps of what the conductor says is in use."""

import pathlib
import time
from typing import Any

from cyborg.agent import in_use
from cyborg.tests.unit.agent import conftest

ADDRESS = {"domain": "0000", "bus": "af", "device": "00", "function": "0"}


def told(*uuids: str, digest: str = "d1", **values: Any) -> dict[str, Any]:
    """An answer of a conductor."""
    return {
        "digest": digest,
        "handles": [
            {
                "uuid": uuid,
                "attach_type": "MDEV",
                "attach_info": {**ADDRESS, "asked_type": "nvidia-223"},
                "device": "d",
                "arq": "a",
                "state": "Bound",
                "instance": "i",
                **values,
            }
            for uuid in uuids
        ],
    }


def test_it_is_known_after_a_restart(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "in_use.json"
    known = in_use.InUse(path)
    assert not known.is_known
    assert known.handles() == []
    known.take("cn1", told("one", "two"), time.monotonic())
    again = in_use.InUse(path)
    assert again.is_known
    assert [handle.uuid for handle in again.handles()] == ["one", "two"]
    assert again.addresses() == {"0000:af:00.0"}
    assert again.get("one") == in_use.Handle(
        "one",
        "MDEV",
        {**ADDRESS, "asked_type": "nvidia-223"},
        "d",
        "a",
        "Bound",
        "i",
    )
    # Another host's says nothing about this one.
    assert again.digest("cn1") == "d1"
    assert again.digest("cn2") == ""


def test_what_later_conductors_add_is_left_out(
    tmp_path: pathlib.Path,
) -> None:
    known = in_use.InUse(tmp_path / "in_use.json")
    answer = told("one", state=None, arq=None, colour="blue")
    answer["handles"][0]["attach_info"] = {"path": "/dev/pmem0"}
    known.take("cn1", answer, time.monotonic())
    (handle,) = known.handles()
    assert (handle.address, handle.asked_type) == (None, None)
    assert not handle.is_bound


def test_an_answer_that_was_under_way_brings_nothing_back(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "in_use.json"
    changes: list[None] = []
    known = in_use.InUse(path, lambda: changes.append(None))
    asked_at = time.monotonic()
    known.strike("one")
    known.take("cn1", told("one", "two"), asked_at)
    assert [handle.uuid for handle in known.handles()] == ["two"]
    assert known.digest("cn1") == ""
    assert len(changes) == 1
    known.take("cn1", None, time.monotonic())
    assert len(changes) == 1
    # Asked again, it is bound again.
    known.take("cn1", told("one", "two"), time.monotonic())
    assert len(known.handles()) == 2
    known.strike("two")
    assert [h.uuid for h in in_use.InUse(path).handles()] == ["one"]


def test_registration_and_heartbeats_bring_it(
    conductor: conftest.Conductor, tmp_path: pathlib.Path
) -> None:
    told_by = conftest.reporter_of(conductor.api(), tmp_path)
    conductor.in_use = told("one")
    conductor.hostname = "cn1"
    told_by._look_up(["cn1"])
    path = tmp_path / "in_use.json"
    assert in_use.InUse(path).digest("cn1") == "d1"
    conductor.in_use = told("one", "two", digest="d2")
    told_by.publish(None)
    assert len(in_use.InUse(path).handles()) == 2
    assert (
        conductor.speakers
        == [
            {
                "machine_id": "dmi:4c4c4544",
                "boot_id": "boot-1",
                "rpc_version": conductor.speakers[0]["rpc_version"],
            }
        ]
        * 2
    )
