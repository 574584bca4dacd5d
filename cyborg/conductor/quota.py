"""What projects use of their quotas, and whether they may use more.

What a project uses follows from its ARQs alone, so that counting them again
gives what is stored, to the unit:

================================== ==================== ==============
state of an ARQ                    accelerator_requests class:<class>
================================== ==================== ==============
Initial, BindStarted               reserved             reserved
Bound                              in use               in use
BindFailed, Unbound                in use               -
Deleting, UnbindFailed, or deleted -                    -
================================== ==================== ==============

An ARQ counts as one unit of one resource class, ``ARQ.resource_class``; the
second function of a Xilinx card, whose two ARQs are one unit, as none.

Limits are Keystone's. They are looked up before a transaction and compared
under the lock of the project's usages in it, after the ARQs' and before the
events'. While ``[quota] driver`` is none, nothing of this runs.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import json
import time
from typing import Any

from keystoneauth1 import exceptions as ks_exceptions
from oslo_config import cfg
from oslo_limit import exception as limit_exception
from oslo_log import log as logging
from oslo_utils import importutils

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import groups as profile_groups
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import device_profile as profile_db
from cyborg.db import engine
from cyborg.db import quota as quota_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

State = states.ARQState
Key = quota_db.Key
Usage = quota_db.Usage
Limits = Mapping[Key, int]

_RESERVED = (State.INITIAL, State.BIND_STARTED)
_HOLDING = (State.BOUND,)
_THERE = (State.BOUND, State.BIND_FAILED, State.UNBOUND)

# Seconds that limits are believed; a changed one counts from then on.
_KEEP = 60.0

# The enforcer, and when it was made.
_enforcer: tuple[Any, float] | None = None


def is_on() -> bool:
    """Tell whether projects have quotas."""
    return bool(CONF.quota.driver != "none")


def reset() -> None:
    """Forget limits, as after a change of configuration."""
    global _enforcer
    _enforcer = None


# -- what counts as what


def _usages(
    project_id: str | None,
    resource_class: str | None,
    state: State | None,
    count: int = 1,
) -> dict[Key, Usage]:
    """Return what ARQs count as; ``state`` None = they are deleted."""
    if project_id is None or state is None:
        return {}
    reserved = state in _RESERVED
    usage = (0, count) if reserved else (count, 0)
    found: dict[Key, Usage] = {}
    if reserved or state in _THERE:
        found[project_id, constants.QUOTA_REQUESTS] = usage
    if resource_class and (reserved or state in _HOLDING):
        found[project_id, constants.QUOTA_CLASS + resource_class] = usage
    return found


def _add(
    total: dict[Key, Usage], usages: Mapping[Key, Usage], sign: int = 1
) -> None:
    for key, (in_use, reserved) in usages.items():
        before = total.get(key, (0, 0))
        total[key] = (before[0] + sign * in_use, before[1] + sign * reserved)


# -- limits


def _get_enforcer() -> Any:
    global _enforcer
    known, now = _enforcer, time.monotonic()
    if known is not None and now - known[1] < _KEEP:
        return known[0]
    # It brings the whole SDK along, which nobody else needs here.
    limit = importutils.import_module("oslo_limit.limit")
    # Two threads may ask Keystone at once; neither waits for the other.
    enforcer = limit.Enforcer(_current, cache=True)
    _enforcer = (enforcer, now)
    return enforcer


def _current(
    project_id: str | None, resources: Iterable[str]
) -> dict[str, int]:
    """Return what a project uses now: how oslo.limit asks for it."""
    usages = dict.fromkeys(resources, 0)
    if project_id is not None:
        for row in quota_db.find(RequestContext(overwrite=False), project_id):
            if row.resource in usages:
                usages[row.resource] = row.in_use + row.reserved
    return usages


def _check(project_id: str, asked: Mapping[str, int]) -> Limits:
    """Return limits of a project that has room for so much more.

    :param asked: resource: how much more
    :raises QuotaExceeded: it has not
    :raises KeystoneUnavailable: Keystone does not say
    :raises ConfigInvalid: it cannot be asked
    """
    try:
        enforcer = _get_enforcer()
        enforcer.enforce(project_id, dict(asked))
        limits = enforcer.get_project_limits(project_id, list(asked))
    except limit_exception.ProjectOverLimit as error:
        over = error.over_limit_info_list[0]
        raise exception.QuotaExceeded(
            resource=over.resource_name,
            limit=over.limit,
            used=over.current_usage,
            asked=over.delta,
        ) from error
    except limit_exception.SessionInitError as error:
        raise exception.KeystoneUnavailable(reason=str(error)) from error
    except (ValueError, NotImplementedError) as error:
        # What oslo.limit raises where [oslo_limit] names no endpoint, or
        # Keystone has a model that it does not know.
        raise exception.ConfigInvalid(
            option="[oslo_limit]", reason=str(error) or repr(error)
        ) from error
    except (ks_exceptions.ClientException, _sdk_error()) as error:
        raise exception.KeystoneUnavailable(reason=str(error)) from error
    return {(project_id, resource): limit for resource, limit in limits}


def _sdk_error() -> type[Exception]:
    sdk = importutils.import_module("openstack.exceptions")
    error: type[Exception] = sdk.SDKException
    return error


def limits_to_create(
    context: RequestContext, profile: str, project_id: str | None
) -> Limits | None:
    """Return the limits for the ARQs of a profile, None without quotas.

    :raises QuotaExceeded: the project has no room for them
    """
    if not is_on():
        return None
    row = profile_db.get(context, profile)
    if row is None:
        return None
    classes = [
        resource_class
        for group in json.loads(row.profile_json)["groups"]
        for resource_class in profile_groups.classes_of(group)
    ]
    return limits_to_add(project_id, classes, len(classes))


def limits_to_bind(
    context: RequestContext, uuids: Sequence[str]
) -> Limits | None:
    """Return the limits for ARQs that may have given back their devices.

    :raises QuotaExceeded: the project has no room for them now
    """
    if not is_on():
        return None
    classes: dict[str, list[str]] = {}
    for row in arq_db.for_release(context, uuids):
        if (
            row.state == State.UNBOUND
            and row.project_id
            and row.resource_class
        ):
            classes.setdefault(row.project_id, []).append(row.resource_class)
    limits: dict[Key, int] = {}
    for project_id, of_project in classes.items():
        limits |= limits_to_add(project_id, of_project, 0) or {}
    return limits


def limits_to_add(
    project_id: str | None, classes: Sequence[str], arqs: int
) -> Limits | None:
    """Return the limits for so many ARQs, and units of classes.

    :raises QuotaExceeded: the project has no room for them
    """
    if not is_on() or project_id is None:
        return None
    asked = {constants.QUOTA_REQUESTS: arqs} if arqs else {}
    for name in filter(None, classes):
        resource = constants.QUOTA_CLASS + name
        asked[resource] = asked.get(resource, 0) + 1
    return _check(project_id, asked) if asked else {}


# -- counting along


def created(
    context: RequestContext,
    project_id: str | None,
    classes: Sequence[str],
    limits: Limits | None,
) -> None:
    """Count ARQs that this transaction inserts.

    :raises QuotaExceeded: others were first
    """
    if not is_on():
        return
    deltas: dict[Key, Usage] = {}
    for resource_class in classes:
        _add(deltas, _usages(project_id, resource_class, State.INITIAL))
    _apply(context, deltas, limits or {})


def moved(
    context: RequestContext,
    rows: Sequence[Any],
    state: State | None = None,
) -> None:
    """Count locked ARQs under their new state.

    :param rows: the ARQs as they were
    :param state: None = they are deleted
    """
    changed(context, [(row, row.project_id, state) for row in rows])


def changed(
    context: RequestContext,
    changes: Iterable[tuple[Any, str | None, State | None]],
    limits: Limits | None = None,
) -> None:
    """Count locked ARQs under new projects and states.

    :param changes: an ARQ as it was, and its project and state from now on
    :raises QuotaExceeded: a project has no room for them any more
    """
    if not is_on():
        return
    deltas: dict[Key, Usage] = {}
    for row, project_id, state in changes:
        _add(
            deltas,
            _usages(row.project_id, row.resource_class, State(row.state)),
            -1,
        )
        _add(deltas, _usages(project_id, row.resource_class, state))
    _apply(context, deltas, limits or {})


def move_one(context: RequestContext, arq_id: int, state: State) -> None:
    """Count an ARQ under a state, if it may move there; locks it."""
    if is_on():
        rows = arq_db.lock(context, [arq_id])
        moved(
            context,
            [row for row in rows if row.state in states.MAY_BECOME[state]],
            state,
        )


def give(context: RequestContext, arq_id: int, project_id: str) -> None:
    """Count an ARQ as another project's; locks it."""
    if is_on():
        rows = arq_db.lock(context, [arq_id])
        changed(context, [(row, project_id, State(row.state)) for row in rows])


