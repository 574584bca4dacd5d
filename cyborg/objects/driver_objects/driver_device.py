from cyborg.objects.report import DriverDevice

__all__ = ("DriverDevice",)
