"""What Grenade runs: stop the old Cyborg, start the new one, look after it."""

import json
import pathlib
import subprocess

import pytest

from cyborg.tests.unit.devstack import test_plugin

UPGRADE = test_plugin.PLUGIN / "upgrade"

GRENADE = """
for _name in register_project_for_upgrade register_db_to_save \\
    devstack_localrc ensure_services_started ensure_services_stopped \\
    resource_save; do
    eval "function $_name { _said $_name \\"\\$@\\"; }"
done
function resource_get { echo uuid-of-$2; }
"""
FAKE_COMMAND = """#!/bin/sh
echo "{name}\t$*" >>{said}
exit ${{{name}_exit:-0}}
"""


class Grenade(test_plugin.DevStack):
    """Runs the scripts as Grenade does, with DevStack's files replaced."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        devstack = directory / "devstack"
        for name in (
            "functions",
            "stackrc",
            "lib/tls",
            "lib/apache",
            "lib/keystone",
            "openrc",
            "grenaderc",
        ):
            path = devstack / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        (devstack / "functions").write_text(
            f'source "{test_plugin.FUNCTIONS}"\n{GRENADE}\n'
            'function openstack { _said openstack "$@"; '
            'echo "${OPENSTACK_ANSWER:-}"; [[ -z ${OPENSTACK_FAILS:-} ]]; }\n'
        )
        binaries = directory / "bin"
        binaries.mkdir()
        for name in ("status", "dbsync"):
            script = binaries / f"cyborg-{name}"
            script.write_text(FAKE_COMMAND.format(name=name, said=self.said))
            script.chmod(0o755)
        self.settings |= {
            "GRENADE_DIR": str(devstack),
            "BASE_DEVSTACK_DIR": str(devstack),
            "TARGET_DEVSTACK_DIR": str(devstack),
            "TOP_DIR": str(devstack),
            "CYBORG_BIN_DIR": str(binaries),
            "CYBORG_USE_UWSGI": "False",
        }

    def script(self, *words: str, **settings: str) -> int:
        self.said.write_text("")
        return subprocess.run(
            ["bash", str(UPGRADE / words[0]), *words[1:]],
            env=self.settings | settings,
            cwd=self.directory,
            capture_output=True,
            timeout=30,
        ).returncode

    def did(self, *names: str) -> list[list[str]]:
        return test_plugin.named(self.calls(), *names)


@pytest.fixture
def grenade(tmp_path: pathlib.Path) -> Grenade:
    return Grenade(tmp_path)


def test_settings(grenade: Grenade) -> None:
    ended = grenade.run(f'{GRENADE}\nsource "{UPGRADE}/settings"')
    assert ended.returncode == 0, ended.stderr
    services = test_plugin.CYBORG.split(",")
    assert grenade.calls()[1:-1] == [
        ["register_project_for_upgrade", "cyborg"],
        ["register_db_to_save", "cyborg"],
        ["devstack_localrc", "base", "enable_service", *services],
        ["devstack_localrc", "target", "enable_service", *services],
    ]


def test_shutdown(grenade: Grenade) -> None:
    assert grenade.script("shutdown.sh") == 0
    services = ["cyborg-api", "cyborg-cond", "cyborg-agent"]
    assert grenade.calls()[1:-1] == [
        *(["stop_process", service] for service in services),
        ["ensure_services_stopped", *services],
    ]


@pytest.mark.parametrize("warnings", ["0", "1"])
def test_upgrade(grenade: Grenade, warnings: str) -> None:
    assert grenade.script("upgrade.sh", status_exit=warnings) == 0
    conf = f"--config-file {grenade.conf_dir}/cyborg.conf"
    calls = grenade.did(
        "setup_develop",
        "status",
        "dbsync",
        "run_process",
        "recreate_database",
        "ensure_services_started",
    )
    assert calls[:3] == [
        ["setup_develop", str(test_plugin.TREE)],
        ["status", f"{conf} upgrade check"],
        ["dbsync", f"{conf} upgrade"],
    ]
    assert [call[:2] for call in calls[3:6]] == [
        ["run_process", "cyborg-cond"],
        ["run_process", "cyborg-api"],
        ["run_process", "cyborg-agent"],
    ]
    assert calls[6:] == [
        [
            "ensure_services_started",
            "cyborg-api",
            "cyborg-cond",
            "cyborg-agent",
        ]
    ]


@pytest.mark.parametrize(
    "failure", [{"status_exit": "2"}, {"dbsync_exit": "1"}]
)
def test_upgrade_stops_at_a_failure(
    grenade: Grenade, failure: dict[str, str]
) -> None:
    assert grenade.script("upgrade.sh", **failure) != 0
    assert grenade.did("run_process") == []


def test_upgrade_of_a_compute_node_leaves_the_schema(
    grenade: Grenade,
) -> None:
    services = "nova,n-cpu,cyborg,cyborg-agent"
    assert grenade.script("upgrade.sh", ENABLED_SERVICES=services) == 0
    assert grenade.did("dbsync") == []
    assert grenade.did("ensure_services_started") == [
        ["ensure_services_started", "cyborg-agent"]
    ]


def test_create(grenade: Grenade) -> None:
    assert grenade.script("resources.sh", "create", OPENSTACK_ANSWER="u1") == 0
    create, save = grenade.did("openstack", "resource_save")
    assert create[1:6] == [
        "accelerator",
        "device",
        "profile",
        "create",
        "cyborg-grenade-dp",
    ]
    assert json.loads(create[6]) == [
        {"resources:FPGA": "1", "trait:CUSTOM_FAKE_DEVICE": "required"}
    ]
    assert save == ["resource_save", "cyborg", "profile_uuid", "u1"]


def test_verify(grenade: Grenade) -> None:
    words = ["resources.sh", "verify", "post-upgrade"]
    good = {"OPENSTACK_ANSWER": "cyborg-grenade-dp"}
    assert grenade.script(*words, **good) == 0
    calls = grenade.did("openstack")
    assert "uuid-of-profile_uuid" in calls[0]
    assert [call[4:6] for call in calls[2:]] == [
        ["create", "cyborg-grenade-post-dp"],
        ["delete", "cyborg-grenade-post-dp"],
    ]
    assert grenade.script(*words, OPENSTACK_ANSWER="another") != 0


def test_other_verbs(grenade: Grenade) -> None:
    assert grenade.script("resources.sh", "early_create") == 0
    assert grenade.script("resources.sh", "verify_noapi") == 0
    assert grenade.did("openstack") == []
    assert grenade.script("resources.sh", "destroy") == 0
    assert [call[5] for call in grenade.did("openstack")] == [
        "cyborg-grenade-dp"
    ]
    assert (
        grenade.script("resources.sh", "force_destroy", OPENSTACK_FAILS="1")
        == 0
    )
    assert [call[5] for call in grenade.did("openstack")] == [
        "cyborg-grenade-dp",
        "cyborg-grenade-post-dp",
    ]
    assert grenade.script("resources.sh", "dance") != 0
