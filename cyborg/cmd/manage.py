"""The console script ``cyborg-manage``: look at a cloud, and repair it."""

import sys
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg import conf
from cyborg import context as cyborg_context
from cyborg import manage
from cyborg.common import constants
from cyborg.common import service
from cyborg.common import states
from cyborg.conductor.work import campaigns
from cyborg.db import engine as db_engine
from cyborg.manage import arq
from cyborg.manage import bus
from cyborg.manage import device
from cyborg.manage import firmware
from cyborg.manage import handle
from cyborg.manage import host
from cyborg.manage import placement
from cyborg.manage import profile
from cyborg.manage import quota

CONF = conf.CONF
LOG = logging.getLogger(__name__)


def _placement_audit(context: Any, options: Any) -> int:
    """Show how Placement differs from the database."""
    return placement.audit(context, options.hosts, options.json)


def _placement_heal(context: Any, options: Any) -> int:
    """Repair what differs in Placement."""
    if options.dry_run:
        return placement.audit(context, options.hosts, options.json)
    return placement.heal(
        context, options.hosts, options.json, options.delete_orphans
    )


def _placement_layout(context: Any, options: Any) -> int:
    """Say which providers count a host's devices."""
    return placement.lay_out(
        context, options.hostname, options.layout, options.json
    )


def _arq_list(context: Any, options: Any) -> int:
    """List accelerator requests."""
    return arq.list_arqs(
        context,
        options.json,
        states=options.state,
        instances=options.instance,
        hostname=options.hostname,
        project_id=options.project,
    )


def _arq_audit(context: Any, options: Any) -> int:
    """Show requests and handles that nobody looks after."""
    return arq.audit(context, options.json)


def _arq_release(context: Any, options: Any) -> int:
    """Delete requests, and start failed clean-ups of their hosts again."""
    return arq.release(context, options.uuid, options.json, options.force)


def _handle_audit(context: Any, options: Any) -> int:
    """Show handles that more than one request has."""
    return handle.audit(context, options.json)


def _handle_repair(context: Any, options: Any) -> int:
    """Leave each handle with one request; for use before an upgrade."""
    return handle.repair(context, options.keep, options.json, options.dry_run)


def _device_release(context: Any, options: Any) -> int:
    """Give devices out again that a cleaning left held back."""
    return device.release(context, options.uuid, options.json, options.force)


def _device_clean(context: Any, options: Any) -> int:
    """Have devices cleaned by their agents."""
    return device.clean(context, options.uuid, options.json)


def _profile_check(context: Any, options: Any) -> int:
    """List device profiles that nobody can fulfil."""
    return profile.check(context, options.json)


def _profile_repair(context: Any, options: Any) -> int:
    """Give profiles of one uuid uuids of their own."""
    return profile.repair(context, options.json, options.dry_run)


def _host_list(context: Any, options: Any) -> int:
    """List hosts, and whether Placement is in step with them."""
    return host.list_hosts(context, options.json)


def _host_replace(context: Any, options: Any) -> int:
    """Let another machine take the place of a host that is gone for good."""
    return host.replace(context, options.hostname)


def _host_delete(context: Any, options: Any) -> int:
    """Delete a host that is gone for good, with its providers."""
    return host.delete(context, options.hostname, options.json)


def _host_discover(context: Any, options: Any) -> int:
    """Have the agent of a host look at its hardware now."""
    return host.discover(context, options.hostname)


def _device_history(context: Any, options: Any) -> int:
    """List what happened to a device, also to one that is gone."""
    return device.history(context, options.uuid, options.limit, options.json)


def _host_rekey(context: Any, options: Any) -> int:
    """Forget the key that a host is known by, or lay another one down."""
    return host.rekey(context, options.hostname, options.key_file)


def _bus_permissions(context: Any, options: Any) -> int:
    """Print commands that give agents a message bus of their own."""
    return bus.permissions(
        context,
        options.agents,
        options.vhost,
        options.conductor_user,
        not options.no_users,
    )


def _firmware_campaign(context: Any, options: Any) -> int:
    """Give many devices firmware, a few at a time; goes on if it was begun."""
    return firmware.campaign(
        context,
        campaigns.Campaign(
            image=options.image,
            budget=options.budget,
            canary=options.canary,
            type=options.device_type,
            vendor=options.vendor,
            product=options.product,
            firmware=options.firmware,
        ),
        options.json,
        None if options.once else options.interval,
        options.retry_failed,
    )


def _number(least: int) -> Any:
    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise ValueError(text)
        return value

    return number


def image_uuid(text: str) -> str:
    if not uuidutils.is_uuid_like(text):
        raise ValueError(text)
    return text.lower()


def _service_list(context: Any, options: Any) -> int:
    """List agents and conductors."""
    return host.list_services(context, options.json)


def _quota_recount(context: Any, options: Any) -> int:
    """Count again what projects use, and correct what was stored."""
    return quota.recount(context, options.json, options.dry_run)


