from cyborg.objects.report import DriverControlPathID

__all__ = ("DriverControlPathID",)
