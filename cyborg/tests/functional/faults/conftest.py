"""One site for the run; every storm goes over the same one."""

from collections.abc import Iterator

import pytest

from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults import storm as storm_module


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[site_module.Site]:
    made = site_module.Site(tmp_path_factory.mktemp("faults"))
    try:
        made.start()
        api = storm_module.Api(made, [])
        for name, (group, _host) in storm_module.PROFILES.items():
            status, body = api.call(
                "POST", "/device_profiles", [{"name": name, "groups": [group]}]
            )
            assert status == 201, body
        yield made
    finally:
        made.stop()
