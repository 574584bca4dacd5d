"""Looks at device profiles: nobody can fulfil some, some share a uuid."""

from collections.abc import Mapping
import json

from cyborg import manage
from cyborg.clients import placement
from cyborg.conductor.requests import unmet
from cyborg.context import RequestContext
from cyborg.db import device_profile as profile_db
from cyborg.db import repair as repair_db
from cyborg.manage import output


def check(context: RequestContext, use_json: bool) -> int:
    """List profiles that name what no provider has ever had.

    :raises PlacementUnavailable: Placement does not answer
    """
    found = unmet.unmet(
        placement.Client(),
        [
            (row.name, json.loads(row.profile_json)["groups"])
            for row in profile_db.find(context)
        ],
    )
    if use_json:
        output.as_json(found)
    else:
        for name, lacks in found.items():
            output.line(f"{name}: no provider has {', '.join(lacks)}")
        if not found:
            output.line("Providers have all that device profiles ask for.")
    return manage.FINDINGS if found else manage.CLEAN


def repair(
    context: RequestContext, use_json: bool, dry_run: bool = False
) -> int:
    """Give each profile a new uuid whose uuid an earlier one has."""
    if dry_run:
        found = {
            row.name: (row.uuid, None)
            for row in repair_db.repeated_profiles(context)
        }
        _show(use_json, found)
        return manage.FINDINGS if found else manage.CLEAN
    _show(use_json, repair_db.renew_profiles(context))
    return manage.CLEAN


def _show(
    use_json: bool, profiles: Mapping[str, tuple[str, str | None]]
) -> None:
    if use_json:
        output.as_json(
            [
                {"name": name, "uuid": new, "uuid_before": old}
                for name, (old, new) in profiles.items()
            ]
        )
        return
    for name, (old, new) in profiles.items():
        if new is None:
            output.line(f"{name}: another profile is {old}, too")
        else:
            output.line(
                f"{name}: is {new} now, not {old}. Flavors name it by its "
                "name, and requests go on; tell who uses its uuid."
            )
    if not profiles:
        output.line("Every device profile has a uuid of its own.")
