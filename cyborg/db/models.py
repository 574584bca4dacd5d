"""Typed tables. Names and types are those of the contract with upgrades.

Rules of the schema: every name of a constraint and of an enumeration is
written out, new enumeration labels go to the end, and columns are only added.
"""

import datetime
from typing import Any
from typing import ClassVar
from typing import TYPE_CHECKING

from oslo_db.sqlalchemy import models as oslo_models
import sqlalchemy as sa
from sqlalchemy import orm

from cyborg.common import clock
from cyborg.common import constants
from cyborg.common import states


class Base(
    oslo_models.TimestampMixin, oslo_models.ModelBase, orm.DeclarativeBase
):
    """Every table has id, created_at and updated_at (UTC, seconds)."""

    type_annotation_map = {str: sa.String(255), datetime.datetime: sa.DateTime}

    if TYPE_CHECKING:
        __table__: ClassVar[sa.Table]

    # Not by the clock of this host, as oslo.db would.
    created_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(
        default=clock.utcnow
    )
    updated_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(
        onupdate=clock.utcnow
    )
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


class Label(sa.types.TypeDecorator[str]):
    """One label of an enumeration.

    A label that a later release has stored reads as what it is: one row
    that is not understood must not hide all others.
    """

    impl = sa.Enum
    cache_ok = True

    def __init__(self, *labels: str, name: str) -> None:
        super().__init__(*labels, name=name)
        self.labels = labels
        self.name = name

    def copy(self, **_: Any) -> "Label":
        return Label(*self.labels, name=self.name)

    def result_processor(self, dialect: sa.Dialect, coltype: Any) -> None:
        """Leave what the driver returns as it is: text."""


def _enum(name: str, values: Any) -> Label:
    return Label(*[str(value) for value in values], name=name)


def _foreign_key(column: str, name: str) -> sa.ForeignKey:
    return sa.ForeignKey(column, name=name, ondelete="RESTRICT")


TABLE_ARGS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8"}
Uuid = sa.String(36)


class Host(Base):
    """A host whose agent reports: its serialisation point and its health.

    ``sync_*`` say how far Placement is behind the database: a change raises
    ``sync_wanted``; whoever holds the lease works until ``sync_done`` equals
    it.
    """

    __tablename__ = "hosts"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_hosts0uuid"),
        sa.UniqueConstraint("hostname", name="uniq_hosts0hostname"),
        sa.Index("hosts_rpc_host_idx", "rpc_host"),
        sa.Index("hosts_sync_due_at_idx", "sync_due_at"),
        sa.Index("hosts_placement_synced_at_idx", "placement_synced_at"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    hostname: orm.Mapped[str]
    rpc_host: orm.Mapped[str | None]
    rpc_version: orm.Mapped[str | None] = orm.mapped_column(sa.String(16))
    root_rp_uuid: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    report_digest: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    drivers: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # The machine its agent runs on, and the boot it runs since; NULL = the
    # agent did not tell, or could not know.
    machine_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    boot_id: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    forced_down: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    # Seen first by a release that cleans devices; those of before are not
    # cleaned before the operator says so.
    cleans: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    last_seen_at: orm.Mapped[datetime.datetime | None]
    last_full_report_at: orm.Mapped[datetime.datetime | None]
    placement_synced_at: orm.Mapped[datetime.datetime | None]
    sync_error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    sync_wanted: orm.Mapped[int] = orm.mapped_column(
        default=0, server_default="0"
    )
    sync_done: orm.Mapped[int] = orm.mapped_column(
        default=0, server_default="0"
    )
    # SHA-256 of the key that its agent shows; NULL = never showed one.
    key_hash: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    # Its agent is on the bus that agents have of their own.
    apart: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    # When somebody without its key last spoke in its name.
    refused_at: orm.Mapped[datetime.datetime | None]
    # When to sync next; NULL = in step. A lease pushes it into the future.
    sync_due_at: orm.Mapped[datetime.datetime | None]
    sync_owner: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    sync_attempts: orm.Mapped[int] = orm.mapped_column(
        default=0, server_default="0"
    )
    # Which providers count its deployables.
    provider_layout: orm.Mapped[str] = orm.mapped_column(
        sa.String(16),
        default=constants.ProviderLayout.DEVICE.value,
        server_default=constants.ProviderLayout.DEVICE.value,
    )
    # Something that was offered is not to be given out; told before all else.
    sync_urgent: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )


