"""Programs that end well, badly, late, or are not there."""

import sys
import time

import pytest

from cyborg.accelerator import command
from cyborg.common import exception


def test_output():
    assert command.run([sys.executable, "-c", "print('ok')"], 10) == "ok\n"


def test_failure_tells_why():
    code = "import sys; print('no card', file=sys.stderr); sys.exit(3)"
    with pytest.raises(exception.CommandFailed, match="with 3: no card"):
        command.run([sys.executable, "-c", code], timeout=10)


def test_missing_program():
    with pytest.raises(exception.CommandFailed, match="No such file"):
        command.run(["/none/lspci"], timeout=10)


def test_late_program_is_killed(tmp_path):
    mark = tmp_path / "alive"
    code = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    with pytest.raises(exception.CommandFailed, match="timeout"):
        command.run([sys.executable, "-c", code], timeout=1)
    time.sleep(1.5)
    assert not mark.exists()


def test_what_a_late_script_started_is_killed(tmp_path):
    mark = tmp_path / "alive"
    script = f"(sleep 2; touch {mark}); true"
    with pytest.raises(exception.CommandFailed, match="timeout"):
        command.run(["/bin/sh", "-c", script], timeout=1)
    time.sleep(1.5)
    assert not mark.exists()
