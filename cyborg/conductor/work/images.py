"""Finds the image in Glance that a request means, and checks that it fits."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import json
import re
from typing import Any

from oslo_log import log as logging

from cyborg.clients import bitstreams
from cyborg.clients import glance
from cyborg.common import boards
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _

LOG = logging.getLogger(__name__)

_REGION_TRAIT = "CUSTOM_FPGA_REGION_"
# Properties of images that have to be those of the card, where the card has
# an attribute of that name.
_TOLD = ("shell_id", "driver")


@dataclasses.dataclass(frozen=True)
class Card:
    """What of a card says which images fit.

    :ivar driver_name: the deployable's; None for the device as a whole
    :ivar attributes: pairs of key and value; an FPGA's region is a trait
    """

    vendor: str | None
    model: str | None
    std_board_info: str | None
    driver_name: str | None
    attributes: Sequence[tuple[str, str]] = ()

    @property
    def product(self) -> str | None:
        """The device id in hexadecimal: ``0b2b``; None if it is not told."""
        try:
            info = json.loads(self.std_board_info or "{}")
            return str(info["product_id"]).lower().removeprefix("0x")
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def traits(self) -> list[str]:
        return [
            value
            for key, value in self.attributes
            if key.startswith(constants.ATTR_TRAIT_PREFIX)
        ]


def find(
    wanted: dict[str, str], card: Card, project: str | None
) -> dict[str, Any]:
    """Return the description of the one image that is meant.

    See :func:`cyborg.clients.bitstreams.describe`.

    :param wanted: one of the members ``id``, ``name``, ``function_id``,
        ``function_name`` and ``function`` (a trait)
    :param card: says which of several images fit
    :param project: whom it is loaded for
    :raises ImageNotFound: there is none
    :raises ImageUnacceptable: it may not be loaded, is not active or not for
        this card, or several are left
    """
    if "id" in wanted:
        image = glance.get_image(wanted["id"])
    else:
        image = _search(wanted, card, project)
    return check(image, card, project)


def check(
    image: dict[str, Any], card: Card, project: str | None
) -> dict[str, Any]:
    """Return an image's description if it may be loaded into a card.

    :param image: Glance's record
    :raises ImageUnacceptable: it may not
    """
    refusal = bitstreams.refusal(image, project) or _misfit(image, card)
    if refusal is not None:
        raise exception.ImageUnacceptable(image=image["id"], reason=refusal)
    return bitstreams.describe(image)


def confirm(chosen: dict[str, Any], card: Card, project: str | None) -> None:
    """Pass if the image that was chosen is still what it was then.

    Between the choice and the load may be minutes, in which it can change
    hands or, where it was deleted, another one can take its place.

    :param chosen: what :func:`find` returned
    :raises ImageNotFound, ImageUnacceptable: it is not
    """
    image = glance.get_image(chosen["id"])
    check(image, card, project)
    bitstreams.check_same(chosen, image)


def matching(wanted: dict[str, str], project: str | None) -> set[str]:
    """Return the ids of all images that a request may mean.

    :raises GlanceConnectionFailed: Glance does not answer
    """
    if "id" in wanted:
        return {wanted["id"]}
    return {image["id"] for image in _candidates(wanted, project)}


def _candidates(
    wanted: dict[str, str], project: str | None
) -> list[dict[str, Any]]:
    """Return the images with what is wanted that the project may load."""

    def is_admitted(image: dict[str, Any]) -> bool:
        refusal = bitstreams.refusal(image, project)
        if refusal is not None:
            LOG.info("Image %s is passed over: %s", image["id"], refusal)
        return refusal is None

    return bitstreams.meant(wanted, is_admitted)


def _search(
    wanted: dict[str, str], card: Card, project: str | None
) -> dict[str, Any]:
    ((member, value),) = wanted.items()
    text = f"{member}={value}"
    found = _candidates(wanted, project)
    if not found:
        raise exception.ImageNotFound(image=text)
    tests: tuple[Callable[[dict[str, Any]], bool], ...] = (
        lambda image: bitstreams.TAG in image.get("tags", ()),
        lambda image: _misfit(image, card) is None,
        lambda image: image.get("status") == "active",
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
    return re.sub(r"[^a-z0-9]", "", text)


def _misfit(image: dict[str, Any], card: Card) -> str | None:
    """Say which property of an image rules the card out, or None."""
    vendor = image.get("vendor")
    if vendor is not None and _plain(vendor) not in (
        _plain(card.vendor),
        _plain(card.driver_name),
    ):
        return _("it is for vendor %s") % vendor
    board = image.get("board")
    if board is not None and not _is_board(str(board), card):
        return _("it is for board %(board)s, and the card is %(card)s") % {
            "board": board,
            "card": boards.shown(card.driver_name, card.product) or card.model,
        }
    region = image.get("region_uuid")
    if region is not None and not any(
        trait.startswith(_REGION_TRAIT)
        and _plain(trait).endswith(_plain(region))
        for trait in card.traits
    ):
        return _("it is for region %s") % region
    for name in _TOLD:
        told = [value for key, value in card.attributes if key == name]
        asked = image.get(name)
        if (
            asked is not None
            and told
            and _plain(asked) not in map(_plain, told)
        ):
            return _("it is for %(name)s %(asked)s, and not %(told)s") % {
                "name": name,
                "asked": asked,
                "told": ", ".join(told),
            }
    return None


def _is_board(board: str, card: Card) -> bool:
    return boards.is_called(board, card.driver_name, card.product) or _plain(
        board
    ) in _plain(f"{card.model} {card.std_board_info}")
