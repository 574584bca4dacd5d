"""Loads the WSGI application with the filters of its paste file."""

import pathlib
import sys
from typing import Any

from oslo_config import cfg
from paste import deploy

from cyborg.api.middleware import auth_token
from cyborg.common import exception
from cyborg.common import service
from cyborg.common.i18n import _

CONF = cfg.CONF


def find_paste_file() -> str:
    """Return the path of the paste file that ``[api]`` names.

    :raises ConfigInvalid: there is none
    """
    name = CONF.api.api_paste_config
    found: str | None = CONF.find_file(name)
    if found is not None:
        return found
    for directory in (sys.prefix, CONF.pybasedir):
        # Where it is installed from a package, and in a source tree.
        path = pathlib.Path(directory, "etc", "cyborg", name)
        if path.is_file():
            return str(path)
    raise exception.ConfigInvalid(
        option="[api] api_paste_config", reason=_("%s is not found.") % name
    )


def check() -> str:
    """Return the paste file's path if the application can be loaded.

    :raises ConfigInvalid: it cannot
    """
    auth_token.check_strategy()
    return find_paste_file()


def load() -> Any:
    """Return the application; the configuration has been read."""
    return deploy.loadapp(f"config:{check()}", name="main")


def init_application() -> Any:
    """Return the application for a WSGI server, which has its own options."""
    service.prepare([])
    return load()
