"""Groups of a device profile: what their keys may say."""

from collections.abc import Sequence
import json
import re
from typing import Any

from oslo_config import cfg
from oslo_utils import uuidutils

from cyborg.api import versions
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import functions
from cyborg.common import groups as common_groups
from cyborg.common.i18n import _

CONF = cfg.CONF

_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+")
# What Placement holds of a name.
_NAME_LENGTH = 255
# What a TEXT column of MySQL holds.
_STORED_LENGTH = 65535

_ATTACH_TARGET = "accel:attach_target"


def normalise(
    groups: Sequence[dict[str, Any]], version: versions.Version, where: str
) -> list[dict[str, str]]:
    """Return the groups as they are stored: checked, all values text.

    :param where: what error messages call the list
    :raises Invalid: naming the group, the key and the rule
    """
    stored = [
        _normalise(group, version, f"{where}[{index}]")
        for index, group in enumerate(groups)
    ]
    _check_limit(stored, where)
    if len(json.dumps({"groups": stored})) > _STORED_LENGTH:
        raise exception.Invalid(_("%s: is too long.") % where)
    return stored


def check_size(groups: Sequence[dict[str, str]], where: str) -> None:
    """Pass if stored groups ask for something, and not for too much.

    :raises Invalid: otherwise
    """
    if not _check_limit(groups, where):
        raise exception.Invalid(_("%s asks for no accelerator.") % where)


def _check_limit(groups: Sequence[dict[str, str]], where: str) -> int:
    asked, most = (
        sum(map(common_groups.size, groups)),
        CONF.api.max_arqs_per_request,
    )
    if asked > most:
        raise exception.Invalid(
            _(
                "%(where)s: asks for %(asked)d accelerators, but "
                "%(most)d is the most."
            )
            % {"where": where, "asked": asked, "most": most}
        )
    return asked


def _normalise(
    group: dict[str, Any], version: versions.Version, where: str
) -> dict[str, str]:
    stored: dict[str, str] = {}
    for key, value in group.items():
        kind, name = key.split(":", 1)
        try:
            name, text = _KINDS[kind](name.strip(), value)
        except ValueError as error:
            raise exception.Invalid(f"{where}.{key}: {error}") from None
        key = f"{kind}:{name}"
        if key in stored:
            raise exception.Invalid(
                _("%(where)s: %(key)s is given twice.")
                % {"where": where, "key": key}
            )
        stored[key] = text
    _check_together(stored, version, where)
    return stored


def _custom(name: str) -> str:
    """Return a custom name as Placement takes it."""
    translated = name.upper().replace("-", "_")
    if (
        not _CUSTOM.fullmatch(translated)
        or len(translated) > _NAME_LENGTH
        # The capitals of some letters are ASCII: those of ß are SS.
        or not name.isascii()
    ):
        raise ValueError(
            _(
                "%s is not a custom name: CUSTOM_ and then letters, digits "
                "and underscores, at most 255 in all"
            )
            % name
        )
    return translated


def _resource(name: str, value: Any) -> tuple[str, str]:
    if name == "GPU":
        raise ValueError(
            _("Placement has no resource class GPU; use PGPU or VGPU")
        )
    if name not in constants.STANDARD_RESOURCE_CLASSES:
        name = _custom(name)
    amount = str(value).strip()
    # A fraction is a number to JSON, and a boolean an integer to Python.
    if (
        not isinstance(value, str | int)
        or isinstance(value, bool)
        or not common_groups.AMOUNT.fullmatch(amount)
        or int(amount) < 1
    ):
        raise ValueError(_("the amount has to be a whole number, 1 or more"))
    return name, str(int(amount))


def _trait(name: str, value: Any) -> tuple[str, str]:
    if value not in ("required", "forbidden"):
        raise ValueError(_("the value has to be required or forbidden"))
    return _custom(name), value


def _accel(name: str, value: Any) -> tuple[str, str]:
    return name, str(value)


_KINDS = {"resources": _resource, "trait": _trait, "accel": _accel}


def _check_together(
    group: dict[str, str], version: versions.Version, where: str
) -> None:
    """Check what the keys of a group mean to each other."""
    images = common_groups.image_keys(group)
    both_ids = {
        constants.ACCEL_BITSTREAM_ID,
        constants.ACCEL_FUNCTION_ID,
    } <= set(images)
    if both_ids or (version >= versions.STRICT and len(images) > 1):
        raise exception.Invalid(
            _("%(where)s: only one of %(keys)s can be given.")
            % {"where": where, "keys": ", ".join(sorted(images))}
        )
    resources = [
        key for key in group if key.startswith(constants.GROUP_RESOURCES)
    ]
    fpga = constants.GROUP_RESOURCES + constants.RC_FPGA
    if common_groups.wants_xilinx(group) and fpga not in group:
        raise exception.Invalid(
            _("%(where)s: trait:%(trait)s needs %(fpga)s.")
            % {"where": where, "trait": constants.XILINX_TRAIT, "fpga": fpga}
        )
    if version < versions.STRICT:
        return
    if not resources:
        raise exception.Invalid(
            _("%s: has no resources:, so it asks for nothing.") % where
        )
    for key in group:
        _check_accel(group, key, where)
    if group.get(_ATTACH_TARGET, "VM") != "VM":
        raise exception.Invalid(
            _("%(where)s.%(key)s: can only be VM.")
            % {"where": where, "key": _ATTACH_TARGET}
        )


def _check_accel(group: dict[str, str], key: str, where: str) -> None:
    """Check a key of what Nova leaves to us."""
    if not key.startswith(constants.GROUP_ACCEL) or key == _ATTACH_TARGET:
        return
    rule = None
    if not common_groups.is_image_key(key):
        rule = _("is not known; known are %s") % ", ".join(
            [*common_groups.IMAGE_KEYS, _ATTACH_TARGET]
        )
    elif key == constants.ACCEL_BITSTREAM_ID:
        if not uuidutils.is_uuid_like(group[key]):
            rule = _("has to be the uuid of an image")
    elif common_groups.is_flag(key):
        if group[key] != "required":
            rule = _("has to be required")
        elif key.startswith(constants.ACCEL_FUNCTION) and not (
            functions.is_function(key.removeprefix(constants.ACCEL_FUNCTION))
        ):
            rule = _("has to name a trait CUSTOM_FPGA_FUNCTION_<vendor>_<id>")
    elif not group[key]:
        rule = _("is empty")
    if rule is not None:
        raise exception.Invalid(f"{where}.{key}: {rule}.")