class Errand(Base):
    """What a conductor wants the agent of a host to do, while it waits.

    ``arguments`` and ``result`` are JSON; the latter is ``{"answer"}`` or
    ``{"error": {"name", "text"}}``.
    """

    __tablename__ = "errands"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_errands0uuid"),
        sa.Index("errands_hostname_idx", "hostname"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    hostname: orm.Mapped[str]
    method: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    arguments: orm.Mapped[str] = orm.mapped_column(sa.Text)
    taken: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    result: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    expires_at: orm.Mapped[datetime.datetime]


class Conductor(Base):
    """A conductor process that has been seen."""

    __tablename__ = "conductors"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_conductors0uuid"),
        sa.UniqueConstraint("host", name="uniq_conductors0host"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    host: orm.Mapped[str]
    rpc_version: orm.Mapped[str | None] = orm.mapped_column(sa.String(16))
    last_seen_at: orm.Mapped[datetime.datetime | None]


class Device(Base):
    """One physical card in one host."""

    __tablename__ = "devices"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_devices0uuid"),
        sa.Index("devices_hostname_idx", "hostname"),
        sa.Index("devices_type_idx", "type"),
        sa.Index("devices_identity_id_idx", "identity_id"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    type: orm.Mapped[str] = orm.mapped_column(
        _enum("device_type", constants.DeviceType)
    )
    vendor: orm.Mapped[str]
    model: orm.Mapped[str]
    std_board_info: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    vendor_board_info: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # The compute node's provider name, not the agent's name on the bus.
    hostname: orm.Mapped[str]
    status: orm.Mapped[str] = orm.mapped_column(
        _enum("device_status", constants.DeviceStatus),
        default=constants.DeviceStatus.ENABLED.value,
    )
    # NULL = an earlier release made the row; see cyborg.db.device_state.
    device_state: orm.Mapped[str | None] = orm.mapped_column(
        _enum("device_state", states.DeviceState)
    )
    status_reason: orm.Mapped[str | None]
    # Entry point that reported it; NULL = not known (an older agent).
    driver: orm.Mapped[str | None] = orm.mapped_column(sa.String(100))
    # What is at its place now, JSON, while it is held and is not this.
    seen: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    missing_since: orm.Mapped[datetime.datetime | None]
    # Which card it is; NULL until it is reported (an earlier release made
    # the row).
    identity_id: orm.Mapped[int | None]
    # Name that takes it out of the pool of its like; NULL = it is in there.
    carve: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))


class DeviceIdentity(Base):
    """A card that was seen in a place, whether it is still there or not.

    It outlives the row in ``devices``, so that a card that comes back finds
    its conditions and its history. What is not known is NULL.
    """

    __tablename__ = "device_identities"
    __table_args__ = (
        sa.Index("device_identities_hostname_idx", "hostname"),
        sa.Index("device_identities_device_uuid_idx", "device_uuid"),
        TABLE_ARGS,
    )

    hostname: orm.Mapped[str]
    # ``cpid_info`` of its control path.
    place: orm.Mapped[str]
    vendor: orm.Mapped[str]
    product: orm.Mapped[str | None]
    serial: orm.Mapped[str | None]
    # The device that it is, or was last.
    device_uuid: orm.Mapped[str | None] = orm.mapped_column(Uuid)


class DeviceCondition(Base):
    """What holds of a card until it is cleared; several at once may."""

    __tablename__ = "device_conditions"
    __table_args__ = (
        sa.UniqueConstraint(
            "identity_id",
            "key",
            "source",
            name="uniq_device_conditions0identity0key0source",
        ),
        sa.Index("device_conditions_until_idx", "until"),
        TABLE_ARGS,
    )

    identity_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("device_identities.id", "fk_device_conditions_identity")
    )
    key: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    effect: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    source: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    reason: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    since: orm.Mapped[datetime.datetime]
    # When it ends by itself; NULL = it does not.
    until: orm.Mapped[datetime.datetime | None]


