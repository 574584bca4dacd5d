"""Chooses threads for oslo.service before anything imports it."""

import cyborg.tests  # noqa: F401
