"""The oslo.policy enforcer of this process."""

import threading
import time
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging
from oslo_policy import opts as policy_opts
from oslo_policy import policy

from cyborg import _compat
from cyborg import policies
from cyborg.common import exception

if TYPE_CHECKING:
    from cyborg import context as cyborg_context

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds between two looks for changed policy files.
_LOOK_INTERVAL = 1.0
# What oslo.policy ends with where a file is no YAML, or not of rules, or has
# a number for a rule.
_UNREADABLE = (ValueError, TypeError, AttributeError, OSError)

_lock = threading.Lock()
_enforcer: policy.Enforcer | None = None


class Enforcer(policy.Enforcer):
    """Looks for changed files now and then, not at every check.

    To look takes longer than to check. What cannot be read changes nothing.
    """

    _looked_at: float | None = None

    def load_rules(self, force_reload: bool = False) -> None:
        now = time.monotonic()
        if (
            force_reload
            or self._looked_at is None
            or now - self._looked_at >= _LOOK_INTERVAL
        ):
            try:
                super().load_rules(force_reload)
            except _UNREADABLE as error:
                if self._looked_at is None:
                    raise
                # Somebody is writing it, or made a mistake.
                LOG.error("Policy stays as it was: %s", error)
            self._looked_at = now

    def clear(self) -> None:
        super().clear()
        self._looked_at = None


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
            _compat.remember_signatures()
            enforcer = Enforcer(CONF)
            enforcer.register_defaults(policies.list_rules())
            _enforcer = enforcer
        return _enforcer


def check() -> None:
    """Pass if the policy files can be read.

    :raises ConfigInvalid: one of them cannot
    """
    try:
        get_enforcer().load_rules(force_reload=True)
    except _UNREADABLE as error:
        raise exception.ConfigInvalid(
            option="[oslo_policy] policy_file",
            reason=f"{CONF.oslo_policy.policy_file}: "
            + " ".join(str(error).split()),
        ) from error


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
    :raises PolicyUnavailable: whom the rule says to ask does not answer
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
    except RecursionError as error:
        LOG.error("Policy: %s refers to itself, and admits nobody", rule)
        raise exception.PolicyNotAuthorized(rule=rule) from error
    except (RuntimeError, OSError) as error:
        # Of a check that asks a URL; the first says that it took too long,
        # or that a certificate is not there.
        raise exception.PolicyUnavailable(
            rule=rule, reason=str(error)
        ) from error
