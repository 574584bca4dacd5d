"""The pictures of the documentation are in step with what they show."""

import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

from cyborg.common import states

TREE = pathlib.Path(__file__).parents[3]
TOOL = TREE / "tools" / "draw-diagrams"
PICTURES = TREE / "doc" / "source" / "images"
ARROW = re.compile(r'data-from="([^"]*)" data-to="([^"]*)"')


def draw(tool: pathlib.Path, *arguments: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, str(tool), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout + ended.stderr


def copy(tmp_path: pathlib.Path, name: str, source: str) -> pathlib.Path:
    """Return the tool in a tree that has one source, and the real states."""
    for path in ("tools", "doc/source/_diagrams", "cyborg/common"):
        (tmp_path / path).mkdir(parents=True)
    tool = tmp_path / "tools" / "draw-diagrams"
    tool.write_text(TOOL.read_text())
    (tmp_path / f"doc/source/_diagrams/{name}.txt").write_text(source)
    (tmp_path / "cyborg/common/states.py").write_text(
        (TREE / "cyborg/common/states.py").read_text()
    )
    return tool


def test_pictures_are_in_step() -> None:
    assert draw(TOOL, "--check") == (0, "")


def test_states_are_those_of_the_code() -> None:
    picture = (PICTURES / "arq-states.svg").read_text()
    drawn = set(ARROW.findall(picture))
    assert drawn == {
        (source.value, target.value)
        for target, sources in states.MAY_BECOME.items()
        for source in sources
    }


def test_pictures_say_what_they_show() -> None:
    pictures = sorted(PICTURES.glob("*.svg"))
    assert len(pictures) >= 4
    for picture in pictures:
        root = ElementTree.parse(picture).getroot()
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text


def test_changed_source_is_noticed(tmp_path: pathlib.Path) -> None:
    source = "graph\ntitle one\nrow a | b\narrow a -> b : calls\n"
    tool = copy(tmp_path, "one", source)
    assert draw(tool) == (0, "wrote doc/source/images/one.svg\n")
    assert draw(tool, "--check") == (0, "")
    path = tmp_path / "doc/source/_diagrams/one.txt"
    path.write_text(source.replace("calls", "asks"))
    code, said = draw(tool, "--check")
    assert code == 1
    assert "one.svg is out of step" in said
    path.rename(path.with_name("two.txt"))
    draw(tool)
    code, said = draw(tool, "--check")
    assert code == 1
    assert "one.svg has no source" in said


def test_mistakes_are_named(tmp_path: pathlib.Path) -> None:
    tool = copy(tmp_path, "one", "graph\ntitle one\nrow a\narrow a -> b :\n")
    code, said = draw(tool)
    assert code == 2
    assert "no row has b" in said


def test_state_without_a_place_is_named(tmp_path: pathlib.Path) -> None:
    tool = copy(tmp_path, "one", "states\ntitle one\nrow Initial | Bound\n")
    code, said = draw(tool)
    assert code == 2
    assert "UnbindFailed" in said
