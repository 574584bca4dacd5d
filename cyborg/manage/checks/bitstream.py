"""Which images and profiles do the rules for bitstreams refuse?"""

from collections.abc import Iterable
import json
from typing import Any

import sqlalchemy as sa

from cyborg.clients import bitstreams
from cyborg.clients import glance
from cyborg.common import exception
from cyborg.common import groups
from cyborg.manage.checks import base


class BitstreamChecks(base.Checks):
    """Look at what FPGAs are loaded with."""

    @base.on_database
    def bitstreams(self, connection: sa.Connection) -> base.Result:
        """Can all images be loaded that could be before?"""
        asking = _asking(connection)
        fpgas = "SELECT 1 FROM devices WHERE type = 'FPGA'"
        if not asking and not connection.execute(sa.text(fpgas)).first():
            return base.Result(
                base.Code.SUCCESS, "There is no FPGA, and no profile for one."
            )
        try:
            return _look(asking)
        except exception.CyborgException as error:
            return base.Result(
                base.Code.WARNING, f"Not checked: {error.faultstring}"
            )


def _asking(connection: sa.Connection) -> list[tuple[str, dict[str, str]]]:
    """Return names of profiles, with each image that they ask for."""
    found = []
    for name, text in connection.execute(
        sa.text("SELECT name, profile_json FROM device_profiles ORDER BY id")
    ):
        for group in json.loads(text).get("groups", []):
            try:
                image = groups.image(group)
            except exception.Invalid:
                # It could never be bound.
                continue
            if image is not None:
                found.append((name, image))
    return found


def _look(asking: Iterable[tuple[str, dict[str, str]]]) -> base.Result:
    refused = {
        image["id"]: image
        for image in _refused(glance.find_images(tag=bitstreams.TAG))
    }
    profiles: dict[str, str] = {}
    for name, wanted in asking:
        meant = _meant(wanted)
        others = {image["id"]: image for image in _refused(meant)}
        refused |= others
        ((member, value),) = wanted.items()
        if len(others) == len(meant):
            what = "refused" if meant else "not to be found"
            profiles[name] = f"{name} (image {member}={value} is {what})"
    if not refused and not profiles:
        return base.Result(base.Code.SUCCESS)
    details = []
    if refused:
        owners = {str(image.get("owner")) for image in refused.values()}
        keep = ",".join(sorted(owners | bitstreams.trusted_projects()))
        # All of them: each has to be decided about.
        shown = ", ".join(
            f"{id_} (of project {image.get('owner')}, "
            f"{image.get('visibility')})"
            for id_, image in sorted(refused.items())
        )
        details.append(
            f"Images that are not loaded for every project: {shown}. If "
            "their owners are trusted with everybody's FPGAs, set [glance] "
            f"bitstream_projects = {keep} on the controllers, or make the "
            "images public."
        )
    if profiles:
        details.append(
            "Device profiles that cannot be bound: "
            f"{', '.join(profiles.values())}."
        )
    return base.Result(base.Code.WARNING, " ".join(details))


def _refused(images: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        image
        for image in images
        if bitstreams.refusal(image, None) is not None
    ]


def _meant(wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Return the images that a request may mean, whosever they are."""
    if "id" not in wanted:
        return bitstreams.meant(wanted)
    try:
        return [glance.get_image(wanted["id"])]
    except (
        exception.ImageNotFound,
        exception.ImageNotAuthorized,
        exception.ImageBadRequest,
    ):
        return []