class DeviceEvent(Base):
    """What happened to a card: rows are added, and go when they are old.

    ``identity_id`` is no foreign key: a bind must not wait for whoever
    changes the identity.
    """

    __tablename__ = "device_events"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_device_events0uuid"),
        sa.Index("device_events_identity_id_idx", "identity_id", "id"),
        sa.Index("device_events_at_idx", "at"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    identity_id: orm.Mapped[int | None]
    device_uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    who: orm.Mapped[str]
    why: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # A JSON object.
    detail: orm.Mapped[str] = orm.mapped_column(sa.Text)
    at: orm.Mapped[datetime.datetime]


class Deployable(Base):
    """The part of a device Placement counts.

    It has a resource provider of its own, or shares the one of the pool
    ``rp_pool``; ``rp_moving`` tells that it belongs elsewhere and is in use.

    ``rp_name``, ``rp_traits`` (JSON: traits and inventories) and
    ``rp_generation`` are what was last written to Placement, so that only
    differences are written again and what others set is left alone.
    ``withheld`` (JSON: a list of rule and text) is why the agent says that
    nobody may be given it, NULL if it may be.
    """

    __tablename__ = "deployables"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_deployables0uuid"),
        sa.Index("deployables_parent_id_idx", "parent_id"),
        sa.Index("deployables_root_id_idx", "root_id"),
        sa.Index("deployables_device_id_idx", "device_id"),
        sa.Index("deployables_rp_uuid_idx", "rp_uuid"),
        sa.Index("deployables_name_idx", "name"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    parent_id: orm.Mapped[int | None] = orm.mapped_column(
        sa.ForeignKey("deployables.id", name="fk_deployables_parent_id")
    )
    root_id: orm.Mapped[int | None] = orm.mapped_column(
        sa.ForeignKey("deployables.id", name="fk_deployables_root_id")
    )
    name: orm.Mapped[str]
    num_accelerators: orm.Mapped[int]
    device_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("devices.id", "fk_deployables_device_id")
    )
    rp_uuid: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    driver_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(100))
    bitstream_id: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    rp_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(200))
    rp_traits: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    rp_generation: orm.Mapped[int | None]
    rp_pool: orm.Mapped[str | None] = orm.mapped_column(sa.String(8))
    rp_moving: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    withheld: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    missing_since: orm.Mapped[datetime.datetime | None]


class Attribute(Base):
    """A key and value on a deployable: ``rc``, ``trait0`` and the like.

    Keys may repeat: some drivers report them so.
    """

    __tablename__ = "attributes"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_attributes0uuid"),
        sa.Index("ix_attributes_deployable_id", "deployable_id"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    deployable_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("deployables.id", "fk_attributes_deployable_id")
    )
    key: orm.Mapped[str] = orm.mapped_column(sa.Text)
    value: orm.Mapped[str] = orm.mapped_column(sa.Text)
    # NULL = driver.
    origin: orm.Mapped[str | None] = orm.mapped_column(sa.String(16))


class ControlPathID(Base):
    """Where the host manages a device; with the host name, its identity."""

    __tablename__ = "controlpath_ids"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_controlpath_ids0uuid"),
        sa.Index("ix_controlpath_ids_device_id", "device_id"),
        sa.Index("controlpath_ids_cpid_info_idx", "cpid_info"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    device_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("devices.id", "fk_controlpath_ids_device_id")
    )
    cpid_type: orm.Mapped[str] = orm.mapped_column(
        _enum("cpid_type", constants.ControlPathIDType)
    )
    cpid_info: orm.Mapped[str]


class AttachHandle(Base):
    """What a guest is given: one function, virtual function or mdev."""

    __tablename__ = "attach_handles"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_attach_handles0uuid"),
        sa.Index("attach_handles_deployable_id_idx", "deployable_id"),
        sa.Index("attach_handles_cpid_id_idx", "cpid_id"),
        sa.Index("attach_handles_free_idx", "deployable_id", "in_use"),
        TABLE_ARGS,
    )

    # For MDEV this is the mdev's uuid as well.
    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    deployable_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("deployables.id", "fk_attach_handles_deployable_id")
    )
    cpid_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("controlpath_ids.id", "fk_attach_handles_cpid_id")
    )
    in_use: orm.Mapped[bool] = orm.mapped_column(
        default=False, server_default=sa.false()
    )
    attach_type: orm.Mapped[str] = orm.mapped_column(
        _enum("attach_type", constants.AttachHandleType)
    )
    attach_info: orm.Mapped[str]
    missing_since: orm.Mapped[datetime.datetime | None]


