"""cyborg-status topology reads every engine with a query for each table."""

import json
import pathlib
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.cmd import status
from cyborg.common import exception
from cyborg.db import migration
from cyborg.db import models
from cyborg.db import topology as topology_db
from cyborg.manage import topology
from cyborg.tests.fixtures import records

CONTEXT = cyborg_context.get_admin_context()


@pytest.fixture
def stored(cyborg_db: sa.Engine) -> sa.Engine:
    """Two hosts, each with a card and a handle; the first one's is held."""
    with cyborg_db.begin() as connection:
        profile = records.device_profile(
            connection, 1, "one", [{"resources:FPGA": "1"}]
        )
        for number in (1, 2):
            host = f"cn{number}"
            records.insert(
                connection,
                models.Host,
                uuid=records.uuid(number, "6"),
                hostname=host,
                forced_down=number == 2,
                sync_wanted=0,
                sync_done=0,
                sync_attempts=0,
            )
            device = records.device(connection, number, hostname=host)
            deployable = records.deployable(connection, number, device)
            records.attribute(connection, number, deployable, "rc", "FPGA")
            records.attribute(
                connection, 10 + number, deployable, "trait0", "CUSTOM_A"
            )
            handle = records.attach_handle(
                connection, number, device, deployable, in_use=number == 1
            )
            values: dict[str, Any] = {}
            if number == 1:
                values = {"attach_handle_id": handle, "state": "Bound"}
            records.insert(
                connection,
                models.ARQ,
                **{
                    "uuid": records.uuid(number),
                    "project_id": "p1",
                    "state": "Initial",
                    "device_profile_id": profile,
                    "device_profile_group_id": 0,
                    "substate": "Initial",
                }
                | values,
            )
    return cyborg_db


def test_all_hosts_and_one(
    stored: sa.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert topology.show(CONTEXT, None, True, None) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["summary"] == {
        "hosts": 2,
        "devices": 2,
        "deployables": 2,
        "handles": 2,
        "in_use": 1,
        # An agent that was never seen, and one that is forced down.
        "problems": 2,
    }
    (held,) = tree["hosts"][0]["devices"][0]["deployables"]
    assert held["resource_class"] == "FPGA"
    assert held["handles"][0]["request"] == {
        "uuid": records.uuid(1),
        "state": "Bound",
        "instance": None,
        "project": "p1",
    }
    topology.show(CONTEXT, "cn2", True, None)
    (host,) = json.loads(capsys.readouterr().out)["hosts"]
    assert host == tree["hosts"][1]
    with pytest.raises(exception.HostNotFound):
        topology.show(CONTEXT, "cn3", False, None)


def test_statements(stored: sa.Engine) -> None:
    statements = []

    @sa.event.listens_for(stored, "before_cursor_execute")
    def count(*args: Any) -> None:
        if args[2].startswith("SELECT"):
            statements.append(args[2])

    for hostname in (None, "cn1"):
        statements.clear()
        topology_db.load(CONTEXT, hostname)
        assert len(statements) == 8


def test_command(
    sqlite_db: sa.Engine,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: str) -> int:
        status.CONF.reset()
        try:
            return status.main(
                ["--config-file", str(config), "topology", *arguments]
            )
        finally:
            status.CONF.reset()
            status.CONF.unregister_opt(status.COMMAND)

    config = tmp_path / "cyborg.conf"
    config.write_text(
        f"[database]\nconnection = {sqlite_db.url.render_as_string(False)}\n"
    )
    assert run() == 2
    assert "has no tables" in capsys.readouterr().err
    migration.create_schema()
    assert run() == 0
    assert capsys.readouterr().out.startswith("0 hosts, 0 devices")
    assert run("--host", "cn9") == 2
    assert "cn9" in capsys.readouterr().err
    page = tmp_path / "page.html"
    assert run("--html", str(page)) == 0
    assert capsys.readouterr().out.startswith(f"Wrote {page}: 0 hosts")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert run("--html", str(tmp_path / "none" / "page.html")) == 2
    assert "No such file" in capsys.readouterr().err
