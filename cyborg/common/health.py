"""What can be wrong with a card: the one table that agents and conductors use.

An agent says which sign it sees; what follows from it is said here, so that
no agent can withhold more than the table lets it.
"""

import dataclasses
import enum


class Weight(enum.StrEnum):
    """What a sign is evidence of."""

    # The card cannot be given to anybody: it is reserved.
    HARD = "hard"
    # It may be sick: reserved where the operator wants that, to a limit.
    SOFT = "soft"
    # It is shown, and that is all.
    NOTE = "note"


@dataclasses.dataclass(frozen=True)
class Sign:
    """Something that a sensor can see.

    :ivar source: where it is read
    :ivar needs_reset: it ends when the card was cleaned, or an operator says
        so, and not because nothing more was heard of it
    """

    key: str
    weight: Weight
    source: str
    text: str
    needs_reset: bool = False


_HARD, _SOFT, _NOTE = Weight.HARD, Weight.SOFT, Weight.NOTE
_LOG = "kernel log"

_SIGNS = (
    Sign("config-unreadable", _HARD, "config", "Its registers read as ones."),
    Sign("link-width", _SOFT, "PCIe link", "The link has too few lanes."),
    Sign("link-speed", _SOFT, "PCIe link", "The link is too slow."),
    Sign(
        "link-idle",
        _NOTE,
        "PCIe link",
        "The link is slow; cards of this kind slow it down when idle.",
    ),
    Sign("aer-fatal", _SOFT, "AER", "Fatal errors on the link."),
    Sign("aer-nonfatal", _NOTE, "AER", "Uncorrected errors on the link."),
    Sign(
        "aer-unrecovered",
        _SOFT,
        _LOG,
        "The kernel could not recover it from an error of the link.",
        needs_reset=True,
    ),
    Sign(
        "driver-failed",
        _HARD,
        _LOG,
        "Its driver could not open it, and it has no driver.",
    ),
    Sign(
        "driver-init",
        _HARD,
        _LOG,
        "Its driver could not open it.",
        needs_reset=True,
    ),
    Sign(
        "not-ready",
        _HARD,
        _LOG,
        "It did not come back from a reset.",
        needs_reset=True,
    ),
    Sign(
        "inaccessible",
        _HARD,
        _LOG,
        "It could not be powered up.",
        needs_reset=True,
    ),
    Sign("nvme-dead", _HARD, "NVMe controller", "The controller is dead."),
    Sign(
        "nvme-state", _NOTE, "NVMe controller", "The controller is not live."
    ),
    Sign(
        "nvme-warning",
        _SOFT,
        "NVMe controller",
        "The drive warns: spare, reliability, or read-only.",
    ),
    Sign("port-down", _NOTE, "network port", "A port has no link."),
    Sign(
        "qat-heartbeat",
        _SOFT,
        "QAT firmware",
        "The firmware does not answer.",
    ),
    Sign("qat-down", _NOTE, "QAT driver", "The device is down."),
    Sign("dfl-fatal", _SOFT, "DFL errors", "Catastrophic or fatal errors."),
    Sign("dfl-errors", _NOTE, "DFL errors", "Other errors of the FPGA."),
    Sign("hwmon-critical", _SOFT, "hwmon", "A critical limit is passed."),
    Sign("hwmon-alarm", _NOTE, "hwmon", "A limit is passed."),
    Sign(
        "amdgpu-reset-failed",
        _SOFT,
        _LOG,
        "The driver could not reset the GPU.",
        needs_reset=True,
    ),
    Sign(
        "amdgpu-ecc",
        _SOFT,
        _LOG,
        "Memory errors that cannot be corrected.",
        needs_reset=True,
    ),
    Sign("amdgpu-hang", _NOTE, _LOG, "What ran on the GPU hung."),
    Sign(
        "sxid-fatal",
        _SOFT,
        _LOG,
        "A fatal error of an NVSwitch that the GPUs share.",
        needs_reset=True,
    ),
    Sign("sxid", _NOTE, _LOG, "An error of an NVSwitch."),
    Sign("xid-other", _NOTE, _LOG, "Another message of NVIDIA's driver."),
)

# NVIDIA's codes, by what NVIDIA says has to be done: what runs on the GPU is
# to blame and is started again; the GPU is reset; the host is.
_XID_APPLICATION = {
    13: "graphics engine exception",
    31: "memory page fault",
    43: "what ran on it was stopped",
    45: "channels were removed after other errors",
    68: "video decoder exception",
    69: "graphics engine class error",
}
_XID_WATCH = {
    63: "a memory row is to be remapped, or a page was retired",
    92: "many memory errors that were corrected",
    # Contained to what ran there; the GPU goes on.
    94: "contained memory error",
}
_XID_RESET = {
    48: "memory error that cannot be corrected",
    61: "internal controller stopped at a breakpoint",
    62: "internal controller halted",
    64: "a memory row could not be remapped",
    74: "NVLink error",
    95: "uncontained memory error",
    109: "context switch timed out",
    119: "the GPU's system processor does not answer",
    120: "error of the GPU's system processor",
    136: "NVLink training failed",
    140: "memory error that was not recovered from",
    143: "the GPU could not be initialised",
}
_XID_GONE = {79: "the GPU has fallen off the bus"}


def _xids() -> list[Sign]:
    return [
        Sign(f"xid-{code}", weight, _LOG, f"Xid {code}: {text}.", needs_reset)
        for codes, weight, needs_reset in (
            (_XID_APPLICATION, Weight.NOTE, False),
            (_XID_WATCH, Weight.NOTE, False),
            (_XID_RESET, Weight.SOFT, True),
            (_XID_GONE, Weight.HARD, True),
        )
        for code, text in sorted(codes.items())
    ]


SIGNS = {sign.key: sign for sign in (*_SIGNS, *_xids())}

# Those that stay until the card was cleaned, or an operator says so.
NEED_RESET = [sign.key for sign in SIGNS.values() if sign.needs_reset]


def sign_of_xid(code: int) -> Sign:
    """Return the sign that a code of NVIDIA's driver is."""
    return SIGNS.get(f"xid-{code}", SIGNS["xid-other"])
