"""Quota usage as clients see it."""

from typing import Any


def show(usage: Any) -> dict[str, Any]:
    return {
        "resource": usage.resource,
        "in_use": usage.in_use,
        "reserved": usage.reserved,
    }
