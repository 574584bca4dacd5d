"""One site for all faults; every storm goes over the same one."""

import collections
from collections.abc import Iterator

import pytest

from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import site as site_module


# Not for the rest of the run: idle daemons keep a processor half busy.
@pytest.fixture(scope="package")
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


# Counts of all storms of the run.
_STORMS: collections.Counter[str] = collections.Counter()


@pytest.fixture
def storms() -> collections.Counter[str]:
    """Where a storm adds what it did; shown at the end of the run."""
    return _STORMS


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> None:
    if not _STORMS:
        return
    for kind in ("operation", "fault"):
        found = {
            name.partition(" ")[2]: n
            for name, n in sorted(_STORMS.items())
            if name.startswith(f"{kind} ")
        }
        _STORMS[f"{kind}s"] = sum(found.values())
        terminalreporter.write_line(f"{kind}s: {found}")
    terminalreporter.write_line(
        "storms: {seeds} seeds, {operations} operations, {faults} faults, "
        "{violations} violations".format_map(_STORMS)
    )
