"""The data RPC carries. Objects are plain carriers: no remote calls."""

import importlib

_MODULES = ("arq", "device", "device_profile", "notification", "report")


def register_all() -> None:
    """Import every object, so that the serializer knows its name."""
    for name in _MODULES:
        importlib.import_module(f"cyborg.objects.{name}")
