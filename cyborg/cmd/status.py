"""The console script ``cyborg-status``: is this cloud ready for an upgrade?

``cyborg-status upgrade check`` changes nothing and needs no service of this
release to run. It reads the tables of the release before as well as those of
this one. ``cyborg-status topology`` shows what there is.
"""

import json
import logging as std_logging
import sys
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_upgradecheck import upgradecheck

from cyborg import conf
from cyborg import context as cyborg_context
from cyborg.common import service
from cyborg.db import engine as db_engine
from cyborg.manage import topology
from cyborg.manage.checks import bitstream
from cyborg.manage.checks import database
from cyborg.manage.checks import file
from cyborg.manage.checks import offers
from cyborg.manage.checks import peer

CONF = conf.CONF


class Checks(
    file.FileChecks,
    database.DatabaseChecks,
    peer.PeerChecks,
    bitstream.BitstreamChecks,
    offers.OfferChecks,
):
    """What ``cyborg-status upgrade check`` looks at, in this order."""

    _upgrade_checks = (
        ("Policy File JSON to YAML Migration", file.FileChecks.policy_file),
        ("Database", database.DatabaseChecks.database),
        ("Database Schema Revision", database.DatabaseChecks.schema_revision),
        ("Clocks", database.DatabaseChecks.clocks),
        ("Duplicate Rows", database.DatabaseChecks.duplicates),
        (
            "Accelerator Requests Without Project",
            database.DatabaseChecks.arqs_without_project,
        ),
        (
            "Accelerator Requests Stuck In BindStarted",
            database.DatabaseChecks.stuck_arqs,
        ),
        ("Device State", database.DatabaseChecks.device_states),
        ("Offers", offers.OfferChecks.offers),
        ("Cleaning", database.DatabaseChecks.cleaning),
        ("Left-over Records", database.DatabaseChecks.leftovers),
        ("Placement API", peer.PeerChecks.placement_api),
        ("Service User", peer.PeerChecks.service_user),
        ("Service Tokens", peer.PeerChecks.service_tokens),
        ("Agents", peer.PeerChecks.agents),
        ("Messaging", peer.PeerChecks.message_bus),
        ("RPC Version Pins", peer.PeerChecks.version_pins),
        ("Host Names", peer.PeerChecks.host_names),
        ("Host Keys", peer.PeerChecks.host_keys),
        ("Device Profiles", peer.PeerChecks.profiles),
        ("Bitstreams", bitstream.BitstreamChecks.bitstreams),
        ("Deprecated Options", file.FileChecks.options),
        ("Unknown Options", file.FileChecks.unknown_options),
        ("Changed Meanings", file.FileChecks.changed_meanings),
        ("Unknown Policy Rules", file.FileChecks.unknown_rules),
    )

    def as_json(self) -> int:
        """Print what was found as the library's own main() has it."""
        found = [(name, check(self)) for name, check in self._upgrade_checks]
        checks = [
            {"check": name, "result": one.code, "details": one.details}
            for name, one in found
        ]
        title = str(self.display_title)
        print(json.dumps({"name": title, "checks": checks}))
        return max(one.code for _name, one in found)


def _check() -> int:
    """Look at everything and say what was found."""
    checks = Checks()
    return checks.as_json() if CONF.command.json else checks.check()


def _topology() -> int:
    """Show what hosts have and who holds it."""
    options = CONF.command
    try:
        # Somebody waits for the answer.
        db_engine.configure(max_retries=0)
        return topology.show(
            cyborg_context.get_admin_context(),
            options.hostname,
            options.json,
            options.html,
        )
    except OSError as error:
        reason: str | None = str(error)
    except Exception as error:
        reason = service.complaint(error)
        if reason is None:
            raise
    print(reason, file=sys.stderr)
    return upgradecheck.Code.FAILURE


def _add_commands(subparsers: Any) -> None:
    upgrade = subparsers.add_parser("upgrade")
    upgrade.add_argument("check")
    upgrade.set_defaults(action_fn=_check)
    shown = subparsers.add_parser("topology", help=_topology.__doc__)
    shown.set_defaults(action_fn=_topology)
    shown.add_argument(
        "--host",
        # oslo.config knows an option "host" itself.
        dest="hostname",
        help="only this host",
    )
    shown.add_argument(
        "--html", metavar="<file>", help="write a page that can be searched"
    )
    for command in (upgrade, shown):
        command.add_argument("--json", action="store_true", help="print JSON")


COMMAND = cfg.SubCommandOpt("command", handler=_add_commands)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    The checks end with 0 all well, 1 warnings, 2 failures, 255 a crash.
    """
    CONF.register_cli_opt(COMMAND)
    logging.register_options(CONF)
    # Standard output is for answers.
    CONF.set_default("use_stderr", True)
    std_logging.getLogger("alembic").setLevel(std_logging.WARNING)
    try:
        service.prepare(argv)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return upgradecheck.Code.FAILURE
        raise
    return int(upgradecheck.run(CONF))


if __name__ == "__main__":
    sys.exit(main())
