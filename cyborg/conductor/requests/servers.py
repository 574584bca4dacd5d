"""Frees what is bound to servers that are gone; nothing by mistake.

A server is gone if it has no allocation in Placement and Nova does not know
it, by two looks. A 404 of Nova by itself says little: it is what Nova answers
for every server of others to a user who may not see them. It counts where the
same credentials have seen others' servers in the same round, or may list
them; where they may not, only time counts.
"""

from collections.abc import Sequence
import functools

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.clients import nova
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conductor.requests import binding
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import bound_instance as bound_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Event = notifications.Event

# Seconds between two looks that have to agree.
SETTLE = 60.0
# Seconds until it is looked again at what is not freed now.
_LATER = 600.0
# Most instances that one round looks at because something was said of them.
_BATCH = 100
# So many requests may be freed at once, however few there are.
_SPARED = 16


class Round:
    """Questions to Nova that are close together."""

    def __init__(self) -> None:
        self._sees_others = False

    def knows(self, instance: str) -> bool:
        """Tell whether Nova has a server.

        :raises NovaUnavailable: it does not say
        """
        try:
            server = nova.get_server(instance)
        except exception.ServerNotFound:
            return False
        if server["project_id"] != nova.own_project():
            self._sees_others = True
        return True

    @functools.cached_property
    def is_evidence(self) -> bool:
        """Tell whether a server that Nova did not know is not there.

        :raises NovaUnavailable: it does not say
        """
        return self._sees_others or nova.may_see_all()


def check_due(context: RequestContext) -> bool:
    """Look for servers of which something says that they may be gone.

    :returns: whether there may be more
    """
    instances = bound_db.take_due(context, _BATCH, SETTLE)
    if not instances:
        return False
    try:
        check(context, instances)
    except (exception.ServiceUnavailable, exception.ConfigInvalid) as error:
        LOG.warning(
            "Whether %d servers are there cannot be told: %s",
            len(instances),
            error.faultstring,
        )
    return len(instances) == _BATCH


def check(context: RequestContext, instances: Sequence[str]) -> None:
    """Look for servers, and free what is bound to those that are gone.

    An allocation alone means that Nova is at work with a server.

    :raises NovaUnavailable, PlacementUnavailable: they do not say
    """
    client, round_ = placement.Client(), Round()
    there: list[str] = []
    missing: list[str] = []
    for instance in instances:
        known = client.consumer_allocations(instance) or round_.knows(instance)
        (there if known else missing).append(instance)
    if there:
        bound_db.found(context, there)
    if not missing:
        return
    grace = float(CONF.conductor.orphan_grace)
    patience = SETTLE if round_.is_evidence else grace
    gone = bound_db.missed(
        context, missing, max(SETTLE, min(patience, _LATER)), patience
    )
    if gone and not _are_too_many(context, gone, patience):
        _free_all(gone)


def _are_too_many(
    context: RequestContext, gone: Sequence[str], patience: float
) -> bool:
    """Tell whether it is rather Nova that has forgotten servers."""
    lost, bound = bound_db.count_missed(context, patience)
    most = max(_SPARED, bound * CONF.conductor.orphan_max_percent // 100)
    if lost <= most:
        return False
    LOG.error(
        "Nova knows no server of %d of %d bound accelerator requests. That "
        "is more than may be freed at once (%d): see that [nova] leads to "
        "the Nova whose servers they are, in their region, and that its "
        "database is whole. 'cyborg-manage arq audit' shows them; if the "
        "servers are gone, raise [conductor] orphan_max_percent",
        lost,
        bound,
        most,
    )
    bound_db.look_again(context, gone, _LATER)
    return True


def _free_all(instances: Sequence[str]) -> None:
    for instance in instances:
        LOG.warning(
            "Instance %s is gone and its accelerator requests are left%s",
            instance,
            action_text(),
        )
        if CONF.conductor.orphan_action == "free":
            free(None, instance)


def action_text() -> str:
    """Return what is done with what is left over, for the log."""
    if CONF.conductor.orphan_action == "free":
        return "; they are freed"
    return "; [conductor] orphan_action = report, so they stay"


def free(
    uuids: list[str] | None,
    instance: str | None,
    as_service: bool = True,
    event: Event = Event.ARQ_ORPHAN_FREED,
) -> None:
    """Delete requests that nobody would have deleted.

    :raises ServiceTokenRequired: one has an instance, and this does not act
        as a service
    """
    context = RequestContext(
        is_admin=True,
        roles=["admin"],
        # Only a service may delete what has an instance.
        is_service_request=as_service,
        overwrite=False,
    )
    binding.delete(context, uuids, instance, None, event)
