"""Who may do what, one module per resource."""

from oslo_policy import policy

from cyborg.policies import arq
from cyborg.policies import attribute
from cyborg.policies import base
from cyborg.policies import deployable
from cyborg.policies import device
from cyborg.policies import device_profile
from cyborg.policies import quota
from cyborg.policies import service

_MODULES = (
    base,
    device,
    deployable,
    device_profile,
    arq,
    attribute,
    service,
    quota,
)


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule; also the entry point of the policy tools."""
    return [rule for module in _MODULES for rule in module.list_rules()]
