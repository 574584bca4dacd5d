"""The secret that shows a conductor that an agent speaks for its host.

``$state_path/agent/key``: one line of text. The agent makes it, unless an
operator has laid one down. The conductor keeps its hash, from the first
report that comes with it on.
"""

import os
import pathlib
import secrets
import stat

from oslo_log import log as logging

from cyborg.common import exception

LOG = logging.getLogger(__name__)

NAME = "key"
# Characters; the key that is made here has 43.
_SHORTEST = 32
_LONGEST = 255


def read_or_make(directory: pathlib.Path) -> str:
    """Return the key of this host, made now if there is none.

    :param directory: the agent's own
    :raises ConfigInvalid: the file cannot be read, or holds no key
    """
    path = directory / NAME
    try:
        key = path.read_text(encoding="ascii").strip()
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            LOG.warning("Others could read %s; now they cannot", path)
            path.chmod(0o600)
    except FileNotFoundError:
        return _make(path)
    except (OSError, ValueError) as error:
        raise exception.ConfigInvalid(
            option=str(path), reason=str(error)
        ) from error
    if not _SHORTEST <= len(key) <= _LONGEST or not key.isprintable():
        raise exception.ConfigInvalid(
            option=str(path),
            reason=f"a key is one line of {_SHORTEST} to {_LONGEST} "
            "characters",
        )
    return key


def _make(path: pathlib.Path) -> str:
    """Write a new key; on the disk, and whole, before anybody hears of it."""
    key = secrets.token_urlsafe(32)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key