def _apply(
    context: RequestContext, deltas: Mapping[Key, Usage], limits: Limits
) -> None:
    deltas = {key: delta for key, delta in deltas.items() if any(delta)}
    if not deltas:
        return
    known = quota_db.lock(context, list(deltas))
    usages: dict[Key, Usage] = {}
    for key, (in_use, reserved) in deltas.items():
        before = (
            (known[key].in_use, known[key].reserved)
            if key in known
            else (0, 0)
        )
        used, asked = sum(before), in_use + reserved
        limit = limits.get(key, -1)
        if asked > 0 and 0 <= limit < used + asked:
            raise exception.QuotaExceeded(
                resource=key[1], limit=limit, used=used, asked=asked
            )
        # Below zero: ARQs that were made before quotas were switched on, and
        # not counted since.
        usages[key] = (
            max(0, before[0] + in_use),
            max(0, before[1] + reserved),
        )
    quota_db.store(context, known, usages)


# -- counting again


def recount(
    context: RequestContext, dry_run: bool = False
) -> dict[Key, tuple[Usage, Usage]]:
    """Count everything again, and store it unless ``dry_run``.

    :returns: what was stored and what was counted, where they differ
    """
    if dry_run:
        return _differences(context)
    return _correct(context)


@engine.use_case
def _correct(context: RequestContext) -> dict[Key, tuple[Usage, Usage]]:
    for resource_class, rows in itertools.groupby(
        sorted(_classify(context), key=lambda pair: pair[0]),
        key=lambda pair: pair[0],
    ):
        quota_db.set_class(
            context, [row.id for _, row in rows], resource_class
        )
    quota_db.lock_counted(context)
    differences = _differences(context)
    quota_db.store(
        context,
        quota_db.find_counted(context),
        {key: after for key, (_, after) in differences.items()},
    )
    return differences


