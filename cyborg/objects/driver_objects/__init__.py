"""What drivers report, where drivers for OpenStack Cyborg import it from."""
