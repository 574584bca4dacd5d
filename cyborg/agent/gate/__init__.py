"""What of a host may be offered, and why the rest is withheld.

Drivers say what is there. The gate looks at all of it together, at the
machine, at the configuration and at what guests have, and marks what must
not be given: :mod:`.core` applies the rules that :mod:`.rules` lists.
"""
