"""Persistent memory: the option, what ndctl prints, whole reports."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from cyborg.accelerator import driver
from cyborg.accelerator.drivers import intel_pmem
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine

SIZE = 6442450944


def entry(number: int, **changes) -> dict:
    """Return one namespace as ``ndctl list -X`` prints it."""
    return {
        "dev": f"namespace0.{number}",
        "mode": "devdax",
        "map": "dev",
        "size": SIZE,
        "uuid": f"8a490caf-63c2-47c6-aee1-8cfbc66697a{number}",
        "name": f"ns{number}",
        "numa_node": 0,
        "align": 2097152,
        "daxregion": {
            "id": 0,
            "size": SIZE,
            "align": 2097152,
            "devices": [{"chardev": f"dax0.{number}", "size": SIZE}],
        },
    } | changes


def make(printed, *labels: str, privileged=None) -> intel_pmem.IntelPMEMDriver:
    conf = driver_fixture.conf(pmem_devices={"pmem_namespaces": list(labels)})
    return intel_pmem.IntelPMEMDriver(
        conf=conf,
        host="cn1",
        run=machine.Commands({"ndctl": printed}),
        list_privileged=privileged or not_needed,
    )


def not_needed(timeout: float) -> str:
    raise AssertionError("asked for privileges")


def test_report():
    pmem = make(
        json.dumps([entry(1), entry(0), entry(2, size=1, name="big")]),
        "6GB:ns0|ns1",
        "LARGE:big",
    )
    found = driver_fixture.plain(pmem.discover())
    assert found == [
        {
            "vendor": "8086",
            "model": "6GB",
            "type": "PMEM",
            "std_board_info": '{"label": "6GB", "size": "6442450944"}',
            "vendor_board_info": None,
            "stub": False,
            "cpid_type": "PMEM",
            "cpid_info": '{"label": "6GB"}',
            "deployables": [
                {
                    "name": "cn1_pmem_6GB",
                    "num_accelerators": 2,
                    "driver_name": "intel",
                    "attributes": [
                        ("rc", "CUSTOM_PMEM_NAMESPACE_6GB"),
                        ("trait0", "CUSTOM_PMEM_NAMESPACE_6GB"),
                    ],
                    "handles": [
                        (
                            "PMEM",
                            '{"align": "2097152", "device": "/dev/dax0.0", '
                            '"label": "6GB", "namespace": "ns0", '
                            '"size": "6442450944", '
                            '"uuid": "8a490caf-63c2-47c6-aee1-8cfbc66697a0"}',
                        ),
                        (
                            "PMEM",
                            '{"align": "2097152", "device": "/dev/dax0.1", '
                            '"label": "6GB", "namespace": "ns1", '
                            '"size": "6442450944", '
                            '"uuid": "8a490caf-63c2-47c6-aee1-8cfbc66697a1"}',
                        ),
                    ],
                }
            ],
        },
        found[1],
    ]
    assert found[1]["model"] == "LARGE"
    assert found[1]["deployables"][0]["num_accelerators"] == 1


def test_one_namespace_is_printed_bare():
    found = make(json.dumps(entry(0)), "6GB:ns0").discover()
    assert not found[0].stub
    assert len(found[0].deployable_list[0].attach_handle_list) == 1


def test_nothing_configured_runs_nothing():
    assert make(AssertionError("was run")).discover() == []


@pytest.mark.parametrize(
    "printed",
    [
        "\n",
        json.dumps([entry(1)]),
        json.dumps([entry(0), entry(1), entry(2, name="ns1")]),
        json.dumps([entry(0, mode="fsdax"), entry(1)]),
        json.dumps([entry(0, size=1), entry(1)]),
        json.dumps([entry(0, daxregion={"devices": []}), entry(1)]),
        json.dumps([entry(0, uuid="f" * 200), entry(1)]),
    ],
    ids=[
        "empty",
        "missing",
        "twice",
        "fsdax",
        "size",
        "no chardev",
        "too long",
    ],
)
def test_label_that_cannot_be_offered_is_a_stub(printed):
    (device,) = make(printed, "6GB:ns0|ns1").discover()
    assert device.stub
    assert device.controlpath_id.cpid_info == '{"label": "6GB"}'
    assert device.deployable_list == []


def test_one_bad_label_leaves_the_other():
    found = make(json.dumps([entry(0)]), "A:ns0", "B:ns1").discover()
    assert [device.stub for device in found] == [False, True]


def test_unnamed_namespaces_are_left_alone():
    unnamed = entry(1)
    del unnamed["name"]
    found = make(json.dumps([unnamed, entry(0)]), "A:ns0").discover()
    assert not found[0].stub


@pytest.mark.parametrize("printed", ["nonsense", "3", '[{"name": "ns0"}]'])
def test_what_ndctl_never_prints(printed):
    with pytest.raises(exception.DriverError):
        make(printed, "A:ns0").discover()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(entry(0))), JSON, max_size=3))
def test_any_entry_is_understood_or_refused(changes):
    printed = json.dumps([entry(0, **changes), entry(1)])
    with contextlib.suppress(exception.DriverError):
        found = intel_pmem.parse_namespaces(printed)
        assert "ns1" in [namespace.name for namespace in found]


def test_ndctl_is_tried_with_privileges():
    failed = exception.CommandFailed(command="ndctl", code=1, stderr="EPERM")
    printed = json.dumps(entry(0))
    pmem = make(failed, "A:ns0", privileged=lambda timeout: printed)
    assert not pmem.discover()[0].stub


def test_ndctl_not_installed():
    missing = exception.CommandFailed(command="ndctl", code=127, stderr="")

    def privileged(timeout: float) -> str:
        raise missing

    with pytest.raises(exception.CommandFailed):
        make(missing, "A:ns0", privileged=privileged).discover()


@pytest.mark.parametrize(
    "labels",
    [
        ["6GB:ns0", "6GB:ns1"],
        ["6GB:ns0", "6gb:ns1"],
        ["6GB:ns0|ns0"],
        ["A:ns0", "B:ns0"],
        ["6 GB:ns0"],
        [":ns0"],
        ["6GB"],
        ["6GB:"],
        ["6GB:ns0||ns1"],
    ],
)
def test_option_that_stops_the_agent(labels):
    with pytest.raises(exception.ConfigInvalid) as error:
        make("", *labels)
    assert "pmem_namespaces" in str(error.value)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z0-9_]{1,20}", fullmatch=True),
        st.integers(1, 4),
        max_size=5,
    )
)
def test_option_is_read_back(wanted):
    numbers = iter(range(100))
    labels = {
        label: [f"ns{next(numbers)}" for _ in range(count)]
        for label, count in wanted.items()
    }
    entries = [f"{label}:{'|'.join(ns)}" for label, ns in labels.items()]
    assert intel_pmem.parse_labels(entries) == labels


def test_order_of_ndctl_changes_nothing():
    entries = [entry(number) for number in range(4)]
    labels = "A:ns2|ns0", "B:ns1|ns3"
    first = driver_fixture.plain(make(json.dumps(entries), *labels).discover())
    entries.reverse()
    again = driver_fixture.plain(make(json.dumps(entries), *labels).discover())
    assert first == again


# -- cleaning


def handle(pmem: intel_pmem.IntelPMEMDriver, number: int = 0) -> dict:
    """Return what a guest had, as the agent is told it."""
    found = pmem.discover()[0].deployable_list[0].attach_handle_list[number]
    return {
        "uuid": "3d6a",
        "attach_type": "PMEM",
        "attach_info": json.loads(found.attach_info),
    }


def test_a_namespace_is_overwritten_where_it_is_now() -> None:
    pmem = make(json.dumps([entry(0), entry(1)]), "6GB:ns0|ns1")
    had = handle(pmem)
    zeroed = []
    # A boot has numbered them the other way round.
    swapped = [entry(0), entry(1)]
    for number, item in enumerate(swapped):
        item["daxregion"]["devices"][0]["chardev"] = f"dax0.{1 - number}"
    pmem.run = machine.Commands({"ndctl": json.dumps(swapped)})

    def zero(device: str, timeout: float) -> str:
        zeroed.append((device, timeout))
        return ""

    pmem._zero = zero
    (step,) = pmem.cleaning_steps({}, had)
    assert (step.name, step.destroys) == (
        "pmem-zero",
        "all data of namespace ns0",
    )
    pmem.clean({}, had, step)
    assert zeroed == [("/dev/dax0.1", 900.0)]


def test_another_namespace_of_that_name_is_left_alone() -> None:
    pmem = make(json.dumps(entry(0)), "6GB:ns0")
    had = handle(pmem)
    pmem.run = machine.Commands({"ndctl": json.dumps(entry(0, uuid="new"))})
    (step,) = pmem.cleaning_steps({}, had)
    for work in (
        pmem.clean,
        lambda cpid, what, _step: pmem.holder(cpid, what),
    ):
        with pytest.raises(driver.CannotClean, match="no namespace ns0"):
            work({}, had, step)


def test_daxio_is_missing_or_fails() -> None:
    pmem = make(json.dumps(entry(0)), "6GB:ns0")
    had = handle(pmem)
    (step,) = pmem.cleaning_steps({}, had)

    def fail(text: str) -> None:
        def zero(device: str, timeout: float) -> str:
            raise exception.CommandFailed(command="daxio", code=1, stderr=text)

        pmem._zero = zero

    fail("[Errno 2] No such file or directory: 'daxio'")
    with pytest.raises(driver.CannotClean, match="daxio is not installed"):
        pmem.clean({}, had, step)
    fail("bad block")
    with pytest.raises(exception.CommandFailed, match="bad block"):
        pmem.clean({}, had, step)


def test_who_has_a_namespace_open(tmp_path) -> None:
    pmem = make(json.dumps(entry(0)), "6GB:ns0")
    had = handle(pmem)
    pmem.root = machine.unpack_text(
        "proc/self/ns/pid -> pid:[4026531836]", tmp_path
    )
    assert pmem.holder({}, had) is None
    machine.unpack_text(
        "proc/9/comm = qemu-kvm\nproc/9/fd/4 -> /dev/dax0.0", tmp_path
    )
    assert pmem.holder({}, had) == "/dev/dax0.0 is open in process 9, qemu-kvm"
    pmem.root = tmp_path / "nothing"
    assert "cannot be seen" in (pmem.holder({}, had) or "")
