"""Clients that others wrote, unchanged, against a Cyborg that runs."""
