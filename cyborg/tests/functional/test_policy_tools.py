"""The tools of oslo.policy, as operators run them."""

import json
import pathlib
import subprocess

import pytest
import yaml

from cyborg import policies
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import process

MEMBER = {
    "token": {
        "methods": ["password"],
        "user": {"id": "u", "domain": {"id": "default"}},
        "project": {"id": "p", "domain": {"id": "default"}},
        "roles": [
            {"id": "1", "name": "member"},
            {"id": "2", "name": "reader"},
        ],
    }
}


def run(directory: pathlib.Path, tool: str, *arguments: str) -> str:
    """Run a tool and return what it writes, with its status."""
    done = subprocess.run(
        [keystone_fixture.script(tool), *arguments],
        cwd=directory,
        env=process.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return f"{done.stdout}\nstatus {done.returncode}"


@pytest.fixture
def configured(tmp_path: pathlib.Path) -> list[str]:
    """The arguments that name a configuration whose rules are overridden."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        '"cyborg:device:get_all": "rule:project_manager_or_admin"\n'
        '"cyborg:device:get_one": "role:reader"\n'
    )
    config = tmp_path / "cyborg.conf"
    config.write_text(f"[oslo_policy]\npolicy_file = {policy}\n")
    return ["--namespace", "cyborg", "--config-file", str(config)]


def test_sample_has_every_rule(tmp_path: pathlib.Path) -> None:
    sample = tmp_path / "sample.yaml"
    told = run(
        tmp_path,
        "oslopolicy-sample-generator",
        *("--namespace", "cyborg.api", "--output-file", str(sample)),
    )
    assert "status 0" in told
    for rule in policies.list_rules():
        assert f'#"{rule.name}": ' in sample.read_text()


def test_what_is_redundant_and_what_is_unknown(
    tmp_path: pathlib.Path, configured: list[str]
) -> None:
    told = run(tmp_path, "oslopolicy-list-redundant", *configured)
    assert '"cyborg:device:get_all": ' in told
    assert '"cyborg:device:get_one": ' not in told
    assert "status 0" in run(tmp_path, "oslopolicy-validator", *configured)
    with (tmp_path / "policy.yaml").open("a") as file:
        file.write('"cyborg:devices:get_all": "role:reader"\n')
    told = run(tmp_path, "oslopolicy-validator", *configured)
    assert "cyborg:devices:get_all" in told
    assert "status 1" in told


def test_file_of_another_release_is_taken_over(
    tmp_path: pathlib.Path,
) -> None:
    old, new = tmp_path / "policy.yaml", tmp_path / "new.yaml"
    old.write_text('"cyborg:device:get_all": "role:reader"\n')
    told = run(
        tmp_path,
        "oslopolicy-policy-upgrade",
        *("--namespace", "cyborg.api", "--policy", str(old)),
        *("--output-file", str(new)),
    )
    assert "status 0" in told
    assert yaml.safe_load(new.read_text()) == {
        "cyborg:device:get_all": "role:reader"
    }


def test_what_a_user_may_do(
    tmp_path: pathlib.Path, configured: list[str]
) -> None:
    """All rules in force are written to a file, and tried on a token."""
    effective, access = tmp_path / "effective.yaml", tmp_path / "token.json"
    access.write_text(json.dumps(MEMBER))
    told = run(
        tmp_path,
        "oslopolicy-policy-generator",
        *configured,
        *("--output-file", str(effective)),
    )
    assert "status 0" in told
    told = run(
        tmp_path,
        "oslopolicy-checker",
        *("--policy", str(effective), "--access", str(access)),
    )
    assert "status 0" in told
    for verdict in (
        "passed: cyborg:arq:create",
        "passed: cyborg:device:get_one",
        "failed: cyborg:device:get_all",
        "failed: cyborg:service:get_all",
    ):
        assert verdict in told
