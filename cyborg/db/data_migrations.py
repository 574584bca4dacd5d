"""Changes of rows that can be made while the services run.

Each is repeatable and does a batch at a time. A release that renames a
resource class or a trait adds a line to one of the tables below.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import json
from typing import Any

from oslo_log import log as logging
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import device_state
from cyborg.db import engine
from cyborg.db import models

LOG = logging.getLogger(__name__)

ARQS = models.ARQ.__table__
PROFILES = models.DeviceProfile.__table__

BATCH = 100

# Old name: new name, in groups of device profiles.
RENAMED_CLASSES: dict[str, str] = {}
RENAMED_TRAITS: dict[str, str] = {}


@dataclasses.dataclass
class Outcome:
    """What a run did, and whether another run would find more to do."""

    migrated: int = 0
    failed: int = 0
    more: bool = False


def fill_project_ids(
    context: RequestContext,
    find_project: Callable[[str], str | None],
    limit: int | None = None,
) -> Outcome:
    """Give ARQs without a project that of their instance's owner.

    Early releases did not store it, and only administrators see such ARQs.
    ARQs whose instance is gone stay as they are.

    :param find_project: returns the project of an instance, or None if it
        cannot be known; NovaUnavailable ends the run
    :param limit: how many ARQs to migrate at most
    """
    outcome = Outcome()
    projects: dict[str, str | None] = {}
    marker = 0
    while batch := _without_project(context, marker):
        found: dict[int, str] = {}
        for arq in batch:
            if limit is not None and outcome.migrated + len(found) >= limit:
                outcome.more = True
                break
            marker = arq.id
            if arq.instance_uuid not in projects:
                try:
                    projects[arq.instance_uuid] = find_project(
                        arq.instance_uuid
                    )
                except exception.NovaUnavailable as error:
                    LOG.error("%s", error.faultstring)
                    outcome.failed += 1
                    break
            project = projects[arq.instance_uuid]
            if project is None:
                LOG.warning(
                    "ARQ %s stays without a project: Nova does not say whose "
                    "instance %s is",
                    arq.uuid,
                    arq.instance_uuid,
                )
            else:
                found[arq.id] = project
        outcome.migrated += _set_projects(context, found)
        LOG.info(
            "%s ARQ(s) have got their project, up to id %s",
            outcome.migrated,
            marker,
        )
        if outcome.more or outcome.failed:
            break
    return outcome


@engine.reader
def _without_project(context: RequestContext, marker: int) -> list[Any]:
    query = sa.select(ARQS.c.id, ARQS.c.uuid, ARQS.c.instance_uuid)
    query = query.where(
        ARQS.c.project_id.is_(None),
        ARQS.c.instance_uuid.is_not(None),
        ARQS.c.id > marker,
    )
    query = query.order_by(ARQS.c.id).limit(BATCH)
    return list(context.connection.execute(query).all())


@engine.use_case
def _set_projects(context: RequestContext, projects: dict[int, str]) -> int:
    changed = 0
    for project in set(projects.values()):
        ids = [key for key, value in projects.items() if value == project]
        query = sa.update(ARQS).where(
            ARQS.c.id.in_(ids), ARQS.c.project_id.is_(None)
        )
        # Nothing happened to the request itself.
        query = query.values(project_id=project, updated_at=ARQS.c.updated_at)
        changed += context.connection.execute(query).rowcount
    return changed


def fill_device_states(context: RequestContext) -> Outcome:
    """Give devices that an earlier release made the state they are in."""
    outcome = Outcome()
    marker = 0
    while batch := device_state.unknown(context, marker, BATCH):
        _follow(context, batch)
        outcome.migrated += len(batch)
        marker = batch[-1]
    return outcome


_follow = engine.use_case(device_state.follow)


def translate_profiles(
    context: RequestContext,
    classes: Mapping[str, str] = RENAMED_CLASSES,
    traits: Mapping[str, str] = RENAMED_TRAITS,
) -> Outcome:
    """Use the new names of resource classes and traits in device profiles."""
    outcome = Outcome()
    if not classes and not traits:
        return outcome
    marker = 0
    while batch := _profiles(context, marker):
        for profile in batch:
            marker = profile.id
            try:
                content = json.loads(profile.profile_json)
                content["groups"] = groups = [
                    _translated(group, classes, traits)
                    for group in content["groups"]
                ]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                LOG.error(
                    "Device profile %s stays as it is: %s",
                    profile.name,
                    error,
                )
                outcome.failed += 1
                continue
            if groups != json.loads(profile.profile_json)["groups"]:
                _set_profile(context, profile.id, json.dumps(content))
                LOG.info("Device profile %s has new names", profile.name)
                outcome.migrated += 1
    return outcome


def _translated(
    group: dict[str, str],
    classes: Mapping[str, str],
    traits: Mapping[str, str],
) -> dict[str, str]:
    translated: dict[str, str] = {}
    for key, value in group.items():
        kind, colon, name = key.partition(":")
        if kind.startswith("resources"):
            name = classes.get(name, name)
        elif kind.startswith("trait"):
            name = traits.get(name, name)
        new = f"{kind}{colon}{name}"
        if translated.setdefault(new, value) != value:
            raise ValueError(
                f"its group has two values for {new}: {translated[new]} and "
                f"{value}"
            )
    return translated


@engine.reader
def _profiles(context: RequestContext, marker: int) -> list[Any]:
    query = sa.select(
        PROFILES.c.id, PROFILES.c.name, PROFILES.c.profile_json
    ).where(PROFILES.c.id > marker)
    query = query.order_by(PROFILES.c.id).limit(BATCH)
    return list(context.connection.execute(query).all())


@engine.use_case
def _set_profile(context: RequestContext, row_id: int, text: str) -> None:
    context.connection.execute(
        sa.update(PROFILES)
        .where(PROFILES.c.id == row_id)
        .values(profile_json=text)
    )
