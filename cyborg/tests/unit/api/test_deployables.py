"""What a deployable shows while work on it ends."""

from typing import Any

from oslo_utils import timeutils
import pytest
import sqlalchemy as sa

from cyborg.db import deployable as deployable_db
from cyborg.db import models
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

UUID = records.uuid(1, "e")


def end_job(connection: sa.Connection) -> None:
    """Finish the job and store its image, as a conductor does: at once."""
    job, deployable = models.Job.__table__, models.Deployable.__table__
    connection.execute(
        sa.update(job).values(finished_at=timeutils.utcnow(), step="done")
    )
    connection.execute(
        sa.update(deployable)
        .where(deployable.c.uuid == UUID)
        .values(bitstream_id=api_fixture.IMAGE)
    )
    records.attribute(connection, 77, 1, "trait_function0", "CUSTOM_F")


@pytest.mark.parametrize("list_them", [False, True])
def test_what_is_done_shows(
    api: api_fixture.Api, monkeypatch: pytest.MonkeyPatch, list_them: bool
) -> None:
    """The job ends after the deployable was read, before its job is."""
    with api.writing() as connection:
        records.insert(
            connection,
            models.Job,
            uuid=records.uuid(1, "7"),
            kind="program",
            deployable_id=1,
            step="Loading",
            payload="{}",
            attempt=0,
        )
    name = "find" if list_them else "get"
    read = getattr(deployable_db, name)

    def read_just_before(*args: Any, **kwargs: Any) -> Any:
        rows = read(*args, **kwargs)
        with api.writing() as connection:
            end_job(connection)
        return rows

    monkeypatch.setattr(deployable_db, name, read_just_before)
    path = "/v2/deployables"
    if list_them:
        shown = api.get(path, version="2.6")["deployables"][0]
    else:
        shown = api.get(f"{path}/{UUID}", version="2.6")
    assert shown["last_job"]["state"] == "done"
    assert shown["bitstream_id"] == api_fixture.IMAGE
    assert {"trait_function0": "CUSTOM_F"} in shown["attributes"]
