"""The DevStack plugin: what it writes and runs in each phase."""

import pathlib
import shutil
import subprocess
from typing import Any

import pytest

TREE = pathlib.Path(__file__).parents[4]
PLUGIN = TREE / "devstack"
FUNCTIONS = pathlib.Path(__file__).parent / "devstack.bash"

CONTROLLER = "key,placement,placement-api,nova,n-api,n-cpu,tempest"
CYBORG = "cyborg,cyborg-api,cyborg-cond,cyborg-agent"

pytestmark = pytest.mark.skipif(
    not shutil.which("bash"), reason="no bash on this machine"
)


class DevStack:
    """Runs bash with DevStack's functions replaced by their record."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.conf_dir = directory / "etc"
        self.conf_dir.mkdir()
        self.said = directory / "said"
        self.settings: dict[str, str] = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SAID": str(self.said),
            "DEST": "/opt/stack",
            "DATA_DIR": str(directory / "data"),
            "GIT_BASE": "https://opendev.org",
            "SERVICE_HOST": "192.0.2.1",
            "SERVICE_PROTOCOL": "http",
            "SERVICE_LISTEN_ADDRESS": "0.0.0.0",
            "SERVICE_PASSWORD": "secret",
            "SERVICE_DOMAIN_NAME": "Default",
            "SERVICE_PROJECT_NAME": "service",
            "SERVICE_TIMEOUT": "60",
            "KEYSTONE_SERVICE_URI": "http://192.0.2.1/identity",
            "REGION_NAME": "RegionOne",
            "STACK_USER": "stack",
            "SYSLOG": "False",
            "API_WORKERS": "2",
            "NOVA_CONF": "nova.conf",
            "TEMPEST_CONFIG": "tempest.conf",
            "DEVSTACK_CERT": "/opt/stack/data/devstack-cert.pem",
            "ENABLED_SERVICES": f"{CONTROLLER},{CYBORG}",
            "CYBORG_CONF_DIR": str(self.conf_dir),
        }

    def run(self, script: str, **settings: str) -> Any:
        self.said.write_text("")
        return subprocess.run(
            [
                "bash",
                "-euc",
                f'source "{FUNCTIONS}"\nsource "{PLUGIN}/settings"\n{script}',
            ],
            env=self.settings | settings,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def phase(self, *words: str, **settings: str) -> list[list[str]]:
        """Run the plugin for a phase; return the calls it made."""
        ended = self.run(
            f'source "{PLUGIN}/plugin.sh" {" ".join(words)}', **settings
        )
        assert ended.returncode == 0, ended.stderr
        return self.calls()

    def calls(self) -> list[list[str]]:
        return [line.split("\t") for line in self.said.read_text().split("\n")]

    def written(self, *words: str, **settings: str) -> dict[str, str]:
        """Run a phase; return what it wrote to cyborg.conf."""
        conf = str(self.conf_dir / "cyborg.conf")
        return written(self.phase(*words, **settings), conf)


def written(calls: list[list[str]], path: str) -> dict[str, str]:
    return {
        f"{call[2]}.{call[3]}": call[4]
        for call in calls
        if call[0] == "iniset" and call[1] == path
    }


def named(calls: list[list[str]], *names: str) -> list[list[str]]:
    return [call for call in calls if call[0] in names]


@pytest.fixture
def devstack(tmp_path: pathlib.Path) -> DevStack:
    return DevStack(tmp_path)


def variable(devstack: DevStack, name: str, **settings: str) -> str:
    ended = devstack.run(f'echo "${name}"', **settings)
    assert ended.returncode == 0, ended.stderr
    return str(ended.stdout.strip())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CYBORG_DIR", str(TREE)),
        ("CYBORG_STATE_PATH", "/var/lib/cyborg"),
        ("CYBORG_BIN_DIR", "/opt/venv/bin"),
        ("CYBORG_SERVICE_HOST", "192.0.2.1"),
        ("CYBORG_SERVICE_PORT", "6666"),
        ("CYBORG_SERVICE_PROTOCOL", "http"),
        ("CYBORG_ENABLED_DRIVERS", "fake_driver"),
        ("CYBORG_USE_UWSGI", "True"),
        ("CYBORG_UWSGI", "cyborg.wsgi.api:application"),
        ("CYBORG_API_URL", "http://192.0.2.1/accelerator"),
        ("CYBORG_CLIENT_INSTALL", "True"),
        (
            "CYBORG_CLIENT_REPO",
            "https://opendev.org/openstack/python-cyborgclient",
        ),
        ("CYBORG_CLIENT_BRANCH", "master"),
        ("CYBORG_CLIENT_DIR", "/opt/stack/python-cyborgclient"),
        ("ENABLE_PCI_SIM", "False"),
        ("PCI_SIM_BUILD", "False"),
        ("PCI_SIM_NUM_PFS", "2"),
        ("PCI_SIM_NUM_VFS", "4"),
        ("PCI_SIM_NOVA_FLAVOR_NAME", "pci-sim-nova"),
        ("PCI_SIM_NOVA_ALIAS_NAME", "pci_sim_vf"),
        ("PCI_SIM_NOVA_ALIAS_COUNT", "1"),
        ("PCI_SIM_CYBORG_DEVICE_PROFILE_NAME", "pci-sim-cyborg-dp"),
        ("PCI_SIM_CYBORG_FLAVOR_NAME", "pci-sim-cyborg"),
        ("PCI_SIM_MODULE_ARGS", ""),
    ],
)
def test_default(devstack: DevStack, name: str, value: str) -> None:
    assert variable(devstack, name) == value


def test_files_are_in_the_configuration_directory(devstack: DevStack) -> None:
    names = "$CYBORG_CONF $CYBORG_API_PASTE_INI $CYBORG_POLICY_JSON "
    ended = devstack.run(f"echo {names} $CYBORG_UWSGI_CONF $CYBORG_DATA_DIR")
    assert ended.stdout.split() == [
        *(
            str(devstack.conf_dir / name)
            for name in (
                "cyborg.conf",
                "api-paste.ini",
                "policy.yaml",
                "cyborg-api-uwsgi.ini",
            )
        ),
        f"{devstack.directory}/data/cyborg",
    ]


def test_both_names_of_the_file_are_honoured(devstack: DevStack) -> None:
    assert variable(devstack, "CYBORG_CONF", CYBORG_CONF_FILE="/x") == "/x"
    assert variable(devstack, "CYBORG_CONF_FILE", CYBORG_CONF="/y") == "/y"


def test_api_without_uwsgi_has_a_port(devstack: DevStack) -> None:
    assert (
        variable(devstack, "CYBORG_API_URL", CYBORG_USE_UWSGI="no")
        == "http://192.0.2.1:6666"
    )


def test_proxy_serves_https(devstack: DevStack) -> None:
    assert (
        variable(
            devstack,
            "CYBORG_API_URL",
            ENABLED_SERVICES=f"{CONTROLLER},{CYBORG},tls-proxy",
        )
        == "https://192.0.2.1/accelerator"
    )


@pytest.mark.parametrize(
    "step",
    [
        "BUILD",
        "LOAD",
        "ALLOW_UNSAFE_INTERRUPTS",
        "CONFIGURE_NOVA_PCI",
        "CONFIGURE_CYBORG_PCI",
        "NOVA_PCI_IN_PLACEMENT",
        "CREATE_TEST_FLAVORS",
    ],
)
def test_pci_sim_switches_each_step(devstack: DevStack, step: str) -> None:
    name = f"PCI_SIM_{step}"
    assert variable(devstack, name, ENABLE_PCI_SIM="true") == "True"
    off = {"ENABLE_PCI_SIM": "True", name: "False"}
    assert variable(devstack, name, **off) == "False"


def test_settings_enable_the_services(devstack: DevStack) -> None:
    devstack.run("true")
    assert devstack.calls()[0] == ["enable_service", *CYBORG.split(",")]


def test_pre_install_clones_the_client(devstack: DevStack) -> None:
    assert named(devstack.phase("stack", "pre-install"), "git_clone") == [
        [
            "git_clone",
            "https://opendev.org/openstack/python-cyborgclient",
            "/opt/stack/python-cyborgclient",
            "master",
        ]
    ]
    without = devstack.phase(
        "stack", "pre-install", CYBORG_CLIENT_INSTALL="False"
    )
    assert named(without, "git_clone") == []


def test_install(devstack: DevStack) -> None:
    calls = devstack.phase("stack", "install")
    assert named(calls, "setup_develop", "install_package") == [
        ["install_package", "pciutils"],
        ["setup_develop", str(TREE)],
        ["setup_develop", "/opt/stack/python-cyborgclient"],
    ]
    assert named(calls, "async_runfunc") == []


@pytest.mark.parametrize(
    ("services", "missing"),
    [("placement", "Keystone"), ("key", "Placement")],
)
def test_install_needs(
    devstack: DevStack, services: str, missing: str
) -> None:
    ended = devstack.run(
        f'source "{PLUGIN}/plugin.sh" stack install',
        ENABLED_SERVICES=f"{services},{CYBORG}",
    )
    assert ended.returncode == 1
    (died,) = named(devstack.calls(), "die")
    assert missing in died[1]


def test_nothing_happens_where_nothing_is_enabled(devstack: DevStack) -> None:
    for words in (
        ["stack", "pre-install"],
        ["stack", "install"],
        ["stack", "post-config"],
        ["stack", "extra"],
        ["stack", "test-config"],
        ["unstack"],
        ["clean"],
    ):
        calls = devstack.phase(*words, ENABLED_SERVICES=CONTROLLER)
        assert [call[0] for call in calls if call != [""]] == [
            "enable_service"
        ]


def test_configuration_of_one_node(devstack: DevStack) -> None:
    options = devstack.written("stack", "post-config")
    conf_dir = str(devstack.conf_dir)
    credentials = {
        "auth_type": "password",
        "auth_url": "http://192.0.2.1/identity",
        "username": "cyborg",
        "password": "secret",
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
        "region_name": "RegionOne",
    }
    expected = {
        "DEFAULT.debug": "True",
        "DEFAULT.state_path": "/var/lib/cyborg",
        "DEFAULT.use_syslog": "False",
        "DEFAULT.auth_strategy": "keystone",
        "oslo_concurrency.lock_path": f"{devstack.directory}/data/cyborg/lock",
        "database.connection": "mysql+pymysql://root:pw@db/cyborg",
        "api.api_paste_config": f"{conf_dir}/api-paste.ini",
        "oslo_policy.policy_file": f"{conf_dir}/policy.yaml",
        "agent.enabled_drivers": "fake_driver",
        "agent.resource_provider_startup_retries": "6",
        "cyborg_sys_admin.helper_command": (
            "sudo /opt/venv/bin/privsep-helper --config-file "
            f"{conf_dir}/cyborg.conf"
        ),
    }
    for group in ("placement", "nova", "glance"):
        expected |= {
            f"{group}.{name}": value for name, value in credentials.items()
        }
    assert options == expected


def test_configuration_uses_what_devstack_has(devstack: DevStack) -> None:
    conf = str(devstack.conf_dir / "cyborg.conf")
    calls = devstack.phase("stack", "post-config")
    assert named(
        calls,
        "iniset_rpc_backend",
        "setup_logging",
        "configure_keystone_authtoken_middleware",
        "write_uwsgi_config",
    ) == [
        ["iniset_rpc_backend", "cyborg", conf],
        ["setup_logging", conf],
        ["configure_keystone_authtoken_middleware", conf, "cyborg"],
        [
            "write_uwsgi_config",
            str(devstack.conf_dir / "cyborg-api-uwsgi.ini"),
            "cyborg.wsgi.api:application",
            "/accelerator",
            "",
            "cyborg-api",
        ],
    ]
    paste = devstack.conf_dir / "api-paste.ini"
    assert (
        paste.read_bytes() == (TREE / "etc/cyborg/api-paste.ini").read_bytes()
    )


def test_only_cyborgs_directories_are_made(devstack: DevStack) -> None:
    calls = devstack.phase("stack", "post-config")
    assert [call[-1] for call in named(calls, "sudo")] == [
        str(devstack.conf_dir),
        f"{devstack.directory}/data/cyborg",
        "/var/lib/cyborg",
    ]


def test_old_configuration_goes_and_policy_stays(devstack: DevStack) -> None:
    conf = devstack.conf_dir / "cyborg.conf"
    conf.write_text("[agent]\nenabled_drivers = gone\n")
    policy = devstack.conf_dir / "policy.yaml"
    policy.write_text("kept: ''\n")
    devstack.phase("stack", "post-config")
    assert not conf.exists()
    assert policy.read_text() == "kept: ''\n"


def test_api_by_itself(devstack: DevStack) -> None:
    options = devstack.written(
        "stack", "post-config", CYBORG_USE_UWSGI="False"
    )
    assert options["api.host_ip"] == "0.0.0.0"
    assert options["api.port"] == "6666"
    assert options["api.api_workers"] == "2"
    assert "api.enable_ssl_api" not in options


def test_api_by_itself_with_tls(devstack: DevStack) -> None:
    options = devstack.written(
        "stack",
        "post-config",
        CYBORG_USE_UWSGI="False",
        SERVICE_PROTOCOL="https",
    )
    assert options["api.enable_ssl_api"] == "True"
    certificate = "/opt/stack/data/devstack-cert.pem"
    assert options["ssl.cert_file"] == certificate
    assert options["ssl.key_file"] == certificate


def test_compute_node_runs_the_agent_alone(devstack: DevStack) -> None:
    compute = {"ENABLED_SERVICES": "nova,n-cpu,cyborg,cyborg-agent"}
    options = devstack.written("stack", "post-config", **compute)
    groups = {name.split(".")[0] for name in options}
    assert groups == {
        "DEFAULT",
        "agent",
        "cyborg_sys_admin",
        "glance",
        "oslo_concurrency",
    }
    calls = devstack.calls()
    assert named(calls, "create_service_user", "write_uwsgi_config") == []
    calls = devstack.phase("stack", "extra", **compute)
    assert [call[1] for call in named(calls, "run_process")] == [
        "cyborg-agent"
    ]
    assert named(calls, "recreate_database") == []


def test_nova_is_made_to_send_service_tokens(devstack: DevStack) -> None:
    options = written(devstack.phase("stack", "post-config"), "nova.conf")
    assert options == {
        "service_user.send_service_user_token": "True",
        "service_user.auth_type": "password",
        "service_user.auth_url": "http://192.0.2.1/identity",
        "service_user.username": "nova",
        "service_user.password": "secret",
        "service_user.user_domain_name": "Default",
        "service_user.project_name": "service",
        "service_user.project_domain_name": "Default",
        "service_user.region_name": "RegionOne",
    }
    calls = devstack.phase(
        "stack", "post-config", NOVA_SENDS_SERVICE_TOKENS="True"
    )
    assert written(calls, "nova.conf") == {}


def test_accounts(devstack: DevStack) -> None:
    calls = devstack.phase("stack", "post-config")
    url = "http://192.0.2.1/accelerator/v2"
    assert named(
        calls,
        "create_service_user",
        "get_or_create_service",
        "get_or_create_endpoint",
    ) == [
        ["create_service_user", "cyborg", "admin"],
        [
            "get_or_create_service",
            "cyborg",
            "accelerator",
            "Accelerator Service",
        ],
        ["get_or_create_endpoint", "accelerator", "RegionOne", url, url, url],
    ]


@pytest.fixture
def bin_dir(devstack: DevStack) -> pathlib.Path:
    """A directory with a cyborg-dbsync that says how it was called."""
    directory = devstack.directory / "bin"
    directory.mkdir()
    script = directory / "cyborg-dbsync"
    script.write_text(f'#!/bin/sh\necho "dbsync\t$*" >>{devstack.said}\n')
    script.chmod(0o755)
    devstack.settings["CYBORG_BIN_DIR"] = str(directory)
    return directory


def test_extra_makes_the_schema_then_starts(
    devstack: DevStack, bin_dir: pathlib.Path
) -> None:
    conf = devstack.conf_dir / "cyborg.conf"
    calls = devstack.phase("stack", "extra", CYBORG_USE_UWSGI="False")
    assert calls[2:-1] == [
        ["recreate_database", "cyborg"],
        ["dbsync", f"--config-file {conf} upgrade"],
        [
            "run_process",
            "cyborg-cond",
            f"{bin_dir}/cyborg-conductor --config-file={conf}",
        ],
        [
            "run_process",
            "cyborg-api",
            f"{bin_dir}/cyborg-api --config-file {conf}",
        ],
        ["wait_for_service", "60", "http://192.0.2.1:6666"],
        [
            "run_process",
            "cyborg-agent",
            f"{bin_dir}/cyborg-agent --config-file={conf}",
        ],
    ]


def test_uwsgi_serves_the_api(
    devstack: DevStack, bin_dir: pathlib.Path
) -> None:
    uwsgi = bin_dir / "uwsgi"
    uwsgi.write_text("#!/bin/sh\n")
    uwsgi.chmod(0o755)
    path = f"{bin_dir}:{devstack.settings['PATH']}"
    calls = devstack.phase("stack", "extra", PATH=path)
    assert [
        "run_process",
        "cyborg-api",
        f"{uwsgi} --ini {devstack.conf_dir}/cyborg-api-uwsgi.ini "
        "--procname-prefix cyborg-api",
    ] in calls
    assert [
        "wait_for_service",
        "60",
        "http://192.0.2.1/accelerator",
    ] in calls


def test_tempest(devstack: DevStack) -> None:
    calls = devstack.phase("stack", "test-config")
    assert written(calls, "tempest.conf") == {
        "service_available.cyborg": "True"
    }
    calls = devstack.phase(
        "stack",
        "test-config",
        TEMPEST_ACCELERATOR_MIN_MICROVERSION="2.0",
        TEMPEST_ACCELERATOR_MAX_MICROVERSION="2.3",
        PCI_SIM_CONFIGURE_CYBORG_PCI="True",
    )
    assert written(calls, "tempest.conf") == {
        "service_available.cyborg": "True",
        "accelerator.min_microversion": "2.0",
        "accelerator.max_microversion": "2.3",
        "cyborg_pci.device_profile_name": "pci-sim-cyborg-dp",
        "cyborg_pci.vendor_id": "10a9",
        "cyborg_pci.product_id": "0003",
    }


def test_unstack_stops(devstack: DevStack) -> None:
    assert devstack.phase("unstack")[1:-1] == [
        ["disable_apache_site", "cyborg-api"],
        ["restart_apache_server"],
        ["stop_process", "cyborg-api"],
        ["stop_process", "cyborg-cond"],
        ["stop_process", "cyborg-agent"],
    ]


def test_clean_removes_what_was_written(devstack: DevStack) -> None:
    assert devstack.phase("clean")[1:-1] == [
        [
            "remove_uwsgi_config",
            str(devstack.conf_dir / "cyborg-api-uwsgi.ini"),
            "cyborg-api",
        ],
        [
            "sudo",
            "rm",
            "-rf",
            str(devstack.conf_dir),
            f"{devstack.directory}/data/cyborg",
        ],
    ]


def test_tracing_is_left_as_it_was(devstack: DevStack) -> None:
    ended = devstack.run(
        f'set -x; source "{PLUGIN}/plugin.sh" unstack\n'
        "[[ $- == *x* ]]; set +x\n"
        f'source "{PLUGIN}/plugin.sh" unstack\n'
        "[[ $- != *x* ]]"
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "name",
    [
        "check_cyborg_service_deps",
        "clone_cyborg_client",
        "install_cyborg_client",
        "install_cyborg",
        "configure_cyborg",
        "configure_cyborg_common",
        "configure_cyborg_agent",
        "configure_cyborg_api",
        "configure_cyborg_conductor",
        "configure_cyborg_dirs",
        "create_cyborg_accounts",
        "init_cyborg",
        "start_cyborg",
        "start_cyborg_api",
        "start_cyborg_conductor",
        "start_cyborg_agent",
        "stop_cyborg",
        "cleanup_cyborg",
        "cyborg_configure_tempest",
    ],
)
def test_function_that_others_call(devstack: DevStack, name: str) -> None:
    ended = devstack.run(f'source "{PLUGIN}/lib/cyborg"; declare -F {name}')
    assert ended.stdout.strip() == name
