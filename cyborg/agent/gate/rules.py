"""Every rule, in the order in which they are applied.

Later rules see what earlier ones withhold: of several functions one of which
may be offered, it is not one that is withheld anyway.
"""

from cyborg.agent.gate import capacity
from cyborg.agent.gate import claims
from cyborg.agent.gate import core
from cyborg.agent.gate import hardware
from cyborg.agent.gate import host_use
from cyborg.agent.gate import isolation
from cyborg.agent.gate import operator
from cyborg.agent.gate import parts

ALL: tuple[core.Rule, ...] = (
    *operator.RULES,
    *claims.RULES,
    *hardware.RULES,
    *host_use.RULES,
    *parts.RULES,
    *capacity.RULES,
    *isolation.RULES,
)
