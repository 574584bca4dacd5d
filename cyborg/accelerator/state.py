"""Files in which drivers keep what hardware does not always tell."""

import json
import os
import pathlib
import threading
from typing import Any

from oslo_log import log

LOG = log.getLogger(__name__)


class File:
    """A JSON object in ``$state_path/agent/``, a directory the agent makes.

    Without that directory, and in a dry run, nothing is written: the file
    would be another user's.

    :param name: of the file, the driver's own
    """

    def __init__(self, conf: Any, name: str) -> None:
        self._path = pathlib.Path(conf.state_path, "agent", f"{name}.json")
        self._is_kept = not getattr(conf, "dry_run", False)

    def load(self) -> dict[str, Any]:
        """Return what was saved, nothing if that cannot be read."""
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, TypeError, ValueError) as error:
            LOG.warning("%s is not used: %s", self._path, error)
            return {}

    def save(self, content: dict[str, Any]) -> None:
        """Replace the file; an error is logged."""
        if not self._is_kept or not self._path.parent.is_dir():
            return
        # Several drivers may have the file.
        part = self._path.with_suffix(f".{threading.get_ident()}.part")
        try:
            with part.open("w") as file:
                json.dump(content, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            LOG.warning("%s cannot be written: %s", self._path, error)
