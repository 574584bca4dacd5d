"""Finds the provider of a host that an agent runs on."""

from collections.abc import Sequence

from oslo_log import log as logging

from cyborg.clients import placement
from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import host as host_db

LOG = logging.getLogger(__name__)


def find_host(context: RequestContext, names: Sequence[str]) -> str | None:
    """Return the first of ``names`` that is a resource provider, or None.

    While Placement does not answer, a host that has reported before keeps
    its name.
    """
    try:
        for name in names:
            provider = placement.Client().find_provider(name)
            if provider is not None:
                if name != names[0]:
                    LOG.warning(
                        "No resource provider is named %s; %s is used",
                        names[0],
                        name,
                    )
                return name
    except (exception.ServiceUnavailable, exception.ConfigInvalid) as error:
        LOG.warning("Looking hosts up where known: %s", error.faultstring)
        for name in names:
            if host_db.get(context, name) is not None:
                return name
    return None
