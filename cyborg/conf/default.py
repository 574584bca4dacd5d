"""Options of every service, group [DEFAULT]."""

import os
import socket

from oslo_config import cfg

from cyborg.conf import types

OPTS = [
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        # Machines are called what their operators like.
        regex=r"\S",
        max_length=255,
        sample_default="<hostname>",
        help="""
Name of this node on the message bus.

An agent also puts it in front of the names of its deployables, so it has to
be unique in the cloud and stay the same. It need not equal the hypervisor
hostname; see ``[agent] resource_provider_name`` for that. Any text will do,
names with an underscore among them.
""",
    ),
    cfg.Opt(
        "periodic_interval",
        type=types.Positive(60),
        default=60,
        help="""
Seconds between two discoveries of an agent, and between two runs of a
conductor's repair tasks. A discovery that finds nothing new costs one small
message.
""",
    ),
    cfg.Opt(
        "thread_pool_size",
        type=types.Positive(10),
        default=10,
        help="""
How many jobs on hosts (programming, mediated devices) one conductor drives
at a time. A third of them is kept for binds that load nothing.
""",
    ),
    cfg.Opt(
        "bind_timeout",
        type=types.Positive(60),
        default=60,
        mutable=True,
        help="""
Seconds a bind may take that needs work on the host. An accelerator request
that is not bound by then fails, and its handle is given back. Programming
gets ``program_timeout`` on top.
""",
    ),
    cfg.IntOpt(
        "program_timeout",
        default=600,
        min=1,
        mutable=True,
        help="""
Seconds that programming a bitstream, or updating firmware, may take. Read by
agents and conductors.
""",
    ),
    cfg.BoolOpt(
        "fatal_exception_format_errors",
        default=False,
        help="Accepted and unused: a wrong error template always raises.",
    ),
    cfg.StrOpt(
        "pybasedir",
        default=os.path.abspath(
            os.path.join(os.path.dirname(__file__), "..", "..")
        ),
        sample_default="/usr/lib/python/site-packages",
        help="""
Directory where the cyborg package is installed; other options can refer to
it. Nothing is written there.
""",
    ),
    cfg.StrOpt(
        "bindir",
        default="$pybasedir/bin",
        help="""
Directory where Cyborg's scripts are installed. Kept for files that refer to
it; no service reads it.
""",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/cyborg",
        help="""
Directory for what a service keeps on disk: the SQLite database if no other
is configured, an agent's last report, its intent log and image cache. It has
to survive reboots, and belong to the user of the service.
""",
    ),
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "Tokens are checked by Keystone."),
            (
                "noauth2",
                "Every request is an administrator's. For trying Cyborg "
                "out; refused on any address but loopback.",
            ),
        ],
        help="""
How the API finds out who asks.

With ``noauth2`` a request acts as an administrator of one fixed project with
a valid service token; the headers ``X-Roles``, ``X-Project-Id`` and
``X-User-Id``, if sent, say otherwise.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_opts(OPTS)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {"DEFAULT": OPTS}
