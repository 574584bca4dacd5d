"""Text from others: what is stored of it, and what people are shown."""

import logging as std_logging

import pytest

from cyborg.common import service
from cyborg.common import text
from cyborg.manage import output

FORGED = "cn1\n2026-11-21 INFO all is well \x1b[2J\u202eevil"


@pytest.mark.parametrize("bad", ["\0", "\ud800", "😀", "\uffff"])
def test_what_an_engine_lacks_is_not_storable(bad: str) -> None:
    assert not text.is_storable(f"a{bad}b")
    assert text.storable(f"a{bad}b", "?") == "a?b"
    assert text.is_storable("é日本")


def test_what_is_shown_is_one_line_without_controls() -> None:
    shown = text.visible(FORGED)
    assert shown == (
        r"cn1\n2026-11-21 INFO all is well \x1b[2J" + r"\u202eevil"
    )
    assert text.visible("é 日本") == "é 日本"


def test_a_host_cannot_forge_lines_of_the_log() -> None:
    record = service.LogRecord(
        "cyborg.conductor", 20, "", 0, "Host %s reports", (FORGED,), None
    )
    assert "\n" not in record.getMessage()
    assert "\x1b" not in std_logging.Formatter("%(message)s").format(record)
    # What libraries print over several lines stays as it is.
    other = service.LogRecord("sqlalchemy", 20, "", 0, "a\nb", (), None)
    assert other.getMessage() == "a\nb"


def test_a_host_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.line(FORGED)
    output.table(["host"], [{"host": FORGED}], use_json=False)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out and "\u202e" not in out
