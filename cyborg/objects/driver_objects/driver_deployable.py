from cyborg.objects.report import DriverDeployable

__all__ = ("DriverDeployable",)
