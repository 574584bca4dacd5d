"""What is told of what sensors see, and when.

What is wrong is told at once. That it is well again is told when it has been
so for ``[health] clear_after`` seconds, and for longer each time that it comes
back: a sensor that flaps a thousand times is told of a few times.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
from typing import Any

from cyborg.common import health

# Seconds after which it is forgotten that something was wrong.
_FORGET = 86400
# How often the time doubles at most.
_MOST_DOUBLINGS = 6


@dataclasses.dataclass
class _Held:
    """A sign of a card.

    :ivar text: what was read last
    :ivar bad_at: when it was seen last
    :ivar relapses: how often it came back
    :ivar is_unknown: its sensor cannot be read now
    :ivar told: what the conductor knows: None = nothing of it
    :ivar told_at: when it was told
    :ivar is_over: it is well, and has been for long enough
    """

    text: str
    bad_at: float
    relapses: int = 0
    is_unknown: bool = False
    told: list[Any] | None = None
    told_at: float = 0.0
    is_over: bool = False

    @property
    def state(self) -> list[Any]:
        return [self.text, self.is_unknown]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What has to be told.

    :ivar whole: it is all there is; what is not in it is well
    :ivar bad: ``{"place", "key", "text", "unknown"}`` of each
    :ivar well: ``{"place", "key"}`` of each
    """

    whole: bool
    bad: list[dict[str, Any]]
    well: list[dict[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.whole or self.bad or self.well)


class Damper:
    """Remembers what was seen, and what was told.

    :param kept: what :meth:`as_dict` returned before
    """

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        self._held: dict[tuple[str, str], _Held] = {}
        for item in (kept or {}).get("held", []):
            self._held[item["place"], item["key"]] = _Held(**item["held"])
        # What the conductor has, only it knows.
        self._whole = True

    def as_dict(self) -> dict[str, Any]:
        """Return what outlives the agent."""
        return {
            "held": [
                {"place": place, "key": key, "held": dataclasses.asdict(held)}
                for (place, key), held in sorted(self._held.items())
            ]
        }

    def see(self, place: str, key: str, text: str, now: float) -> None:
        """Note that a sign is there."""
        held = self._held.get((place, key))
        if held is None:
            self._held[place, key] = _Held(text, now)
            return
        if held.is_over:
            held.is_over = False
            held.relapses += 1
            if health.SIGNS[key].needs_reset:
                # It may have been cleared since.
                held.told = None
        held.text, held.bad_at, held.is_unknown = text, now, False

    def rest(
        self,
        place: str,
        keys: Collection[str],
        seen: Collection[str],
        clear_after: float,
        now: float,
    ) -> None:
        """Note that, of the signs of a sensor, these alone are there."""
        for key in keys:
            held = self._held.get((place, key))
            if held is None or key in seen:
                continue
            held.is_unknown = False
            quiet = clear_after * 2 ** min(held.relapses, _MOST_DOUBLINGS)
            needs_reset = health.SIGNS[key].needs_reset
            if now - held.bad_at >= quiet and (
                # What nobody knows yet is not over.
                held.told is not None or not needs_reset
            ):
                held.is_over = True
            if (
                held.is_over
                and now - held.bad_at >= quiet + _FORGET
                and (held.told is None or needs_reset)
            ):
                del self._held[place, key]

    def lose(self, place: str, keys: Collection[str]) -> None:
        """Note that a sensor cannot be read."""
        for key in keys:
            held = self._held.get((place, key))
            if held is not None and not held.is_over:
                held.is_unknown = True

    def keep_only(self, places: Collection[str]) -> None:
        """Forget cards that are no longer there."""
        for place, key in list(self._held):
            if place not in places:
                del self._held[place, key]

    def ask_again(self) -> None:
        """Have everything told with the next changes."""
        self._whole = True

    def changes(self, clear_after: float, now: float) -> Changes:
        """Return what the conductor does not know."""
        bad, well = [], []
        for (place, key), held in self._held.items():
            needs_reset = health.SIGNS[key].needs_reset
            if held.is_over:
                # That nothing more was heard of it does not make it well.
                if held.told is not None and not needs_reset:
                    well.append({"place": place, "key": key})
                continue
            if self._whole or self._is_news(held, clear_after, now):
                bad.append(
                    {
                        "place": place,
                        "key": key,
                        "text": held.text,
                        "unknown": held.is_unknown,
                    }
                )
        return Changes(self._whole, bad, well)

    def _is_news(self, held: _Held, clear_after: float, now: float) -> bool:
        if held.told is None or (held.is_unknown and not held.told[1]):
            return True
        # Numbers that go up and down are not worth a call each, and sensors
        # that come and go are not.
        return held.told != held.state and now - held.told_at >= clear_after

    def told(self, changes: Changes, now: float) -> None:
        """Note that the conductor knows it now."""
        self._whole = False
        for item in changes.bad:
            held = self._held[item["place"], item["key"]]
            held.told, held.told_at = held.state, now
        for item in changes.well:
            self._held[item["place"], item["key"]].told = None
