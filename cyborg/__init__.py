"""Cyborg manages hardware accelerators for an OpenStack cloud."""
