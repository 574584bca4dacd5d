"""Who asks: the identity that travels with a request."""

from typing import Any

from oslo_context import context as oslo_context
from oslo_db.sqlalchemy import enginefacade
import sqlalchemy as sa

from cyborg.common import policy


@enginefacade.transaction_context_provider
class RequestContext(oslo_context.RequestContext):
    """A caller, and what the caller's tokens prove.

    :ivar is_service_request: a valid service token came with the request,
        so another OpenStack service acts for the user.
    """

    FROM_DICT_EXTRA_KEYS = ["is_service_request"]

    # Set by enginefacade while a transaction of this context is open.
    connection: sa.Connection

    def __init__(
        self, *, is_service_request: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.is_service_request = is_service_request
        # "admin" and "Admin" are the same role, as for policy's role: check.
        self.is_admin = kwargs.get("is_admin") or any(
            role.lower() == "admin" for role in self.roles
        )

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        values["is_service_request"] = self.is_service_request
        # Peers act on what the API has already checked: no token leaves it.
        for secret in ("auth_token", "service_token"):
            values.pop(secret, None)
        return values

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
