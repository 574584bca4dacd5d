"""Files that deployment tools render: they work as they are."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

TREE = pathlib.Path(__file__).parents[3]
DEPLOYMENTS = pathlib.Path(__file__).parents[1] / "fixtures" / "deployments"

# What tools still write and nothing reads: known to be harmless, and listed
# in doc/source/install/deployment-tools.rst.
EXCLUDED_GROUPS: dict[str, list[str]] = {
    "kolla-ansible": [],
    "openstack-helm": ["service_catalog"],
}

# Reads the configuration as the daemons do, loads the pipeline and asks it.
PROBE = """
import json, sys
import webob
import cyborg.cmd
from cyborg import conf
from cyborg import privsep
from cyborg.api import wsgi_app
from cyborg.common import service

service.prepare(sys.argv[1:])
app = wsgi_app.load()
get = lambda path: webob.Request.blank(path).get_response(app)
CONF = conf.CONF
CONF.set_override("enable_proxy_headers_parsing", True, "oslo_middleware")
print(json.dumps({
    "options": {
        name: getattr(CONF[name.split(".")[0]], name.split(".")[1])
        if "." in name else CONF[name]
        for name in json.load(sys.stdin)
    },
    "versions": get("/").status_int,
    "v2": get("/v2").status_int,
    "devices": get("/v2/devices").status_int,
    "link": webob.Request.blank(
        "/",
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloud"},
    ).get_response(app).json["default_version"]["links"][0]["href"],
    "request_id": "x-openstack-request-id" in get("/").headers,
}))
"""


def probe(
    tool: str, logs: pathlib.Path, options: list[str], *arguments: str
) -> Any:
    ended = subprocess.run(
        [
            *(sys.executable, "-c", PROBE),
            *("--config-file", str(DEPLOYMENTS / tool / "cyborg.conf")),
            *arguments,
        ],
        input=json.dumps(options),
        cwd=logs,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def validate(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "oslo_config.validator"),
            "--config-file",
            str(TREE / "tools/config/cyborg-config-generator.conf"),
            "--input-file",
            str(DEPLOYMENTS / tool / "cyborg.conf"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("tool", sorted(EXCLUDED_GROUPS))
def test_validator_accepts(tool: str) -> None:
    ended = validate(
        tool,
        *(f"--exclude-group={group}" for group in EXCLUDED_GROUPS[tool]),
    )
    assert ended.returncode == 0, ended.stderr


def test_exclusion_is_needed() -> None:
    ended = validate("openstack-helm")
    assert ended.returncode == 1
    assert "service_catalog/auth_type is not part" in ended.stderr


def test_kolla_ansible(tmp_path: pathlib.Path) -> None:
    found = probe(
        "kolla-ansible",
        tmp_path,
        [
            "auth_strategy",
            "api.host_ip",
            "api.port",
            "database.max_pool_size",
            "placement.auth_type",
            "nova.auth_type",
            "agent.enabled_drivers",
            "state_path",
        ],
        *("--log-dir", str(tmp_path)),
    )
    assert found == {
        "options": {
            "auth_strategy": "keystone",
            "api.host_ip": "192.0.2.11",
            "api.port": 6666,
            "database.max_pool_size": 1,
            "placement.auth_type": "password",
            # Nova is called with the credentials of [keystone_authtoken].
            "nova.auth_type": None,
            "agent.enabled_drivers": ["fake_driver"],
            "state_path": "/var/lib/cyborg",
        },
        "versions": 200,
        "v2": 200,
        "devices": 401,
        "link": "https://cloud/accelerator/v2",
        "request_id": True,
    }


def test_openstack_helm(tmp_path: pathlib.Path) -> None:
    logging = DEPLOYMENTS / "openstack-helm" / "logging.conf"
    found = probe(
        "openstack-helm",
        tmp_path,
        [
            "api.host_ip",
            "api.api_workers",
            "agent.enabled_drivers",
            "gpu_devices.enabled_vgpu_types",
            "cyborg_sys_admin.helper_command",
            "cyborg_sysfs.helper_command",
            "nova.auth_type",
        ],
        *("--log-config-append", str(logging)),
    )
    assert found == {
        "options": {
            "api.host_ip": "0.0.0.0",
            "api.api_workers": 1,
            "agent.enabled_drivers": ["nvidia_gpu_driver"],
            "gpu_devices.enabled_vgpu_types": [],
            "cyborg_sys_admin.helper_command": (
                "sudo /var/lib/openstack/bin/privsep-helper"
            ),
            "cyborg_sysfs.helper_command": None,
            "nova.auth_type": "password",
        },
        "versions": 200,
        "v2": 200,
        "devices": 401,
        "link": "https://cloud/accelerator/v2",
        "request_id": True,
    }
