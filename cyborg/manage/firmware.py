"""Gives many devices new firmware."""

import time
from typing import Any

from cyborg import manage
from cyborg.conductor.work import campaigns
from cyborg.context import RequestContext
from cyborg.manage import output

COLUMNS = ("uuid", "hostname", "type", "model", "phase", "reason")


def campaign(
    context: RequestContext,
    wanted: campaigns.Campaign,
    use_json: bool,
    interval: float | None,
    again: bool = False,
) -> int:
    """Go on with a campaign until it is over; returns whether all is done.

    :param interval: seconds between two looks; None = look once
    :param again: begin again with those that failed
    """
    if again:
        campaigns.retry(context, wanted)
    found = campaigns.advance(context, wanted)
    while interval is not None and not campaigns.is_over(found):
        time.sleep(interval)
        found = campaigns.advance(context, wanted)
    output.table(COLUMNS, [_row(each) for each in found], use_json)
    is_done = all(each.phase == campaigns.Phase.DONE for each in found)
    return manage.CLEAN if is_done else manage.FINDINGS


def _row(progress: campaigns.Progress) -> dict[str, Any]:
    device = progress.device
    return {
        "uuid": device.uuid,
        "hostname": device.hostname,
        "type": device.type,
        "model": device.model,
        "phase": progress.phase.value,
        "reason": progress.reason,
    }
