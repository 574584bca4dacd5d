"""The cloud that the clients of a module meet."""

from collections.abc import Iterator

import pytest

from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.functional.clients import site as clients_site


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    _nova: nova_events.NovaEvents,
) -> Iterator[clients_site.Site]:
    """A cloud with a compute host whose fake device is published."""
    with clients_site.running(
        tmp_path_factory.mktemp("clients"), keystone, placement, _nova
    ) as made:
        yield made
