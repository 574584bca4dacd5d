"""Storms: random work under random faults, and nothing may be lost.

``CYBORG_FAULT_SEEDS`` says how many seeds to run (default 2), as a number or
as a range ``100-199``; ``CYBORG_FAULT_SECONDS`` how long each (default 6).
"""

import os
import sys

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
def test_storm(seed: int, site: site_module.Site) -> None:
    storm = storm_module.Storm(site, seed)
    storm.run(float(os.environ.get("CYBORG_FAULT_SECONDS", "6")))
    violations = check.after(storm)
    print(
        f"seed {seed}: {storm.operations} operations, "
        f"{sum(storm.faults.values())} faults {dict(storm.faults)}, "
        f"{len(violations)} violations",
        file=sys.stderr,
    )
    path = site.directory / f"history-{seed}.txt"
    path.write_text("\n".join(storm.history))
    assert not violations, f"{violations}\nsee {path}"
