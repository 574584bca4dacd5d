"""One site for the run; every storm goes over the same one."""

import collections
from collections.abc import Iterator
import sys

import pytest

from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import site as site_module


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[site_module.Site]:
    made = site_module.Site(tmp_path_factory.mktemp("faults"))
    try:
        made.start()
        api = clients.Api(made, [])
        for name, (group, _host) in clients.PROFILES.items():
            status, body = api.call(
                "POST", "/device_profiles", [{"name": name, "groups": [group]}]
            )
            assert status == 201, body
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def storms() -> Iterator[collections.Counter[str]]:
    """Counts of all storms of the run; shown at its end."""
    counts: collections.Counter[str] = collections.Counter()
    yield counts
    for kind in ("operation", "fault"):
        found = {
            name.partition(" ")[2]: n
            for name, n in sorted(counts.items())
            if name.startswith(f"{kind} ")
        }
        counts[f"{kind}s"] = sum(found.values())
        sys.stderr.write(f"\n{kind}s: {found}")
    sys.stderr.write(
        "\nstorms: {seeds} seeds, {operations} operations, {faults} faults, "
        "{violations} violations\n".format_map(counts)
    )
