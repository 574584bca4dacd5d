"""Loads the WSGI application with the filters of its paste file."""

import configparser
import contextlib
import io
import pathlib
import sys
from typing import Any

from oslo_config import cfg
from oslo_log import log
from paste import deploy

from cyborg.api.middleware import auth_token
from cyborg.api.middleware import bypass
from cyborg.common import exception
from cyborg.common import policy
from cyborg.common import service
from cyborg.common.i18n import _
from cyborg.db import engine as db_engine

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
    # A client waits: the next request tries it again.
    db_engine.configure(max_retries=0)
    path = find_paste_file()
    try:
        return bypass.behind_proxy(
            deploy.loadapp(f"config:{path}", name="main")
        )
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


def _arguments() -> list[str]:
    """Return the options that the server was given for its application.

    uwsgi hands over what its ``--pyargv`` says. Others leave their own
    command line, which is as good as never one of ``--config-file`` and its
    like alone.
    """
    arguments = sys.argv[1:]
    probe = cfg.ConfigOpts()
    log.register_options(probe)
    refusal = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(refusal),
            contextlib.redirect_stdout(refusal),
        ):
            probe(arguments, project="cyborg")
    except SystemExit:
        return []
    except cfg.Error:
        # They are options; what they say will be complained about.
        pass
    return arguments


def init_application() -> Any:
    """Return the application for a WSGI server.

    Ends the process with one line if the configuration is not valid.
    """
    # A server that keeps its process where this failed tries it again.
    CONF.clear()
    service.prepare(_arguments(), program="cyborg-api")
    try:
        return load()
    except exception.ConfigInvalid as error:
        sys.stderr.write(f"{error.faultstring}\n")
        sys.exit(_CANNOT_LOAD)
