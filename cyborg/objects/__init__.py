"""The data RPC carries. Objects are plain carriers: no remote calls."""


def register_all() -> None:
    """Import every object, so that the serializer knows its name."""
    __import__("cyborg.objects.arq")
    __import__("cyborg.objects.device")
    __import__("cyborg.objects.device_profile")
    __import__("cyborg.objects.notification")
    __import__("cyborg.objects.report")
