"""The schema of the 2023.2 release, which every upgrade starts from.

Frozen: what came later is in the revisions. Databases in the field have
these tables and columns, but not always these names of constraints.
"""

from typing import Any

import sqlalchemy as sa

from cyborg import conf

CONF = conf.CONF

# Label lists of the enumerations as the base revision makes them.
ENUMS = {
    "device_type": ("GPU", "FPGA", "AICHIP", "QAT", "NIC", "SSD"),
    "device_status": ("enabled", "maintaining"),
    "cpid_type": ("PCI",),
    "attach_type": ("PCI", "MDEV", "TEST_PCI"),
    "state": (
        "Initial",
        "BindStarted",
        "Bound",
        "Unbound",
        "BindFailed",
        "Deleting",
    ),
    "substate": ("Initial",),
}

# How the types of devices are ordered when all are known. Two lines of
# revisions add to them, and PostgreSQL cannot move what is there.
DEVICE_TYPES = (
    *ENUMS["device_type"],
    "MDEV",
    "PCI",
    "NVME",
    "PMEM",
)


def table_options() -> dict[str, Any]:
    """Return what every table is created with on MySQL and MariaDB."""
    return {
        "mysql_engine": CONF.database.mysql_engine,
        "mysql_charset": "utf8",
    }


def common_columns() -> list[sa.Column[Any]]:
    """Return the columns that every table has."""
    return [
        sa.Column("created_at", sa.DateTime),
        sa.Column("updated_at", sa.DateTime),
        sa.Column("id", sa.Integer, primary_key=True),
    ]


def _enum(name: str) -> sa.Enum:
    return sa.Enum(*ENUMS[name], name=name)


def _uuid() -> sa.Column[Any]:
    return sa.Column("uuid", sa.String(36), nullable=False)


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(255), nullable=nullable)


def _reference(
    column: str, target: str, name: str, nullable: bool = False
) -> sa.Column[Any]:
    return sa.Column(
        column,
        sa.Integer,
        sa.ForeignKey(f"{target}.id", name=name, ondelete="RESTRICT"),
        nullable=nullable,
    )


