"""What an operator is told when Placement could not be."""

import pytest

from cyborg import context
from cyborg.common import exception
from cyborg.conductor.inventory import devices
from cyborg.conductor.placement import sync

CONTEXT = context.RequestContext(overwrite=False)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wish is stored: a device with the deployables 1 and 2."""
    monkeypatch.setattr(
        devices, "_store_status", lambda *arguments: ("cn1", {1, 2})
    )


@pytest.mark.parametrize(
    ("errors", "refused"),
    [
        ({}, False),
        ({7: "another device's provider has another parent"}, False),
        ({2: "its provider has another parent"}, True),
    ],
)
def test_only_this_devices_troubles_are_told(
    stored: None,
    monkeypatch: pytest.MonkeyPatch,
    errors: dict[int, str],
    refused: bool,
) -> None:
    monkeypatch.setattr(
        sync, "sync_host", lambda *arguments, **options: errors
    )
    if not refused:
        devices.set_status(CONTEXT, "uuid", "maintaining", None)
        return
    with pytest.raises(
        exception.PlacementUnavailable, match=r"stored, .* another parent"
    ):
        devices.set_status(CONTEXT, "uuid", "maintaining", None)


def test_placement_that_is_away_is_no_failure_of_the_wish(
    stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise exception.PlacementUnavailable(reason="refused")

    monkeypatch.setattr(sync, "sync_host", away)
    with pytest.raises(exception.PlacementUnavailable, match="is stored"):
        devices.set_status(CONTEXT, "uuid", "enabled", None)
