from cyborg.objects.report import DriverAttribute

__all__ = ("DriverAttribute",)
