"""What ``oslo-config-generator --namespace cyborg`` shows."""

from typing import Any

from oslo_messaging._metrics import client as metrics
from oslo_privsep import priv_context

from cyborg import conf

# cyborg.privsep makes them, as it is imported.
PRIVSEP_GROUPS = ("cyborg_sys_admin", "cyborg_sysfs", "cyborg_proc")


def list_opts() -> list[tuple[str, list[Any]]]:
    """Return every group's name and options, in the order of the sample."""
    groups: dict[str, list[Any]] = {}
    for module in conf.MODULES:
        for group, options in module.list_opts().items():
            groups.setdefault(group, []).extend(options)
    # oslo.messaging registers them and leaves them out of its own list.
    groups["oslo_messaging_metrics"] = list(metrics.oslo_messaging_metrics)
    for group in PRIVSEP_GROUPS:
        groups[group] = list(priv_context.OPTS)
    return list(groups.items())
