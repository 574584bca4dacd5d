"""What ``oslo-config-generator --namespace cyborg`` shows."""

from typing import Any

from cyborg import conf


def list_opts() -> list[tuple[str, list[Any]]]:
    """Return every group's name and options, in the order of the sample."""
    groups: dict[str, list[Any]] = {}
    for module in conf.MODULES:
        for group, options in module.list_opts().items():
            groups.setdefault(group, []).extend(options)
    return list(groups.items())
