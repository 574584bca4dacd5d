"""Profiles that ask for what no provider has."""

import json

from oslo_utils import uuidutils
import pytest
import sqlalchemy as sa

from cyborg import manage
from cyborg.db import engine
from cyborg.db import models
from cyborg.manage import profile
from cyborg.tests.functional.placement.site import Site


def _store(site: Site, name: str, **group: str) -> None:
    groups = [{key.replace("_", ":", 1): v for key, v in group.items()}]
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.insert(models.DeviceProfile).values(
                uuid=uuidutils.generate_uuid(),
                name=name,
                profile_json=json.dumps({"groups": groups}),
            )
        )


def test_profiles_that_nobody_can_fulfil(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.host.add_card("x", rc="CUSTOM_THERE", traits=("CUSTOM_HAD",))
    site.sync()
    _store(
        site, "good", resources_CUSTOM_THERE="1", trait_CUSTOM_HAD="required"
    )
    # What may not be there need not be there.
    _store(site, "without", resources_PGPU="1", trait_CUSTOM_NO="forbidden")
    assert profile.check(site.host.context, False) == manage.CLEAN
    capsys.readouterr()
    _store(
        site,
        "old",
        resources_PGPU="1",
        trait_CUSTOM_GPU_NVIDIA="required",
        trait_CUSTOM_GPU_PRODUCT_ID_2BB5="required",
    )
    _store(site, "odd", resources_CUSTOM_NOWHERE="2")
    assert profile.check(site.host.context, True) == manage.FINDINGS
    assert json.loads(capsys.readouterr().out) == {
        "old": ["CUSTOM_GPU_NVIDIA", "CUSTOM_GPU_PRODUCT_ID_2BB5"],
        "odd": ["CUSTOM_NOWHERE"],
    }
