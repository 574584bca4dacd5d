"""Why something is not offered."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base


class Reason(base.Part):
    """Why the agent of a host does not offer a deployable."""

    _from_dict = True

    rule = base.member(base.TEXT, "The name of the rule.")
    text = base.member(base.TEXT, "What was found, for people.")


def of_deployable(row: Any, related: base.Related) -> list[dict[str, str]]:
    """Return the reasons that are stored with a deployable."""
    return list(json.loads(row.withheld)) if row.withheld else []


def of_device(row: Any, related: base.Related) -> list[dict[str, str]]:
    """Return those of a device's deployables; related has ``withheld``."""
    withheld: Mapping[int, Sequence[str]] = related.withheld
    return [
        reason
        for text in withheld.get(row.id, ())
        for reason in json.loads(text)
    ]


def member(value: Any, meaning: str) -> Any:
    """Declare the member ``withheld``."""
    return base.member([Reason], meaning, since=versions.LIFE, value=value)
