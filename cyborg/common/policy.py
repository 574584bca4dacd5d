"""The oslo.policy enforcer of this process."""

import threading
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy

from cyborg import policies
from cyborg.common import exception

if TYPE_CHECKING:
    from cyborg import context as cyborg_context

CONF = cfg.CONF

_lock = threading.Lock()
_enforcer: policy.Enforcer | None = None


def get_enforcer() -> policy.Enforcer:
    """Return the enforcer, made on first use.

    Also the ``oslo.policy.enforcer`` entry point of the policy tools.
    """
    global _enforcer
    with _lock:
        if _enforcer is None:
            policy_opts.set_defaults(
                CONF, enforce_scope=True, enforce_new_defaults=True
            )
            enforcer = policy.Enforcer(CONF)
            enforcer.register_defaults(policies.list_rules())
            _enforcer = enforcer
        return _enforcer


def reset() -> None:
    """Forget the enforcer, as after a change of configuration."""
    global _enforcer
    with _lock:
        _enforcer = None


def authorize(
    context: "cyborg_context.RequestContext",
    rule: str,
    target: dict[str, Any] | None = None,
) -> None:
    """Pass if ``rule`` admits the caller.

    Without a target the caller's own project and user are checked; who owns
    a record is decided by the query that reads it.

    :raises PolicyNotAuthorized: if it does not
    """
    if target is None:
        target = {
            "project_id": context.project_id,
            "user_id": context.user_id,
        }
    try:
        get_enforcer().authorize(rule, target, context, do_raise=True)
    except (policy.PolicyNotAuthorized, policy.InvalidScope) as error:
        raise exception.PolicyNotAuthorized(rule=rule) from error
