"""Named points at which the fault tests make a process die.

A test starts a service with ``CYBORG_DIE_AT=<point>``, or with
``CYBORG_DIE_AT=@<file>`` and writes the point's name there later; reaching
that point then is like losing power there. Otherwise :func:`point` does
nothing.
"""

import os
import pathlib
import signal

_DIE_AT = os.environ.get("CYBORG_DIE_AT")


def point(name: str) -> None:
    """Die here, without any clean-up, if a test asks for it."""
    if _DIE_AT is not None and name == _wanted(_DIE_AT):
        os.kill(os.getpid(), signal.SIGKILL)


def _wanted(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return pathlib.Path(text[1:]).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
