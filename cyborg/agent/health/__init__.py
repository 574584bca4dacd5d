"""How the cards are: what the kernel tells of them, sensor by sensor.

A sensor is a module that reads one source of one card, and says which signs
of :mod:`cyborg.common.health` it sees. :mod:`.monitor` reads all of them,
:mod:`.damping` decides what is told to the conductor, and when.
"""
