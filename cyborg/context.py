"""Who asks: the identity that travels with a request."""

import threading
from typing import Any
from typing import TYPE_CHECKING

from oslo_context import context as oslo_context

from cyborg.common import policy

if TYPE_CHECKING:
    # Agents have a context and no database.
    import sqlalchemy as sa


class RequestContext(oslo_context.RequestContext):
    """A caller, and what the caller's tokens prove.

    :ivar is_service_request: a valid service token came with the request,
        so another OpenStack service acts for the user.
    :ivar transaction: what :mod:`cyborg.db.engine` has open for the caller in
        this thread
    """

    FROM_DICT_EXTRA_KEYS = ["is_service_request"]

    def __init__(
        self, *, is_service_request: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.is_service_request = is_service_request
        # "admin" and "Admin" are the same role, as for policy's role: check.
        self.is_admin = kwargs.get("is_admin") or any(
            role.lower() == "admin" for role in self.roles
        )
        self.transaction = threading.local()

    @property
    def connection(self) -> "sa.Connection":
        """The connection of the transaction that is open."""
        connection: sa.Connection = self.transaction.connection
        return connection

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        values["is_service_request"] = self.is_service_request
        # Peers act on what the API has already checked: no token leaves it.
        for secret in ("auth_token", "service_token"):
            values.pop(secret, None)
        return values

    def to_policy_values(self) -> Any:
        """Return what rules can refer to; base rules do to ``is_admin``."""
        # A plain one: oslo.context's warns of each look at what is added.
        return {**super().to_policy_values(), "is_admin": self.is_admin}

    @classmethod
    def from_dict(cls, values: Any, **kwargs: Any) -> "RequestContext":
        kwargs.setdefault(
            "is_service_request", bool(values.get("is_service_request"))
        )
        return super().from_dict(values, **kwargs)

    def can(self, rule: str, target: dict[str, Any] | None = None) -> None:
        """Pass if policy admits this caller.

        :raises PolicyNotAuthorized: otherwise, naming the rule
        """
        policy.authorize(self, rule, target)


def get_admin_context() -> RequestContext:
    """Return the identity of Cyborg's own background work."""
    return RequestContext(is_admin=True, roles=["admin"], overwrite=False)
