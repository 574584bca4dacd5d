from cyborg.objects.report import DriverAttachHandle

__all__ = ("DriverAttachHandle",)
