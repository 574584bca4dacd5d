"""What ``cyborg-manage`` does: each command returns an exit status.

0: there was nothing to find, or it is repaired; 1: something was found;
2: it could not be done.
"""

CLEAN = 0
FINDINGS = 1
ERROR = 2
