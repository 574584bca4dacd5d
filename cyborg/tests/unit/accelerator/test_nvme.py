"""Drives are erased by the way that they have, through whatever happens."""

import json
import pathlib
from typing import Any

import pytest

from cyborg.accelerator import driver
from cyborg.accelerator import nvme
from cyborg.accelerator import nvme_spec
from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine

ADDRESS = "0000:5e:00.0"
EVERYTHING = {"sanicap": 3, "oacs": 2, "fna": 4}
SECRET = "what a guest wrote"


class Crash(BaseException):
    """The agent dies here."""


class Tools:
    """A drive, and the programs that speak to it."""

    def __init__(self, **can: int) -> None:
        self.can = {"sanicap": 0, "oacs": 0, "fna": 0} | can
        self.data = {"nvme0n1": SECRET, "nvme0n2": SECRET}
        self.worn = 3
        self.status = 0x100
        # How often the log says that it goes on.
        self.looks = 2
        self.error: BaseException | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.left = 0
        self.fails = False

    def _call(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def nvme_read(self, what: str, name: str, timeout: float) -> str:
        if isinstance(self.error, exception.CommandFailed):
            raise self.error
        answers: dict[str, Any] = {
            "id-ctrl": self.can,
            "smart-log": {"percent_used": self.worn},
            # Format 2, metadata at the end, protection of type 1.
            "id-ns": {"flbas": 0x12, "dps": 0x9, "nlbaf": 3},
        }
        return json.dumps(answers[what])

    def nvme_sanitize(self, name: str, action: int, timeout: float) -> str:
        self.status, self.left = 2, self.looks
        self._call("sanitize", name, action)
        return ""

    def nvme_sanitize_log(self, name: str, timeout: float) -> str:
        if self.status & 7 == 2:
            if self.left == 0:
                self.status = 3 if self.fails else 0x101
                if not self.fails:
                    self.data = dict.fromkeys(self.data, "")
            self.left -= 1
        return (
            "Sanitize Progress                      (SPROG) :  65535\n"
            f"Sanitize Status                        (SSTAT) :  "
            f"{self.status:#x}\n"
        )

    def nvme_format(self, name: str, *shape: Any) -> str:
        self._call("format", name, *shape[:-1])
        self.data[name] = ""
        return ""

    def zero_out(self, name: str, timeout: float) -> str:
        self._call("zero", name)
        self.data[name] = ""
        return ""

    def reprobe(self, root: Any, address: str) -> None:
        self._call("reprobe", address)


def drive(
    root: pathlib.Path,
    tools: Tools,
    *,
    bound: str = "nvme",
    shown: bool = True,
    **wanted: str,
) -> nvme.Drive:
    path = f"sys/devices/pci0000:5e/{ADDRESS}"
    text = machine.function(ADDRESS, "144d", "a808", "010802", driver=bound)
    lines = [f"{path}/nvme/nvme0/state = live"]
    for name in ("nvme0n1", "nvme0n2") if shown else ():
        lines += [
            f"{path}/nvme/nvme0/{name}/{name}p1/dev = 259:1",
            f"{path}/nvme/nvme0/{name}/dev = 259:0",
            f"sys/class/block/{name} -> ../../../{path}/nvme/nvme0/{name}",
            f"sys/class/block/{name}p1 -> "
            f"../../../{path}/nvme/nvme0/{name}/{name}p1",
        ]
    machine.unpack_text(f"{text}\n[]\n" + "\n".join(lines), root)
    function = pci.read_function(
        ADDRESS, sysfs.resolve(root, pci.DEVICES, ADDRESS)
    )
    (spec,) = nvme_spec.parse([json.dumps(wanted)])
    return nvme.Drive(
        root,
        function,
        spec=spec if wanted else None,
        timeout=900.0,
        max_wear=100,
        tools=tools,
        sleep=lambda _: None,
    )


def clean(each: nvme.Drive) -> list[str]:
    steps = each.steps()
    for step in steps:
        each.do(step)
    return [step.name for step in steps]


SHAPE = (2, 1, 1, 1)


@pytest.mark.parametrize(
    "can, wanted, expected",
    [
        (EVERYTHING, {}, [("sanitize", "nvme0", 4)]),
        ({"sanicap": 2, "oacs": 2}, {}, [("sanitize", "nvme0", 2)]),
        (
            EVERYTHING,
            {"clear_strategy": "block"},
            [("sanitize", "nvme0", 2)],
        ),
        (
            {"oacs": 2, "fna": 4},
            {},
            [("format", f"nvme0n{n}", 2, *SHAPE) for n in (1, 2)],
        ),
        (
            {"oacs": 2},
            {"clear_action": "sanitize"},
            [("format", f"nvme0n{n}", 1, *SHAPE) for n in (1, 2)],
        ),
        ({}, {}, [("zero", "nvme0n1"), ("zero", "nvme0n2")]),
        (
            EVERYTHING,
            {"clear_action": "zero"},
            [("zero", "nvme0n1"), ("zero", "nvme0n2")],
        ),
        # Its key is wanted, and it has none to change.
        (
            {"sanicap": 2, "oacs": 2},
            {"clear_strategy": "crypto"},
            [("zero", "nvme0n1"), ("zero", "nvme0n2")],
        ),
    ],
)
def test_way(
    tmp_path: pathlib.Path,
    can: dict[str, int],
    wanted: dict[str, str],
    expected: list[Any],
) -> None:
    tools = Tools(**can)
    clean(drive(tmp_path, tools, **wanted))
    assert tools.calls == expected
    assert set(tools.data.values()) == {""}


def test_it_cannot_as_it_is_wanted(tmp_path: pathlib.Path) -> None:
    each = drive(
        tmp_path,
        Tools(sanicap=2, oacs=2),
        clear_action="sanitize",
        clear_strategy="crypto",
    )
    with pytest.raises(driver.CannotClean, match="crypto"):
        each.steps()


@pytest.mark.parametrize("can", ({}, {"sanicap": 2}, {"oacs": 2}))
def test_a_worn_drive_is_not_worn_more(
    tmp_path: pathlib.Path, can: dict[str, int]
) -> None:
    tools = Tools(**can)
    tools.worn = 100
    with pytest.raises(driver.CannotClean, match="100 % of its life"):
        drive(tmp_path, tools).steps()
    assert tools.calls == []
    # A new key costs nothing.
    tools.can = {"sanicap": 1, "oacs": 0, "fna": 0}
    assert clean(drive(tmp_path / "again", tools)) == [nvme.SANITIZE]


def test_cut_short_while_it_is_sanitized(tmp_path: pathlib.Path) -> None:
    tools = Tools(**EVERYTHING)
    tools.error = Crash()
    each = drive(tmp_path, tools)
    with pytest.raises(Crash):
        clean(each)
    tools.error = None
    # The drive goes on by itself, also through a power cut.
    clean(each)
    assert tools.calls == [("sanitize", "nvme0", 4)]
    assert set(tools.data.values()) == {""}
    # It is done, and nothing was written since.
    clean(each)
    assert len(tools.calls) == 1
    tools.status &= ~0x100
    clean(each)
    assert len(tools.calls) == 2


def test_the_drive_says_that_it_failed(tmp_path: pathlib.Path) -> None:
    tools = Tools(**EVERYTHING)
    tools.fails = True
    each = drive(tmp_path, tools)
    with pytest.raises(exception.DriverError, match="sanitize failed"):
        clean(each)
    tools.fails = False
    clean(each)
    assert set(tools.data.values()) == {""}


def test_it_takes_too_long(tmp_path: pathlib.Path) -> None:
    tools = Tools(**EVERYTHING)
    tools.looks = 10**9
    each = drive(tmp_path, tools)
    each._timeout = 0.0
    with pytest.raises(exception.DriverError, match="not sanitized in 0 s"):
        clean(each)
    # The next attempt waits for the same.
    tools.left = 1
    each._timeout = 900.0
    clean(each)
    assert tools.calls == [("sanitize", "nvme0", 4)]


def test_a_log_without_news_is_no_success(tmp_path: pathlib.Path) -> None:
    tools = Tools(**EVERYTHING)
    each = drive(tmp_path, tools)
    each._timeout = 0.0
    tools.nvme_sanitize_log = (  # type: ignore[method-assign]
        lambda name, timeout: "Sanitize Status (SSTAT) : 0\n"
    )
    with pytest.raises(exception.DriverError, match="not sanitized"):
        clean(each)


def test_no_tool(tmp_path: pathlib.Path) -> None:
    tools = Tools()
    tools.error = exception.CommandFailed(
        command="nvme", code=2, stderr="[Errno 2] No such file: 'nvme'"
    )
    with pytest.raises(driver.CannotClean, match="nvme-cli is not installed"):
        drive(tmp_path, tools).steps()


def test_a_drive_without_disks_is_not_clean(tmp_path: pathlib.Path) -> None:
    """A guest may have deleted its namespaces: nothing can be overwritten."""
    with pytest.raises(exception.DriverError, match="shows no namespaces"):
        clean(drive(tmp_path, Tools(), shown=False))
    tools = Tools(**EVERYTHING)
    each = drive(tmp_path / "again", tools, shown=False)
    assert clean(each) == [nvme.SANITIZE]


def test_it_is_given_back_to_its_driver_first(tmp_path: pathlib.Path) -> None:
    tools = Tools(**EVERYTHING)
    clean(drive(tmp_path, tools, bound="vfio-pci"))
    assert tools.calls[0] == ("reprobe", ADDRESS)
