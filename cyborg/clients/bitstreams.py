"""Which images may be loaded, whatever Glance shows the service user.

For an accelerator request, or an administrator, of a project these are

* public images,
* those of the projects of ``[glance] bitstream_projects``,
* and those that belong to the project or that it took when they were shared
  with it, if they are shown to the service user as well: community images,
  and those that were shared with the service user's project, which took them.

A service user that is an administrator sees all images of the cloud. Without
these rules anybody's private image could take the place of the one meant.
"""

from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from cyborg.clients import glance
from cyborg.common import exception
from cyborg.common import functions
from cyborg.common.i18n import _

CONF = cfg.CONF

# An image that is a bitstream has it.
TAG = "FPGA"
# Properties that may hold the id of an image's function.
_FUNCTION_IDS = ("accel:function_id", "function_uuid")
# Members of a request's image: properties of images that are asked for, in
# turn, until one has matches.
_PROPERTIES = {
    "function_id": _FUNCTION_IDS,
    "function_name": ("function_name",),
    "name": ("name",),
}


def trusted_projects() -> frozenset[str]:
    """Return the projects whose images are loaded for everybody.

    :raises GlanceConnectionFailed: Keystone does not answer
    """
    named = CONF.glance.bitstream_projects
    if named:
        return frozenset(named)
    own = glance.own_project()
    return frozenset() if own is None else frozenset([own])


def refusal(image: dict[str, Any], project: str | None) -> str | None:
    """Say why an image is not loaded for a project, or None.

    :param image: Glance's record
    :param project: None = it has to be one that is loaded for everybody
    :raises GlanceConnectionFailed: Glance or Keystone does not answer
    """
    visibility, owner = image.get("visibility"), image.get("owner")
    if visibility == "public" or (owner and owner in trusted_projects()):
        return None
    if project is not None and _is_for(image, project):
        return None
    return _(
        "it is %(visibility)s, and belongs to project %(owner)s, which "
        "[glance] bitstream_projects does not name"
    ) % {"visibility": visibility or _("not public"), "owner": owner}


def meant(
    wanted: dict[str, str],
    admits: Callable[[dict[str, Any]], bool] = lambda image: True,
) -> list[dict[str, Any]]:
    """Return the images that are described so and that ``admits`` admits.

    :param wanted: one of the members ``name``, ``function_id``,
        ``function_name`` and ``function``, which is the trait of one
    :raises GlanceConnectionFailed: Glance does not answer
    """
    ((member, value),) = wanted.items()
    if member == "function":
        # Glance compares texts, and the id has another form in a trait.
        return [
            image
            for image in glance.find_images(tag=TAG)
            if functions.is_named(value, function_id(image)) and admits(image)
        ]
    for name in _PROPERTIES[member]:
        found = list(filter(admits, glance.find_images(**{name: value})))
        if found:
            return found
    return []


def _is_for(image: dict[str, Any], project: str) -> bool:
    """Tell whether a project shows the service user one of its images."""
    is_owner = image.get("owner") == project
    if image.get("visibility") == "community":
        return is_owner
    if image.get("visibility") != "shared":
        return False
    own = glance.own_project()
    members = glance.accepted_members(image["id"])
    return own in members and (is_owner or project in members)


def describe(image: dict[str, Any]) -> dict[str, Any]:
    """Turn Glance's record into what agents are called with.

    ``{"id", "owner", "size", "hash_algo", "hash_value", "function_id"}``;
    all but the id may be None.

    :raises ImageUnacceptable: the image has no data
    """
    if image.get("status") != "active":
        raise exception.ImageUnacceptable(
            image=image["id"],
            reason=_("its status is %s, not active") % image.get("status"),
        )
    algorithm, value = image.get("os_hash_algo"), image.get("os_hash_value")
    if not value and image.get("checksum"):
        algorithm, value = "md5", image["checksum"]
    return {
        "id": image["id"],
        "owner": image.get("owner"),
        "size": image.get("size"),
        "hash_algo": algorithm,
        "hash_value": value,
        "function_id": function_id(image),
    }


def function_id(image: dict[str, Any]) -> str | None:
    """Return the id of the function that an image has, or None."""
    return next(
        (str(image[name]) for name in _FUNCTION_IDS if image.get(name)), None
    )


def check_same(expected: dict[str, Any], image: dict[str, Any]) -> None:
    """Pass if an image is still the one that was chosen.

    :param expected: what :func:`describe` returned when it was
    :param image: Glance's record now
    :raises ImageUnacceptable: it is somebody else's, or has other data
    """
    now = describe(image)
    for name, what in (
        ("owner", _("owner")),
        ("hash_algo", _("hash")),
        ("hash_value", _("hash")),
    ):
        if now[name] != expected[name]:
            raise exception.ImageUnacceptable(
                image=image["id"],
                reason=_("its %s has changed since it was chosen") % what,
            )