def add_commands(subparsers: Any) -> None:
    """Add ``<thing> <verb>`` to the command line."""
    things: dict[str, Any] = {}

    def add(thing: str, verb: str, run: Any) -> Any:
        if thing not in things:
            parser = subparsers.add_parser(thing)
            things[thing] = parser.add_subparsers(
                title="commands", metavar="<verb>", required=True
            )
        command = things[thing].add_parser(verb, help=run.__doc__)
        command.set_defaults(run=run)
        return command

    def json_option(command: Any) -> None:
        command.add_argument("--json", action="store_true", help="print JSON")

    def dry_run_option(command: Any) -> None:
        command.add_argument(
            "--dry-run", action="store_true", help="only show what is wrong"
        )

    for verb, run in (("audit", _placement_audit), ("heal", _placement_heal)):
        command = add("placement", verb, run)
        command.add_argument(
            "--host",
            # oslo.config knows an option "host" itself.
            dest="hosts",
            action="append",
            default=[],
            help="only this host; can be given more than once",
        )
        json_option(command)
    dry_run_option(command)
    command.add_argument(
        "--delete-orphans",
        action="store_true",
        help="delete providers that Cyborg made and knows no more, unless "
        "something is allocated from them",
    )

    command = add("placement", "layout", _placement_layout)
    command.add_argument("hostname", metavar="host")
    command.add_argument(
        "layout", choices=[layout.value for layout in constants.ProviderLayout]
    )
    json_option(command)

    command = add("arq", "list", _arq_list)
    command.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in states.ARQState],
        help="only in this state; can be given more than once",
    )
    command.add_argument(
        "--instance", action="append", help="only of this instance"
    )
    command.add_argument("--host", dest="hostname", help="only on this host")
    command.add_argument("--project", help="only of this project")
    json_option(command)
    json_option(add("arq", "audit", _arq_audit))
    command = add("arq", "release", _arq_release)
    command.add_argument("uuid", nargs="+")
    command.add_argument(
        "--force",
        action="store_true",
        help="do not wait for the host: it was cleaned by hand, or is no more",
    )
    json_option(command)

    command = add("device", "clean", _device_clean)
    command.add_argument("uuid", nargs="+")
    json_option(command)
    command = add("device", "release", _device_release)
    command.add_argument("uuid", nargs="+")
    json_option(command)
    command.add_argument(
        "--force",
        action="store_true",
        help="also those that an agent may be cleaning now",
    )

    json_option(add("handle", "audit", _handle_audit))
    command = add("handle", "repair", _handle_repair)
    command.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="<uuid>",
        help="the request that keeps its handle, where more than one is "
        "Bound; can be given more than once",
    )
    dry_run_option(command)
    json_option(command)
    json_option(add("profile", "check", _profile_check))
    command = add("profile", "repair", _profile_repair)
    dry_run_option(command)
    json_option(command)

    json_option(add("host", "list", _host_list))
    command = add("host", "replace", _host_replace)
    command.add_argument("hostname", metavar="host")
    command = add("host", "delete", _host_delete)
    command.add_argument("hostname", metavar="host")
    json_option(command)
    command = add("host", "discover", _host_discover)
    command.add_argument("hostname", metavar="host")
    command = add("device", "history", _device_history)
    command.add_argument("uuid")
    command.add_argument(
        "--limit",
        type=int,
        default=100,
        metavar="<number>",
        help="how many events, the latest; 0 means all (default: 100)",
    )
    json_option(command)
    command = add("host", "rekey", _host_rekey)
    command.add_argument("hostname", metavar="host")
    command.add_argument(
        "--key-file",
        metavar="<file>",
        help="the key that its agent has; otherwise the next one that it "
        "shows is believed",
    )
    command = add("bus", "permissions", _bus_permissions)
    command.add_argument(
        "agents",
        metavar="host",
        nargs="*",
        help="[DEFAULT] host of an agent; all that have reported if none",
    )
    command.add_argument(
        "--vhost", default="cyborg-agents", help="name of the virtual host"
    )
    command.add_argument(
        "--conductor-user", metavar="<user>", help="user of the conductors"
    )
    command.add_argument(
        "--no-users",
        action="store_true",
        help="the users exist: only permissions",
    )
    command = add("firmware", "campaign", _firmware_campaign)
    command.add_argument("image", type=image_uuid, help="uuid of the image")
    command.add_argument(
        "--type",
        dest="device_type",
        choices=[kind.value for kind in constants.DeviceType],
        help="only devices of this type",
    )
    command.add_argument("--vendor", help="only of this vendor, as 8086")
    command.add_argument("--product", help="only of this product, as 0b2b")
    command.add_argument(
        "--firmware",
        help="only those that run this now: the version that the driver "
        "reports, or else the image that was loaded last",
    )
    command.add_argument(
        "--budget",
        type=_number(1),
        default=1,
        metavar="<number>",
        help="how many devices are away at once (default: 1)",
    )
    command.add_argument(
        "--canary",
        type=_number(0),
        default=1,
        metavar="<number>",
        help="how many have to be done before others begin (default: 1)",
    )
    command.add_argument(
        "--interval",
        type=_number(1),
        default=5,
        metavar="<seconds>",
        help="time between two looks (default: 5)",
    )
    command.add_argument(
        "--once", action="store_true", help="do what can be done, and end"
    )
    command.add_argument(
        "--retry-failed",
        action="store_true",
        help="begin again with those that failed",
    )
    json_option(command)
    json_option(add("service", "list", _service_list))
    command = add("quota", "recount", _quota_recount)
    dry_run_option(command)
    json_option(command)


COMMAND = cfg.SubCommandOpt("command", title="commands", handler=add_commands)


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    CONF.register_cli_opt(COMMAND)
    # Standard output is for answers.
    logging.register_options(CONF)
    CONF.set_default("use_stderr", True)
    try:
        service.prepare(argv)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return manage.ERROR
        raise
    try:
        run = getattr(CONF.command, "run", None)
        if run is None:
            print("Say what to do; see --help.", file=sys.stderr)
            return manage.ERROR
        # Somebody waits for the answer.
        db_engine.configure(max_retries=0)
        context = cyborg_context.get_admin_context()
        return int(run(context, CONF.command))
    except Exception as error:
        reason = service.complaint(error)
        if reason is None:
            # 1, what Python ends with, says that something was found.
            LOG.exception("Unexpected error")
            return manage.ERROR
        LOG.debug("Failed", exc_info=True)
    print(reason, file=sys.stderr)
    return manage.ERROR


if __name__ == "__main__":
    sys.exit(main())