def metadata() -> sa.MetaData:
    """Return the tables, in a collection of their own."""
    tables = sa.MetaData()

    def table(name: str, *items: Any) -> None:
        sa.Table(name, tables, *common_columns(), *items, **table_options())

    table(
        "devices",
        _uuid(),
        sa.Column("type", _enum("device_type"), nullable=False),
        _text("vendor"),
        _text("model"),
        sa.Column("std_board_info", sa.Text),
        sa.Column("vendor_board_info", sa.Text),
        _text("hostname"),
        sa.Column("status", _enum("device_status"), nullable=False),
        sa.UniqueConstraint("uuid", name="uniq_devices0uuid"),
    )
    table(
        "deployables",
        _uuid(),
        sa.Column(
            "parent_id",
            sa.Integer,
            sa.ForeignKey("deployables.id", name="fk_deployables_parent_id"),
        ),
        sa.Column(
            "root_id",
            sa.Integer,
            sa.ForeignKey("deployables.id", name="fk_deployables_root_id"),
        ),
        _text("name"),
        sa.Column("num_accelerators", sa.Integer, nullable=False),
        _reference("device_id", "devices", "fk_deployables_device_id"),
        sa.Column("rp_uuid", sa.String(36)),
        sa.Column("driver_name", sa.String(100)),
        sa.Column("bitstream_id", sa.String(36)),
        sa.UniqueConstraint("uuid", name="uniq_deployables0uuid"),
        sa.Index("deployables_parent_id_idx", "parent_id"),
        sa.Index("deployables_root_id_idx", "root_id"),
        sa.Index("deployables_device_id_idx", "device_id"),
    )
    table(
        "attributes",
        _uuid(),
        _reference(
            "deployable_id", "deployables", "fk_attributes_deployable_id"
        ),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.UniqueConstraint("uuid", name="uniq_attributes0uuid"),
        sa.Index("ix_attributes_deployable_id", "deployable_id"),
    )
    table(
        "controlpath_ids",
        _uuid(),
        _reference("device_id", "devices", "fk_controlpath_ids_device_id"),
        sa.Column("cpid_type", _enum("cpid_type"), nullable=False),
        _text("cpid_info"),
        sa.UniqueConstraint("uuid", name="uniq_controlpath_ids0uuid"),
        sa.Index("ix_controlpath_ids_device_id", "device_id"),
    )
    table(
        "attach_handles",
        _uuid(),
        _reference(
            "deployable_id", "deployables", "fk_attach_handles_deployable_id"
        ),
        _reference("cpid_id", "controlpath_ids", "fk_attach_handles_cpid_id"),
        sa.Column("in_use", sa.Boolean),
        sa.Column("attach_type", _enum("attach_type"), nullable=False),
        _text("attach_info"),
        sa.UniqueConstraint("uuid", name="uniq_attach_handles0uuid"),
        sa.Index("attach_handles_deployable_id_idx", "deployable_id"),
        sa.Index("attach_handles_cpid_id_idx", "cpid_id"),
    )
    table(
        "device_profiles",
        _uuid(),
        _text("name"),
        sa.Column("profile_json", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.UniqueConstraint("uuid", name="uniq_device_profiles0uuid"),
        sa.UniqueConstraint("name", name="uniq_device_profiles0name"),
    )
    table(
        "extended_accelerator_requests",
        _uuid(),
        _text("project_id", nullable=True),
        sa.Column("state", _enum("state"), nullable=False),
        _reference(
            "device_profile_id",
            "device_profiles",
            "fk_extArqs_device_profile_id",
        ),
        sa.Column("device_profile_group_id", sa.Integer, nullable=False),
        _text("hostname", nullable=True),
        sa.Column("device_rp_uuid", sa.String(36)),
        sa.Column("instance_uuid", sa.String(36)),
        _reference(
            "attach_handle_id",
            "attach_handles",
            "fk_extArqs_attach_handle_id",
            nullable=True,
        ),
        sa.Column("substate", _enum("substate"), nullable=False),
        _reference(
            "deployable_id",
            "deployables",
            "fk_extArqs_deployable_id",
            nullable=True,
        ),
        sa.UniqueConstraint(
            "uuid", name="uniq_extended_accelerator_requests0uuid"
        ),
        sa.Index("extArqs_project_id_idx", "project_id"),
        sa.Index("extArqs_device_profile_id_idx", "device_profile_id"),
        sa.Index("extArqs_device_rp_uuid_idx", "device_rp_uuid"),
        sa.Index("extArqs_instance_uuid_idx", "instance_uuid"),
        sa.Index("extArqs_attach_handle_id_idx", "attach_handle_id"),
        sa.Index("extArqs_deployable_id_idx", "deployable_id"),
    )
    table(
        "quota_usages",
        _text("project_id", nullable=True),
        _text("user_id", nullable=True),
        _text("resource"),
        sa.Column("in_use", sa.Integer, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False),
        sa.Column("until_refresh", sa.Integer),
        sa.Index("ix_quota_usages_project_id", "project_id"),
        sa.Index("ix_quota_usages_user_id", "user_id"),
    )
    table(
        "reservations",
        _uuid(),
        sa.Column(
            "usage_id",
            sa.Integer,
            sa.ForeignKey("quota_usages.id", name="fk_reservations_usage_id"),
            nullable=False,
        ),
        _text("project_id", nullable=True),
        _text("user_id", nullable=True),
        _text("resource", nullable=True),
        sa.Column("delta", sa.Integer, nullable=False),
        sa.Column("expire", sa.DateTime),
        sa.Index("reservations_uuid_idx", "uuid"),
        sa.Index("ix_reservations_project_id", "project_id"),
        sa.Index("ix_reservations_user_id", "user_id"),
    )
    return tables
