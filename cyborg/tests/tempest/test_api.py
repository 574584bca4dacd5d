"""The API tests of cyborg-tempest-plugin.

Its scenario tests boot servers: they need a Nova with a hypervisor, and are
for DevStack.
"""

from collections.abc import Iterator
import pathlib
import re
import subprocess
import sys

import pytest

from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.functional.clients import site as clients_site

REGEX = r"cyborg_tempest_plugin\.tests\.api"

CONFIG = """
[DEFAULT]
log_file = {directory}/tempest.log
[oslo_concurrency]
lock_path = {directory}/locks
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
[identity]
uri_v3 = {keystone}
auth_version = v3
region = {region}
v3_endpoint_type = public
[service_available]
cyborg = true
cinder = false
glance = false
neutron = false
nova = false
swift = false
[cyborg_policy]
enforce_new_defaults = {new_defaults}
"""


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    _nova: nova_events.NovaEvents,
) -> Iterator[clients_site.Site]:
    with clients_site.running(
        tmp_path_factory.mktemp("tempest"), keystone, placement, _nova
    ) as made:
        yield made


# Without the new defaults the plugin acts as administrator nearly always, and
# skips the classes about other roles. Ours has the new defaults only, and
# admits both.
@pytest.mark.parametrize(
    ("new_defaults", "least"), [("true", 42), ("false", 33)]
)
def test_plugin(
    site: clients_site.Site,
    tmp_path: pathlib.Path,
    new_defaults: str,
    least: int,
) -> None:
    config = tmp_path / "tempest.conf"
    config.write_text(
        CONFIG.format(
            directory=tmp_path,
            keystone=site.cloud.keystone.url,
            password=keystone_fixture.PASSWORD,
            region=keystone_fixture.REGION,
            new_defaults=new_defaults,
        )
    )
    done = subprocess.run(
        [
            *(keystone_fixture.script("tempest"), "run"),
            *("--config-file", str(config), "--regex", REGEX),
            # Keystone's SQLite does not take users made at the same time.
            "--serial",
        ],
        cwd=tmp_path,
        env=process.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0
    counts = dict(re.findall(r"^ - (\w+): (\d+)$", done.stdout, re.MULTILINE))
    assert int(counts["Failed"]) == 0
    assert int(counts["Passed"]) >= least
