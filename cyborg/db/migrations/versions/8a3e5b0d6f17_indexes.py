"""Index what lists and binds look for, and guard what must be unique."""

from alembic import op
import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "8a3e5b0d6f17"
down_revision = "2f1d7c9e4b60"
branch_labels = None
depends_on = None

ARQS = "extended_accelerator_requests"


def upgrade() -> None:
    converge.index("devices", "devices_hostname_idx", ["hostname"])
    converge.index("devices", "devices_type_idx", ["type"])
    converge.index("deployables", "deployables_rp_uuid_idx", ["rp_uuid"])
    converge.index("deployables", "deployables_name_idx", ["name"])
    converge.index(
        "attach_handles",
        "attach_handles_free_idx",
        ["deployable_id", "in_use"],
    )
    converge.index(
        "controlpath_ids", "controlpath_ids_cpid_info_idx", ["cpid_info"]
    )
    converge.index("reservations", "reservations_usage_id_idx", ["usage_id"])
    converge.index(ARQS, "extArqs_project_id_id_idx", ["project_id", "id"])
    converge.index(ARQS, "extArqs_state_idx", ["state", "updated_at"])
    converge.unique(ARQS, "uniq_extArqs0handle", ["attach_handle_id"])
    _merge_usages()
    converge.unique(
        "quota_usages",
        "uniq_quota_usages0project0resource",
        ["project_id", "resource"],
    )


def _merge_usages() -> None:
    connection = op.get_bind()
    usages = sa.table(
        "quota_usages",
        *(
            sa.column(name)
            for name in ("id", "project_id", "resource", "in_use", "reserved")
        ),
    )
    reservations = sa.table("reservations", sa.column("usage_id"))
    key = (usages.c.project_id, usages.c.resource)
    repeated = connection.execute(
        sa.select(
            *key,
            sa.func.min(usages.c.id).label("kept"),
            sa.func.sum(usages.c.in_use).label("in_use"),
            sa.func.sum(usages.c.reserved).label("reserved"),
        )
        .where(usages.c.project_id.is_not(None))
        .group_by(*key)
        .having(sa.func.count() > 1)
    )
    for row in repeated.all():
        others = connection.scalars(
            sa.select(usages.c.id).where(
                usages.c.project_id == row.project_id,
                usages.c.resource == row.resource,
                usages.c.id != row.kept,
            )
        ).all()
        connection.execute(
            sa.update(reservations)
            .where(reservations.c.usage_id.in_(others))
            .values(usage_id=row.kept)
        )
        connection.execute(sa.delete(usages).where(usages.c.id.in_(others)))
        connection.execute(
            sa.update(usages)
            .where(usages.c.id == row.kept)
            .values(in_use=row.in_use, reserved=row.reserved)
        )
