"""JSON files that survive a crash: a reader sees the old text or the new."""

import json
import os
import pathlib
import tempfile
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.common import exception

CONF = cfg.CONF
LOG = logging.getLogger(__name__)


def directory() -> pathlib.Path:
    """Return the agent's private directory, made if need be.

    :raises ConfigInvalid: it cannot be made or written
    """
    path = pathlib.Path(CONF.state_path, "agent")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise exception.ConfigInvalid(
            option="state_path", reason=str(error)
        ) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise exception.ConfigInvalid(
            option="state_path", reason=f"{path} is not writable"
        )
    return path


def read(path: pathlib.Path) -> dict[str, Any]:
    """Return what the file holds, or nothing if there is no such file.

    A file that is not a JSON object is set aside, for a person to look at.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        aside = path.with_suffix(".broken")
        path.replace(aside)
        LOG.error("%s was unreadable (%s), now %s", path, error, aside)
        return {}
    return content


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Replace the file, mode 0600; on the disk when this returns."""
    # mkstemp makes the file readable by its owner only.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
