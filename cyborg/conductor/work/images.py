"""Finds the image in Glance that a request means, and checks that it fits."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from cyborg.clients import glance
from cyborg.common import exception
from cyborg.common.i18n import _

# Members of a request's image: properties of images that are asked for, in
# turn, until one has matches.
_PROPERTIES = {
    "function_id": ("accel:function_id", "function_uuid"),
    "function_name": ("function_name",),
    "name": ("name",),
}
_TAG = "FPGA"
_REGION_TRAIT = "CUSTOM_FPGA_REGION_"


def find(
    wanted: dict[str, str], target: Any, traits: Collection[str]
) -> dict[str, Any]:
    """Return the description of the one image that is meant.

    ``{"id", "size", "hash_algo", "hash_value", "function_id"}``

    :param wanted: one of the members ``id``, ``name``, ``function_id`` and
        ``function_name``
    :param target: a row of :func:`cyborg.db.job.target`; its device and
        deployable say which of several images fit
    :param traits: of the deployable; an FPGA's region is one of them
    :raises ImageNotFound: there is none
    :raises ImageUnacceptable: it is not active or not for this card, or
        several are left
    """
    if "id" in wanted:
        image = glance.get_image(wanted["id"])
    else:
        image = _search(wanted, target, traits)
    _check(image, target, traits)
    return {
        "id": image["id"],
        "size": image.get("size"),
        "hash_algo": image.get("os_hash_algo") or "md5",
        "hash_value": image.get("os_hash_value") or image.get("checksum"),
        "function_id": image.get("accel:function_id")
        or image.get("function_uuid"),
    }


def _search(
    wanted: dict[str, str], target: Any, traits: Collection[str]
) -> dict[str, Any]:
    ((member, value),) = wanted.items()
    found: Sequence[dict[str, Any]] = []
    for name in _PROPERTIES[member]:
        found = glance.find_images(**{name: value})
        if found:
            break
    text = f"{member}={value}"
    if not found:
        raise exception.ImageNotFound(image=text)
    tests = (
        lambda image: _TAG in image.get("tags", ()),
        lambda image: _misfit(image, target, traits) is None,
    )
    for test in tests:
        if len(found) > 1:
            found = [image for image in found if test(image)] or found
    if len(found) > 1:
        raise exception.ImageUnacceptable(
            image=text,
            reason=_("%d images match, and nothing tells them apart")
            % len(found),
        )
    return found[0]


def _plain(value: Any) -> str:
    """Return a text without what is written now so, now otherwise."""
    text = str(value).lower().removeprefix("0x")
    return text.replace("-", "").replace("_", "")


def _misfit(
    image: dict[str, Any], target: Any, traits: Collection[str]
) -> str | None:
    """Say which property of an image rules the card out, or None."""
    vendor = image.get("vendor")
    if vendor is not None and _plain(vendor) not in (
        _plain(target.device_vendor),
        _plain(target.deployable_driver_name),
    ):
        return _("it is for vendor %s") % vendor
    board = image.get("board")
    if board is not None and _plain(board) not in _plain(
        f"{target.device_model} {target.device_std_board_info}"
    ):
        return _("it is for board %s") % board
    region = image.get("region_uuid")
    if region is not None and not any(
        trait.startswith(_REGION_TRAIT)
        and _plain(trait).endswith(_plain(region))
        for trait in traits
    ):
        return _("it is for region %s") % region
    return None


def _check(
    image: dict[str, Any], target: Any, traits: Collection[str]
) -> None:
    if image.get("status") != "active":
        raise exception.ImageUnacceptable(
            image=image["id"],
            reason=_("its status is %s, not active") % image.get("status"),
        )
    misfit = _misfit(image, target, traits)
    if misfit is not None:
        raise exception.ImageUnacceptable(image=image["id"], reason=misfit)
