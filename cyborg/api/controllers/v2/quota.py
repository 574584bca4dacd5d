"""``/v2/quota_usages``."""

from typing import Any

from cyborg.api import routing
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import quota as schemas
from cyborg.api.types import base
from cyborg.api.types import quota as types
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import quota as quota_db
from cyborg.policies import quota as policies


class QuotaUsagesController:
    @routing.operation(
        "GET",
        "/v2/quota_usages",
        rule=policies.GET,
        since=versions.RESOURCES,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> dict[str, Any]:
        """Show what a project uses."""
        context = request.context
        project_id = request.argument("project_id") or request.project_id
        if project_id != request.project_id and not context.is_admin:
            raise exception.Forbidden(
                _("query.project_id: only administrators see other projects.")
            )
        return {
            "quota_usages": base.show_all(
                types.QuotaUsage, request, quota_db.find(context, project_id)
            )
        }
