"""Runs a program: argv in, text out. No shell."""

from collections.abc import Sequence
import errno
import math
import os
import signal
import subprocess

from oslo_concurrency import processutils
from oslo_config import cfg

from cyborg.common import exception

CONF = cfg.CONF


def run(argv: Sequence[str], timeout: float | None = None) -> str:
    """Return what a program printed on standard output.

    Runs as the agent's own user; what needs more is a function of
    :mod:`cyborg.accelerator.privileged` with the program fixed inside.

    :param timeout: seconds; ``[agent] command_timeout`` if not given
    :raises CommandFailed: it is not installed, ended with an error or took
        too long
    """
    try:
        stdout, _stderr = processutils.execute(
            *argv,
            timeout=math.ceil(timeout or CONF.agent.command_timeout),
            # A group of its own, so that its children can be ended with it.
            preexec_fn=os.setsid,
            on_completion=_end,
        )
    except processutils.ProcessExecutionError as error:
        raise exception.CommandFailed(
            command=" ".join(argv),
            code=error.exit_code,
            stderr=(error.stderr or "").strip(),
        ) from error
    except subprocess.TimeoutExpired as error:
        raise exception.CommandFailed(
            command=" ".join(argv),
            code="timeout",
            stderr=f"killed after {error.timeout} seconds",
        ) from error
    except OSError as error:
        raise exception.CommandFailed(
            command=" ".join(argv), code=error.errno, stderr=str(error)
        ) from error
    return stdout


def is_missing(error: exception.CommandFailed) -> bool:
    """Return whether a program failed because it is not installed.

    Told by the text: an error that comes from a privileged process has
    nothing else.
    """
    return f"[Errno {errno.ENOENT}]" in error.faultstring


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave nothing running behind a timeout.

    Vendors' tools are scripts that start the program that does the work.
    """
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
