"""Prints what gives agents a message bus of their own."""

from collections.abc import Sequence
import secrets
import shlex

from cyborg import manage
from cyborg.common import rpc
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.manage import output

USER = "cyborg-agent-"


def permissions(
    context: RequestContext,
    hosts: Sequence[str],
    vhost: str,
    conductor: str | None,
    with_users: bool,
) -> int:
    """Print commands for RabbitMQ: the virtual host, users, permissions.

    :param hosts: ``[DEFAULT] host`` of agents; all that have reported if none
        is given
    :param conductor: user of the conductors
    """
    names = list(hosts) or [
        row.rpc_host or row.hostname for row in host_db.find(context)
    ]
    _print("add_vhost", vhost)
    if conductor is not None:
        _print("set_permissions", "-p", vhost, conductor, ".*", ".*", ".*")
    for name in sorted(set(names)):
        user = f"{USER}{name}"
        if with_users:
            password = secrets.token_urlsafe(24)
            output.line(
                f"# [agent_transport] transport_url of {name}: "
                f"rabbit://{user}:{password}@<broker>:5672/{vhost}"
            )
            _print("add_user", user, password)
        for command in commands(name, user, vhost):
            _print(*command)
    return manage.CLEAN


def commands(host: str, user: str, vhost: str) -> list[list[str]]:
    """Return what ``rabbitmqctl`` is told of the user of one host."""
    may = rpc.agent_permissions(host)
    place = ["-p", vhost, user]
    return [
        ["set_permissions", *place, may.configure, may.write, may.read],
        [
            "set_topic_permissions",
            *place,
            may.exchange,
            may.topic_write,
            may.topic_read,
        ],
    ]


def _print(*command: str) -> None:
    output.line(shlex.join(["rabbitmqctl", *command]))
