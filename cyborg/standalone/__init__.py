"""Cyborg in one process, with a real Placement beside it, to try it out."""
