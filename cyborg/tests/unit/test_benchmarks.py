import importlib
import json
import pathlib

import pytest

from benchmarks import common

PROGRAMS = (
    "boot_cycle",
    "cloud",
    "daemons",
    "discovery",
    "floor",
    "gate",
    "lists",
    "providers",
    "reports",
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_says_how_to_run_it(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert name in str(module.__doc__)


def test_every_program_is_known() -> None:
    directory = pathlib.Path(str(common.__file__)).parent
    parts = {"__init__", "common", "nova", "placement", "records"}
    found = {path.stem for path in directory.glob("*.py")}
    assert found - parts == set(PROGRAMS)


def test_ratio_tells_how_much_better_the_floor_is() -> None:
    assert common.Figure("time", 30, "ms", 20).ratio == pytest.approx(1.5)
    rate = common.Figure("rate", 100, "per s", 150, lower=False)
    assert rate.ratio == pytest.approx(1.5)
    assert common.Figure("memory", 100, "MiB").ratio is None


def test_figures_are_a_table_and_json(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    figures = [common.Figure("a list", 12.345, "ms", 10)]
    common.publish(figures, str(path))
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["measured", "floor", "ratio"]
    assert row.split() == ["a", "list", "12.3", "10", "1.23", "ms"]
    (written,) = json.loads(path.read_text())["figures"]
    assert written["value"] == 12.345
    assert written["ratio"] == pytest.approx(1.2345)
