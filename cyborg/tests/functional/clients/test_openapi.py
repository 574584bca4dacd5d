"""The API is what its OpenAPI document says, whatever is sent to it.

schemathesis makes requests from the document, valid and not, and checks every
answer against it. ``tools/run-schemathesis`` makes thousands.
"""

from collections.abc import Iterator
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from cyborg.api import openapi
from cyborg.api import versions
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.functional.clients import site as clients_site
from cyborg.tests.functional.faults import peers

# Cases per operation of a long run; unset for the short one.
VARIABLE = "CYBORG_TEST_SCHEMATHESIS"
LONG = int(os.environ.get(VARIABLE, "0"))

CHECKS = (
    "no_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
)

# What is refused for its size comes to no check of its form.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 405, 406, 409, 413, 415]
"""


@pytest.fixture
def url(tmp_path: pathlib.Path) -> Iterator[str]:
    """A cyborg-standalone, with an image service beside it."""
    glance = peers.Glance({"function": clients_site.IMAGE})
    glance.start()
    port = process.free_port()
    daemon = process.Process(
        "standalone",
        [
            *(sys.executable, "-m", "cyborg.cmd.standalone"),
            *("--state-dir", str(tmp_path / "state"), "--port", str(port)),
        ],
        tmp_path,
        {
            "OS_GLANCE__AUTH_TYPE": "none",
            "OS_GLANCE__ENDPOINT": glance.url,
            "OS_GLANCE__ENDPOINT_OVERRIDE": glance.url,
        },
        ready=lambda daemon: "Ctrl-C stops it." in daemon.log,
    )
    daemon.start()
    yield f"http://127.0.0.1:{port}/accelerator"
    daemon.terminate()
    glance.stop()


def document() -> dict[str, object]:
    """Return the document as it is for clients that need no token."""
    made = openapi.document()
    del made["security"]
    del made["components"]["securitySchemes"]
    return made


def test_answers_are_as_documented(tmp_path: pathlib.Path, url: str) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document()))
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    version = f"{versions.SERVICE_TYPE} {versions.MAXIMUM}"
    length = (
        ["--max-examples", str(LONG)]
        if LONG
        # The same requests each time, so that a failure is no surprise.
        else ["--phases=fuzzing", "--max-examples=4", "--seed=1"]
    )
    done = subprocess.run(
        [
            keystone_fixture.script("schemathesis"),
            *("--config-file", str(config), "run", str(path)),
            *("--url", url, "--header", f"{versions.HEADER}: {version}"),
            *("--checks", ",".join(CHECKS), "--continue-on-failure"),
            *("--suppress-health-check=all", "--warnings=off"),
            *length,
        ],
        cwd=tmp_path,
        env=process.environment(
            SCHEMATHESIS_HOOKS="cyborg.tests.fixtures.schemathesis_checks"
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None
    assert int(cases[1]) >= (2000 if LONG else 150)
