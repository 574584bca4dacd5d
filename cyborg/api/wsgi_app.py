"""Loads the WSGI application with the filters of its paste file."""

import configparser
import pathlib
import sys
from typing import Any

from oslo_config import cfg
from paste import deploy

from cyborg.api.middleware import auth_token
from cyborg.common import exception
from cyborg.common import policy
from cyborg.common import service
from cyborg.common.i18n import _

CONF = cfg.CONF

# uwsgi takes this for an application that cannot be loaded, and ends if it
# needs one. Any other status makes it start the next process at once.
_CANNOT_LOAD = 22


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


def load() -> Any:
    """Return the application; the configuration has been read.

    :raises ConfigInvalid: it, or the policy, cannot be loaded
    """
    auth_token.check_strategy()
    policy.check()
    path = find_paste_file()
    try:
        return deploy.loadapp(f"config:{path}", name="main")
    except (
        # A section, a module or a function that is not there; a file that
        # cannot be read or understood.
        LookupError,
        ImportError,
        AttributeError,
        OSError,
        configparser.Error,
    ) as error:
        raise exception.ConfigInvalid(
            option="[api] api_paste_config",
            reason=f"{path}: {' '.join(str(error).split())}",
        ) from error


def init_application() -> Any:
    """Return the application for a WSGI server, which has its own options.

    Ends the process with one line if the configuration is not valid.
    """
    service.prepare([])
    try:
        return load()
    except exception.ConfigInvalid as error:
        sys.stderr.write(f"{error.faultstring}\n")
        sys.exit(_CANNOT_LOAD)