class DeviceProfile(Base):
    """A named request; ``profile_json`` is ``{"groups": [{key: text}]}``."""

    __tablename__ = "device_profiles"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_device_profiles0uuid"),
        sa.UniqueConstraint("name", name="uniq_device_profiles0name"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    name: orm.Mapped[str]
    profile_json: orm.Mapped[str] = orm.mapped_column(sa.Text)
    description: orm.Mapped[str | None] = orm.mapped_column(sa.Text)


class ARQ(Base):
    """One device for one instance."""

    __tablename__ = "extended_accelerator_requests"
    __table_args__ = (
        sa.UniqueConstraint(
            "uuid", name="uniq_extended_accelerator_requests0uuid"
        ),
        # The last guard against giving one handle twice.
        sa.UniqueConstraint("attach_handle_id", name="uniq_extArqs0handle"),
        sa.Index("extArqs_project_id_idx", "project_id"),
        sa.Index("extArqs_project_id_id_idx", "project_id", "id"),
        sa.Index("extArqs_state_idx", "state", "updated_at"),
        sa.Index("extArqs_device_profile_id_idx", "device_profile_id"),
        sa.Index("extArqs_device_rp_uuid_idx", "device_rp_uuid"),
        sa.Index("extArqs_instance_uuid_idx", "instance_uuid"),
        sa.Index("extArqs_attach_handle_id_idx", "attach_handle_id"),
        sa.Index("extArqs_deployable_id_idx", "deployable_id"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    project_id: orm.Mapped[str | None]
    state: orm.Mapped[str] = orm.mapped_column(
        _enum("state", states.ARQState),
        default=states.ARQState.INITIAL.value,
    )
    device_profile_id: orm.Mapped[int] = orm.mapped_column(
        _foreign_key("device_profiles.id", "fk_extArqs_device_profile_id")
    )
    device_profile_group_id: orm.Mapped[int] = orm.mapped_column(default=0)
    hostname: orm.Mapped[str | None]
    device_rp_uuid: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    instance_uuid: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    attach_handle_id: orm.Mapped[int | None] = orm.mapped_column(
        _foreign_key("attach_handles.id", "fk_extArqs_attach_handle_id")
    )
    deployable_id: orm.Mapped[int | None] = orm.mapped_column(
        _foreign_key("deployables.id", "fk_extArqs_deployable_id")
    )
    # Why the ARQ is where it is, for the operator: how far its job got, or
    # when a sweep first found it left over.
    substate: orm.Mapped[str] = orm.mapped_column(
        sa.String(32), default="Initial"
    )
    # Why it has failed: of :class:`cyborg.common.states.Reason`, and all that
    # is known. NULL = it has not, or an earlier release left it so.
    state_reason: orm.Mapped[str | None]
    state_detail: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # What it counts as in quotas; "" = as nothing: another ARQ of its group
    # stands for the unit. NULL = an earlier release made it.
    resource_class: orm.Mapped[str | None]


class BoundInstance(Base):
    """An instance that has ARQs: two binds of one instance meet in its key."""

    __tablename__ = "bound_instances"
    __table_args__ = (
        sa.UniqueConstraint(
            "instance_uuid", name="uniq_bound_instances0instance_uuid"
        ),
        sa.Index("bound_instances_look_at_idx", "look_at"),
        sa.Index("bound_instances_missing_since_idx", "missing_since"),
        TABLE_ARGS,
    )

    instance_uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    # Since when neither Nova nor Placement knows the server.
    missing_since: orm.Mapped[datetime.datetime | None]
    # When to ask them; NULL = there is no reason to.
    look_at: orm.Mapped[datetime.datetime | None]


class Job(Base):
    """Durable work on a host, driven by the conductor that holds the lease.

    ``payload`` is a JSON object and never holds a token.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("uuid", name="uniq_jobs0uuid"),
        sa.Index("jobs_lease_idx", "finished_at", "lease_expires_at"),
        sa.Index("jobs_arq_id_idx", "arq_id"),
        sa.Index("jobs_deployable_id_idx", "deployable_id"),
        sa.Index("jobs_device_id_idx", "device_id"),
        sa.Index("jobs_attach_handle_id_idx", "attach_handle_id"),
        # Agents refuse work that is older than the last: no id comes twice.
        TABLE_ARGS | {"sqlite_autoincrement": True},
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    # A deleted ARQ takes what was to be done for it along.
    arq_id: orm.Mapped[int | None] = orm.mapped_column(
        sa.ForeignKey(
            "extended_accelerator_requests.id",
            name="fk_jobs_arq_id",
            ondelete="CASCADE",
        )
    )
    deployable_id: orm.Mapped[int | None] = orm.mapped_column(
        _foreign_key("deployables.id", "fk_jobs_deployable_id")
    )
    device_id: orm.Mapped[int | None] = orm.mapped_column(
        _foreign_key("devices.id", "fk_jobs_device_id")
    )
    attach_handle_id: orm.Mapped[int | None] = orm.mapped_column(
        _foreign_key("attach_handles.id", "fk_jobs_attach_handle_id")
    )
    payload: orm.Mapped[str] = orm.mapped_column(sa.Text, default="{}")
    step: orm.Mapped[str] = orm.mapped_column(sa.String(32), default="queued")
    owner: orm.Mapped[str | None] = orm.mapped_column(Uuid)
    lease_expires_at: orm.Mapped[datetime.datetime | None]
    deadline_at: orm.Mapped[datetime.datetime | None]
    attempt: orm.Mapped[int] = orm.mapped_column(default=0)
    last_error: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    # Set on program and firmware jobs, which stay to be looked at.
    finished_at: orm.Mapped[datetime.datetime | None]


class Notification(Base):
    """Outbox: an event Nova has to be told of, at least once."""

    __tablename__ = "notifications"
    __table_args__ = (
        sa.UniqueConstraint("arq_uuid", name="uniq_notifications0arq_uuid"),
        sa.Index("notifications_due_idx", "next_attempt_at"),
        sa.Index("notifications_instance_uuid_idx", "instance_uuid"),
        # Nova's answer to an event is recorded by id: none comes twice.
        TABLE_ARGS | {"sqlite_autoincrement": True},
    )

    instance_uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    arq_uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    status: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    attempts: orm.Mapped[int] = orm.mapped_column(default=0)
    next_attempt_at: orm.Mapped[datetime.datetime]


class QuotaUsage(Base):
    """How much of a resource a project uses."""

    __tablename__ = "quota_usages"
    __table_args__ = (
        sa.UniqueConstraint(
            "project_id", "resource", name="uniq_quota_usages0project0resource"
        ),
        sa.Index("ix_quota_usages_project_id", "project_id"),
        sa.Index("ix_quota_usages_user_id", "user_id"),
        TABLE_ARGS,
    )

    project_id: orm.Mapped[str | None]
    user_id: orm.Mapped[str | None]
    resource: orm.Mapped[str]
    in_use: orm.Mapped[int]
    reserved: orm.Mapped[int]
    until_refresh: orm.Mapped[int | None]


class Reservation(Base):
    """Kept for databases of earlier releases; expired ones are deleted."""

    __tablename__ = "reservations"
    __table_args__ = (
        sa.Index("reservations_uuid_idx", "uuid"),
        sa.Index("reservations_usage_id_idx", "usage_id"),
        sa.Index("ix_reservations_project_id", "project_id"),
        sa.Index("ix_reservations_user_id", "user_id"),
        TABLE_ARGS,
    )

    uuid: orm.Mapped[str] = orm.mapped_column(Uuid)
    usage_id: orm.Mapped[int] = orm.mapped_column(
        sa.ForeignKey("quota_usages.id", name="fk_reservations_usage_id")
    )
    project_id: orm.Mapped[str | None]
    user_id: orm.Mapped[str | None]
    resource: orm.Mapped[str | None]
    delta: orm.Mapped[int]
    expire: orm.Mapped[datetime.datetime | None]
