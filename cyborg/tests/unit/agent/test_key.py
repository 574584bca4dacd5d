"""The key of a host, and what an agent apart can be told."""

import pathlib
import re
import stat

import pytest

from cyborg.agent import errands
from cyborg.agent import key
from cyborg.common import exception
from cyborg.common import rpc


def test_a_key_is_made_once(tmp_path: pathlib.Path) -> None:
    made = key.read_or_make(tmp_path)
    assert len(made) == 43
    assert key.read_or_make(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_an_operators_key_is_taken_and_hidden(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "key"
    path.write_text("x" * 32 + "\n")
    path.chmod(0o644)
    assert key.read_or_make(tmp_path) == "x" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "short", "x" * 256, "é" * 40])
def test_what_is_no_key_ends_the_agent(
    tmp_path: pathlib.Path, text: str
) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(exception.ConfigInvalid):
        key.read_or_make(tmp_path)


def test_whoever_forges_a_call_can_only_wake() -> None:
    endpoint = errands.Errands.__new__(errands.Errands)
    allowed = [
        name
        for name in dir(errands.Errands)
        if rpc.UseCases().is_allowed(endpoint, name)
    ]
    assert allowed == ["wake"]


@pytest.mark.parametrize("host", ["cn1", "cn1.example.org", "cn(1)+"])
def test_names_of_another_host_are_not_permitted(host: str) -> None:
    may = rpc.agent_permissions(host)
    topic = f"cyborg-agent-{host}"
    mine = f"{host}:cyborg-agent:12"
    own = [topic, f"{topic}.{host}", f"{topic}_fanout_{mine}", f"reply_{mine}"]
    others = ["cyborg-agent-cn2", f"{topic}2", f"{topic}.cn2", f"a{topic}"]
    others += [
        "reply_cn2:cyborg-agent:1",
        "cyborg-agent-reports",
        "amq.default",
    ]
    others += [f"reply_{mine}x", host.replace(".", "x") + "x", ""]
    for name in own:
        assert re.search(may.configure, name)
    for name in others:
        assert not re.search(may.configure, name)
        assert not re.search(may.topic_read, name)
    assert re.search(may.topic_write, "cyborg-agent-reports")
    assert not re.search(may.topic_write, topic)
