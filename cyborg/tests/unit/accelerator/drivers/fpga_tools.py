"""The edge of programming: privileged code runs here, its programs do not."""

from collections.abc import Iterator

import pytest

from cyborg import privsep
from cyborg.accelerator import command
from cyborg.common import exception

TIMEOUT = exception.CommandFailed(
    command="tool", code="timeout", stderr="killed after 600 seconds"
)
REFUSED = exception.CommandFailed(
    command="tool", code=4, stderr="No suitable slots found."
)


class Tool:
    """Takes the place of every program; ``answer`` is text or an error."""

    def __init__(self) -> None:
        self.answer: str | Exception = ""
        self.calls: list[tuple[list[str], float]] = []

    def __call__(self, argv: list[str], timeout: float) -> str:
        self.calls.append((argv, timeout))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def tool(monkeypatch) -> Iterator[Tool]:
    replacement = Tool()
    monkeypatch.setattr(command, "run", replacement)
    privsep.sys_admin_pctxt.set_client_mode(False)
    yield replacement
    privsep.sys_admin_pctxt.set_client_mode(True)
