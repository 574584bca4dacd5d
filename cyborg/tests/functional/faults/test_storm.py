"""Storms: random work under random faults, and nothing may be lost.

``CYBORG_FAULT_SEEDS`` says how many seeds to run (default 2), as a number or
as a range ``100-199``, and so which: ``17-17`` replays seed 17.
``CYBORG_FAULT_SECONDS`` says how long each runs (default 6).

A seed that fails leaves ``history-<seed>.txt`` in the site's directory: what
was asked for and answered, and each fault, in order. The same seed asks for
the same again; the machine's timing is not in its hands.
"""

import collections
import os

import pytest

from cyborg.tests.functional.faults import check
from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults import storm as storm_module


def _seeds() -> list[int]:
    text = os.environ.get("CYBORG_FAULT_SEEDS", "2")
    first, _, last = text.rpartition("-")
    if first:
        return list(range(int(first), int(last) + 1))
    return list(range(1, int(text) + 1))


@pytest.mark.parametrize("seed", _seeds())
def test_storm(
    seed: int, site: site_module.Site, storms: collections.Counter[str]
) -> None:
    storm = storm_module.Storm(site, seed)
    violations: list[str] = []
    try:
        storm.run(float(os.environ.get("CYBORG_FAULT_SECONDS", "6")))
        violations = check.after(storm.cloud)
    finally:
        path = site.directory / f"history-{seed}.txt"
        lines = storm.cloud.history + [f"VIOLATED {v}" for v in violations]
        path.write_text("\n".join(lines))
    storms["seeds"] += 1
    storms["violations"] += len(violations)
    for name, n in storm.operations.items():
        storms[f"operation {name}"] += n
    for name, n in storm.faults.items():
        storms[f"fault {name}"] += n
    assert not violations, (
        f"{violations}\nsee {path}; CYBORG_FAULT_SEEDS={seed}-{seed} again"
    )
