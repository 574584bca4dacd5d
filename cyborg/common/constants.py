"""Sets of values that the database, the objects and the API share.

Each set is written once, here. Order matters where a set is stored as a
database enumeration: new labels go to the end.
"""

import enum


class DeviceType(enum.StrEnum):
    """What a card is; ``devices.type``."""

    GPU = "GPU"
    FPGA = "FPGA"
    AICHIP = "AICHIP"
    QAT = "QAT"
    NIC = "NIC"
    SSD = "SSD"
    MDEV = "MDEV"
    PCI = "PCI"
    NVME = "NVME"
    PMEM = "PMEM"


class DeviceStatus(enum.StrEnum):
    """Whether the operator lets the scheduler use a card."""

    ENABLED = "enabled"
    MAINTAINING = "maintaining"


class ProviderLayout(enum.StrEnum):
    """Which resource providers count a host's deployables.

    Each has its own, those that are alike share one, or they share where
    there is more than one; ``hosts.provider_layout``.
    """

    DEVICE = "device"
    POOL = "pool"
    AUTO = "auto"


class ConditionEffect(enum.StrEnum):
    """What a condition does to a card; ``device_conditions.effect``."""

    NONE = "none"
    NO_SCHEDULE = "no-schedule"


class ConditionSource(enum.StrEnum):
    """Who says so; ``device_conditions.source``."""

    DRIVER = "driver"
    GATE = "gate"
    OPERATOR = "operator"
    TENANT = "tenant"
    AGENT = "agent"


# The operator's condition that ``devices.status`` shows to older clients.
CONDITION_MAINTAINING = "maintaining"
# What holds of a device that is not what its holder was promised.
CONDITION_DRIFT = "drift"
# What is wrong between a device and the guests of its host.
CONDITION_GUEST_LOST = "guest-lost"
CONDITION_GUEST_FOREIGN = "guest-foreign"
CONDITION_GUEST_DOUBLE = "guest-double"
CONDITION_GUEST_HELD = "guest-held"
# What the owner of a request says of its device.
CONDITION_FAULT = "fault"
# What the agent says of a device that it could not clean.
CONDITION_UNCLEAN = "unclean"


class CleaningPolicy(enum.StrEnum):
    """What is done before the next guest is given a device."""

    # It is given to nobody before it is clean.
    REQUIRED = "required"
    # It is cleaned, and given out also if that fails.
    WANTED = "wanted"
    # It is given out as it is.
    OFF = "off"


class DeviceEventKind(enum.StrEnum):
    """What happened to a card; ``device_events.kind``."""

    FOUND = "found"
    LOST = "lost"
    BACK = "back"
    REMOVED = "removed"
    OFFERED = "offered"
    WITHHELD = "withheld"
    BOUND = "bound"
    RELEASED = "released"
    CLEANED = "cleaned"
    FAILED = "failed"
    FAULT = "fault"
    CONDITION_SET = "condition_set"
    CONDITION_CLEARED = "condition_cleared"
    FIRMWARE = "firmware"
    BITSTREAM = "bitstream"


class AttachHandleType(enum.StrEnum):
    """How a guest is given a handle."""

    PCI = "PCI"
    MDEV = "MDEV"
    TEST_PCI = "TEST_PCI"
    PMEM = "PMEM"


class ControlPathIDType(enum.StrEnum):
    """How the host addresses a card it manages."""

    PCI = "PCI"
    PMEM = "PMEM"


class AttributeOrigin(enum.StrEnum):
    """Who made an attribute; a report only replaces what drivers made.

    A user gave the value of a changed one, and the driver its key.
    """

    DRIVER = "driver"
    CHANGED = "changed"
    API = "api"
    BIND = "bind"


class JobKind(enum.StrEnum):
    """Durable work on a host; ``jobs.kind``."""

    BIND = "bind"
    CLEANUP = "cleanup"
    PROGRAM = "program"
    FIRMWARE = "firmware"
    OWNER = "owner"
    CLEAN = "clean"


class NovaEventStatus(enum.StrEnum):
    """Status of an ``accelerator-request-bound`` event."""

    COMPLETED = "completed"
    FAILED = "failed"


ATTR_RESOURCE_CLASS = "rc"
ATTR_TRAIT_PREFIX = "trait"

OWNER_TRAIT = "OWNER_CYBORG"
# A card that is given out once, and then only after it was cleaned.
ONE_TIME_TRAIT = "HW_PCI_ONE_TIME_USE"
FUNCTION_TRAIT_PREFIX = "CUSTOM_FPGA_FUNCTION_ID"

RC_FPGA = "FPGA"
RC_PGPU = "PGPU"
RC_VGPU = "VGPU"
RC_QAT = "CUSTOM_QAT"
RC_NIC = "CUSTOM_NIC"
RC_SSD = "CUSTOM_SSD"
RC_PCI = "CUSTOM_PCI"
RC_AICHIP = "CUSTOM_AICHIP"
RC_PMEM_PREFIX = "CUSTOM_PMEM_NAMESPACE_"

# Resource classes Placement knows without being told.
STANDARD_RESOURCE_CLASSES = (RC_FPGA, RC_PGPU, RC_VGPU)

# A group with this trait asks for two handles per FPGA: management and user.
XILINX_TRAIT = "CUSTOM_FPGA_XILINX"
# What deployables of such cards say in driver_name, in capitals or not.
XILINX_DRIVER = "xilinx"

# An FPGA whose driver can load bitstreams.
PROGRAMMABLE_TRAIT = "CUSTOM_PROGRAMMABLE"

GROUP_RESOURCES = "resources:"
GROUP_TRAIT = "trait:"
GROUP_ACCEL = "accel:"
ACCEL_BITSTREAM_ID = "accel:bitstream_id"
ACCEL_FUNCTION_ID = "accel:function_id"
ACCEL_BITSTREAM_NAME = "accel:bitstream_name"
ACCEL_FUNCTION_NAME = "accel:function_name"
# And then the trait of a function.
ACCEL_FUNCTION = "accel:function:"

# What quotas limit: requests of a project, and units of a resource class.
QUOTA_REQUESTS = "accelerator_requests"
QUOTA_CLASS = "class:"

CONDUCTOR_TOPIC = "cyborg-conductor"
AGENT_TOPIC = "cyborg-agent"
# Where conductors hear agents that have a bus of their own.
REPORTS_TOPIC = "cyborg-agent-reports"