@engine.reader
def _differences(
    context: RequestContext,
) -> dict[Key, tuple[Usage, Usage]]:
    counted: dict[Key, Usage] = {}
    for row in quota_db.count_arqs(context):
        _add(
            counted,
            _usages(
                row.project_id, row.resource_class, State(row.state), row.arqs
            ),
        )
    for resource_class, row in _classify(context):
        _add(
            counted, _usages(row.project_id, resource_class, State(row.state))
        )
    stored = {
        key: (row.in_use, row.reserved)
        for key, row in quota_db.find_counted(context).items()
    }
    pairs = {
        key: (stored.get(key, (0, 0)), counted.get(key, (0, 0)))
        for key in sorted(stored.keys() | counted.keys())
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _classify(context: RequestContext) -> list[tuple[str, Any]]:
    """Return ARQs of earlier releases, each with its resource class.

    Those of a group are taken in turn: which of two is the management
    function of a Xilinx card is nowhere stored.
    """
    turns: dict[tuple[int, int], Any] = {}
    found = []
    for row in quota_db.arqs_without_class(context):
        group = (row.device_profile_id, row.device_profile_group_id)
        if group not in turns:
            groups = json.loads(row.profile_json)["groups"]
            turns[group] = itertools.cycle(
                profile_groups.classes_of(groups[group[1]]) or [""]
            )
        found.append((next(turns[group]), row))
    return found
