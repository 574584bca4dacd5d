"""cyborg-conductor as a process with workers."""

import os
import pathlib
import signal
import sys

from cyborg import context as cyborg_context
from cyborg.db import conductor as conductor_db
from cyborg.db import migration
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import process


def test_workers_are_conductors_and_are_replaced(
    tmp_path: pathlib.Path, transport_url: str
) -> None:
    with database.database("mysql") as url, database.configured(url):
        migration.create_schema()
        config = tmp_path / "cyborg.conf"
        config.write_text(
            f"[DEFAULT]\ntransport_url = {transport_url}\nhost = c1\n"
            f"[database]\nconnection = {url}\n"
            "[conductor]\nworkers = 2\n"
        )
        conductor = process.Process(
            "conductor",
            [
                *(sys.executable, "-m", "cyborg.cmd.conductor"),
                *("--config-file", str(config)),
            ],
            tmp_path,
            ready=lambda self: self.log.count("cyborg-conductor as c1") == 2,
        )
        conductor.start()
        try:
            path = f"/proc/{conductor.pid}/task/{conductor.pid}/children"
            first, second = pathlib.Path(path).read_text().split()
            os.kill(int(first), signal.SIGKILL)
            process.wait_until(
                lambda: conductor.log.count("cyborg-conductor as c1") == 3,
                "a new worker",
            )
            now = pathlib.Path(path).read_text().split()
            assert len(now) == 2
            assert second in now
            # They are one to whoever looks for conductors.
            context = cyborg_context.get_admin_context()
            assert conductor_db.is_first(context, "c1", 60)
        finally:
            status = conductor.terminate(60)
        assert status == 0
