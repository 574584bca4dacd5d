"""Named points at which the fault tests make a process die.

A test starts a service with ``CYBORG_DIE_AT=<point>``; reaching that point
then is like losing power there. Otherwise :func:`point` does nothing.
"""

import os
import signal

_DIE_AT = os.environ.get("CYBORG_DIE_AT")


def point(name: str) -> None:
    """Die here, without any clean-up, if a test asks for it."""
    if _DIE_AT is not None and name == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)
