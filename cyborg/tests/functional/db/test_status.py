"""cyborg-status upgrade check: what it sees, and what it says."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import pathlib
from typing import Any

from oslo_upgradecheck import upgradecheck
import pytest
import sqlalchemy as sa

from cyborg import conf
from cyborg.clients import auth
from cyborg.clients import glance
from cyborg.clients import placement as placement_client
from cyborg.cmd import status
from cyborg.common import exception
from cyborg.common import policy
from cyborg.db import engine as db_engine
from cyborg.db import migration
from cyborg.db import models
from cyborg.db.migrations import baseline
from cyborg.manage.checks import database as database_checks
from cyborg.manage.checks import peer as peer_checks
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import records
from cyborg.tests.fixtures import upstream

CONF = conf.CONF
SUCCESS, WARNING, FAILURE = upgradecheck.Code
HOSTS = ("compute-1.example.org", "compute-2.example.org")

Configure = Callable[..., status.Checks]


@pytest.fixture(scope="module")
def peer(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[placement_fixture.Placement]:
    """A Placement that knows the hosts of upstream's ``data.sql``."""
    peer = placement_fixture.Placement(tmp_path_factory.mktemp("placement"))
    peer.start()
    for host in HOSTS:
        peer.create_provider(host)
    yield peer
    peer.stop()


@pytest.fixture
def configure(tmp_path: pathlib.Path) -> Iterator[Configure]:
    """Read a configuration; returns the checks that see it."""

    def read(text: str) -> status.Checks:
        path = tmp_path / "cyborg.conf"
        path.write_text(text)
        CONF([], default_config_files=[str(path)])
        auth.reset()
        policy.reset()
        return status.Checks()

    yield read
    auth.reset()
    policy.reset()
    CONF.reset()


@pytest.fixture
def checks(configure: Configure) -> status.Checks:
    return configure("")


def add(engine: sa.Engine, model: Any, **values: Any) -> None:
    with engine.begin() as connection:
        records.insert(connection, model, **values)


def test_an_earlier_database_in_a_healthy_cloud(
    peer: placement_fixture.Placement,
    database_url: str,
    transport_url: str,
    tmp_path: pathlib.Path,
) -> None:
    with database.configured(database_url) as engine:
        upstream.load_schema(engine, "created")
        upstream.load(engine, "data")
        kind = engine.dialect.name
    config = tmp_path / "cyborg.conf"
    config.write_text(
        f"[DEFAULT]\ntransport_url = {transport_url}\n"
        f"[database]\nconnection = {database_url}\n"
        "[placement]\nauth_type = admin_token\ntoken = admin\n"
        f"endpoint = {peer.url}\n"
        "[nova]\nauth_type = none\nendpoint = http://127.0.0.1:1\n"
        "[glance]\nauth_type = none\nendpoint = http://127.0.0.1:1\n"
    )
    command = f"--config-file={config}", "upgrade", "check", "--json"
    done = process.call(process.cyborg("status", *command), tmp_path)
    found = {
        check["check"]: (check["result"], check["details"])
        for check in json.loads(done.stdout)["checks"]
    }
    assert done.returncode == WARNING
    assert {name: code for name, (code, _) in found.items()} == {
        "Policy File JSON to YAML Migration": SUCCESS,
        "Database": WARNING if kind == "sqlite" else SUCCESS,
        "Database Schema Revision": SUCCESS,
        "Clocks": SUCCESS,
        "Duplicate Rows": SUCCESS,
        "Accelerator Requests Without Project": WARNING,
        "Accelerator Requests Stuck In BindStarted": WARNING,
        "Device State": SUCCESS,
        "Offers": SUCCESS,
        "Cleaning": SUCCESS,
        "Left-over Records": WARNING,
        "Placement API": SUCCESS,
        "Service User": SUCCESS,
        "Service Tokens": SUCCESS,
        "Agents": SUCCESS,
        "Messaging": SUCCESS,
        "RPC Version Pins": SUCCESS,
        "Host Names": WARNING,
        "Host Keys": SUCCESS,
        "Device Profiles": WARNING,
        "Bitstreams": WARNING,
        "Deprecated Options": SUCCESS,
        "Unknown Options": SUCCESS,
        "Changed Meanings": SUCCESS,
        "Unknown Policy Rules": SUCCESS,
    }
    assert "'cyborg-dbsync upgrade' brings it to" in str(
        found["Database Schema Revision"]
    )
    details = found["Accelerator Requests Without Project"][1]
    assert "2 accelerator request(s) have no project" in details
    assert "administrator: e0000000-0000-4000-8000-000000000004." in details
    assert (
        "e0000000-0000-4000-8000-000000000007 (instance "
        "10000000-0000-4000-8000-000000000004)"
        in found["Accelerator Requests Stuck In BindStarted"][1]
    )
    assert (
        "1 attach handle(s) are in use by nobody: "
        "ab000000-0000-4000-8000-000000000007."
        in found["Left-over Records"][1]
    )
    # Deployables have the short name in front, which the agent listens to.
    assert (
        "compute-1.example.org (deployables are named compute-1_"
        in (found["Host Names"][1])
    )
    assert "Placement has no" not in found["Host Names"][1]


class TestDatabase:
    def test_current(self, db: sa.Engine, checks: status.Checks) -> None:
        migration.create_schema()
        result = checks.schema_revision()
        assert result.code == SUCCESS
        assert result.details == f"The schema is at {migration.head()}."
        for check in (
            checks.duplicates,
            checks.arqs_without_project,
            checks.stuck_arqs,
            checks.agents,
            checks.host_names,
        ):
            assert check().code == SUCCESS

    def test_empty(self, db: sa.Engine, checks: status.Checks) -> None:
        result = checks.schema_revision()
        assert result.code == SUCCESS
        assert result.details == "The database has no tables yet."

    @pytest.mark.parametrize("tables", [2, None])
    def test_creation_that_was_killed(
        self, db: sa.Engine, checks: status.Checks, tables: int | None
    ) -> None:
        made = baseline.metadata()
        made.create_all(db, tables=made.sorted_tables[:tables])
        for check in (
            checks.schema_revision,
            checks.duplicates,
            checks.arqs_without_project,
            checks.stuck_arqs,
            checks.leftovers,
            checks.agents,
            checks.version_pins,
            checks.host_names,
        ):
            result = check()
            assert result.code == SUCCESS
            assert result.details == "The database has no tables yet."

    def test_release_before_2023_2(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        upstream.load_schema(db, "migrated")
        with db.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE alembic_version SET version_num = '4cc1d79978fc'"
            )
        result = checks.schema_revision()
        assert result.code == FAILURE
        assert "2023.2 or later" in str(result.details)

    def test_duplicates(self, db: sa.Engine, checks: status.Checks) -> None:
        upstream.load_schema(db, "created")
        upstream.load(db, "data", "double-booked", "profiles-of-one-uuid")
        result = checks.duplicates()
        assert result.code == FAILURE
        details = str(result.details)
        assert "attach handle ab000000-0000-4000-8000-000000000001" in details
        assert "accelerator request e0000000-0000-4000-8000-000000000090" in (
            details
        )
        assert "cyborg-manage handle audit" in details
        assert "cyborg-manage profile repair" in details

    def test_old_engine(
        self,
        db: sa.Engine,
        checks: status.Checks,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if db.dialect.name == "sqlite":
            assert checks.database().code == WARNING
            return
        assert checks.database().code == SUCCESS
        monkeypatch.setitem(database_checks.OLDEST_ENGINES, "MariaDB", (99, 1))
        monkeypatch.setitem(database_checks.OLDEST_ENGINES, "MySQL", (99, 1))
        monkeypatch.setitem(
            database_checks.OLDEST_ENGINES, "PostgreSQL", (99, 1)
        )
        result = checks.database()
        assert result.code == FAILURE
        assert "upgrade it to 99.1" in str(result.details)

    def test_tables_without_transactions(self, checks: status.Checks) -> None:
        with (
            database.database("mysql") as url,
            database.configured(url) as engine,
        ):
            migration.create_schema()
            assert checks.database().code == SUCCESS
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "ALTER TABLE deployables CONVERT TO CHARACTER SET utf8mb3 "
                    "COLLATE utf8mb3_unicode_ci"
                )
            result = checks.database()
            assert result.code == WARNING
            assert "utf8mb3_unicode_ci (deployables)" in str(result.details)
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "ALTER TABLE reservations "
                    "DROP FOREIGN KEY fk_reservations_usage_id"
                )
                connection.exec_driver_sql(
                    "ALTER TABLE reservations ENGINE = MyISAM"
                )
            result = checks.database()
            assert result.code == FAILURE
            assert "not InnoDB: reservations." in str(result.details)


class TestARQs:
    def test_one_that_is_worked_on_is_not_stuck(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        upstream.load_schema(db, "migrated")
        upstream.load(db, "data")
        migration.upgrade()
        assert checks.stuck_arqs().code == WARNING
        values = {"kind": "bind", "payload": "{}", "step": "x", "attempt": 0}
        add(db, models.Job, uuid=records.uuid(1), arq_id=None, **values)
        assert checks.stuck_arqs().code == WARNING
        add(db, models.Job, uuid=records.uuid(2), arq_id=7, **values)
        assert checks.stuck_arqs().code == SUCCESS


class TestLeftovers:
    def test_what_an_earlier_release_left(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        upstream.load_schema(db, "created")
        upstream.load(db, "data")
        with db.begin() as connection:
            for statement in (
                "UPDATE extended_accelerator_requests SET state = 'Deleting' "
                "WHERE id = 6",
                "UPDATE extended_accelerator_requests SET attach_handle_id = "
                "NULL WHERE id = 1",
                # The card of device 1 once more, and half a card.
                "INSERT INTO devices (id, uuid, type, vendor, model, "
                "hostname, status) SELECT id + 20, 'twice', type, vendor, "
                "model, hostname, status FROM devices WHERE id = 1",
                "INSERT INTO controlpath_ids (id, uuid, device_id, "
                "cpid_type, cpid_info) SELECT 21, 'twice', 21, cpid_type, "
                "cpid_info FROM controlpath_ids WHERE id = 1",
                "INSERT INTO devices (id, uuid, type, vendor, model, "
                "hostname, status) SELECT id + 30, 'half', type, vendor, "
                "model, hostname, status FROM devices WHERE id = 1",
            ):
                connection.exec_driver_sql(statement)
        for upgraded in (False, True):
            if upgraded:
                migration.upgrade()
            result = checks.leftovers()
            assert result.code == WARNING
            details = str(result.details)
            for text in (
                "1 accelerator request(s) are half deleted: "
                "e0000000-0000-4000-8000-000000000006. 'cyborg-manage",
                "1 accelerator request(s) are Bound to nothing: "
                "e0000000-0000-4000-8000-000000000001. Their instances",
                "2 attach handle(s) are in use by nobody: "
                "ab000000-0000-4000-8000-000000000001, "
                "ab000000-0000-4000-8000-000000000007. The conductors",
                "1 device(s) have no control path: half. They are",
                "2 device(s) are stored twice: "
                "d0000000-0000-4000-8000-000000000001, twice. The one",
            ):
                assert text in details
        migration.stamp("head")

    def test_a_handle_that_is_being_cleaned_is_not(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        migration.create_schema()
        with db.begin() as connection:
            device = records.device(connection, 1, hostname="cn1")
            deployable = records.deployable(
                connection, 1, device, name="cn1_a"
            )
            path = records.insert(
                connection,
                models.ControlPathID,
                uuid=records.uuid(1),
                device_id=device,
                cpid_type="PCI",
                cpid_info="{}",
            )
            handle = records.insert(
                connection,
                models.AttachHandle,
                uuid=records.uuid(1),
                deployable_id=deployable,
                cpid_id=path,
                in_use=True,
                attach_type="PCI",
                attach_info="{}",
            )
        assert checks.leftovers().code == WARNING
        add(
            db,
            models.Job,
            uuid=records.uuid(1),
            kind="cleanup",
            attach_handle_id=handle,
            payload="{}",
            step="x",
            attempt=0,
        )
        assert checks.leftovers().code == SUCCESS


class TestOffers:
    def _card(
        self, db: sa.Engine, number: int, function: str, **values: Any
    ) -> None:
        info = json.dumps(
            {
                "bus": "41",
                "device": "00",
                "domain": "0000",
                "function": function,
            }
        )
        with db.begin() as connection:
            device = records.device(
                connection, number, hostname="cn1", **values
            )
            deployable = records.deployable(
                connection, number, device, name=f"cn1_{number}"
            )
            path = records.insert(
                connection,
                models.ControlPathID,
                uuid=records.uuid(number),
                device_id=device,
                cpid_type="PCI",
                cpid_info=info,
            )
            records.insert(
                connection,
                models.AttachHandle,
                uuid=records.uuid(number),
                deployable_id=deployable,
                cpid_id=path,
                attach_type="PCI",
                attach_info=info,
            )

    def test_what_is_going_to_be_withheld(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        migration.create_schema()
        assert checks.offers().code == SUCCESS
        self._card(db, 1, "0", vendor="10de", type="GPU")
        assert checks.offers().code == SUCCESS
        self._card(db, 2, "4", vendor="10de", type="GPU")
        self._card(db, 3, "0", vendor="144d", type="GPU")
        result = checks.offers()
        assert result.code == WARNING
        details = str(result.details)
        assert "1 NVIDIA GPU(s) are virtual functions" in details
        assert "give" in details and "cn1 0000:41:00.4." in details
        assert "1 function(s) are offered by two drivers" in details
        assert "cn1 0000:41:00.0. See 'What is offered" in details
        with db.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE deployables SET withheld = '[]' WHERE name = 'cn1_3'"
            )
        assert "1 deployable(s) are withheld: cn1_3." in str(
            checks.offers().details
        )

    def test_an_earlier_database(
        self, db: sa.Engine, checks: status.Checks
    ) -> None:
        upstream.load_schema(db, "created")
        upstream.load(db, "data")
        assert checks.offers().code == SUCCESS
        migration.upgrade()
        assert checks.offers().code == SUCCESS


class TestServiceUser:
    @pytest.mark.parametrize(
        ("roles", "password", "code", "says"),
        [
            (
                ("admin", "service"),
                keystone_fixture.PASSWORD,
                SUCCESS,
                "checked-admin-service in project service",
            ),
            (
                ("service",),
                keystone_fixture.PASSWORD,
                WARNING,
                "has not the role admin but service; Nova does not tell it",
            ),
            (
                ("admin",),
                "wrong",
                FAILURE,
                "Keystone gives the user of [nova] no token: ",
            ),
        ],
    )
    def test_roles(
        self,
        keystone: keystone_fixture.Keystone,
        configure: Configure,
        roles: tuple[str, ...],
        password: str,
        code: upgradecheck.Code,
        says: str,
    ) -> None:
        name = "checked" + "".join(f"-{role}" for role in roles)
        keystone.ensure_user(name, "service", *roles)
        credentials = keystone.credentials(name, "service") | {
            "password": password
        }
        checks = configure(
            "[keystone_authtoken]\n"
            + "".join(f"{key} = {text}\n" for key, text in credentials.items())
        )
        result = checks.service_user()
        assert result.code == code
        assert says in str(result.details)

    def test_none_for_nova(self, configure: Configure) -> None:
        token = "auth_type = admin_token\ntoken = a\nendpoint = http://a\n"
        none = "auth_type = none\nendpoint = http://a\n"
        result = configure(
            f"[placement]\n{token}[glance]\n{none}"
        ).service_user()
        assert result.code == FAILURE
        assert str(result.details).startswith("[nova] auth_type is not valid")


class TestBitstreams:
    def _profile(self, engine: sa.Engine, number: int, **keys: str) -> None:
        group = {"resources:FPGA": "1"} | {
            f"accel:{key}": value for key, value in keys.items()
        }
        add(
            engine,
            models.DeviceProfile,
            uuid=records.uuid(number),
            name=f"p{number}",
            profile_json=json.dumps({"groups": [group]}),
        )

    def test_no_fpga(self, sqlite_db: sa.Engine, configure: Configure) -> None:
        migration.create_schema()
        self._profile(sqlite_db, 1)
        result = configure("").bitstreams()
        assert (result.code, result.details) == (
            SUCCESS,
            "There is no FPGA, and no profile for one.",
        )

    def test_what_is_refused(
        self,
        sqlite_db: sa.Engine,
        configure: Configure,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        migration.create_schema()
        images = [
            {"id": "a", "visibility": "public", "owner": "p1", "name": "n"},
            {"id": "b", "visibility": "private", "owner": "p2", "name": "n"},
            {"id": "c", "visibility": "shared", "owner": "p3"}
            | {"function_uuid": "3afb-01"},
        ]

        def find_images(**wanted: str) -> list[dict[str, Any]]:
            if "tag" in wanted:
                return images[1:]
            return [
                image
                for image in images
                if all(image.get(key) == wanted[key] for key in wanted)
            ]

        def get_image(image_id: str) -> dict[str, Any]:
            found = find_images(id=image_id)
            if not found:
                raise exception.ImageNotFound(image=image_id)
            return found[0]

        monkeypatch.setattr(glance, "find_images", find_images)
        monkeypatch.setattr(glance, "get_image", get_image)
        monkeypatch.setattr(glance, "own_project", lambda: "service")
        for number, keys in enumerate(
            (
                {"bitstream_name": "n"},
                {"bitstream_id": "b"},
                {"function:CUSTOM_FPGA_FUNCTION_INTEL_3AFB_01": "required"},
                {"function_name:gzip": "required"},
            ),
            1,
        ):
            self._profile(sqlite_db, number, **keys)
        checks = configure("")
        result = checks.bitstreams()
        assert (result.code, result.details) == (
            WARNING,
            "Images that are not loaded for every project: b (of project p2, "
            "private), c (of project p3, shared). If their owners are "
            "trusted with everybody's FPGAs, set [glance] bitstream_projects "
            "= p2,p3,service on the controllers, or make the images public. "
            "Device profiles that cannot be bound: p2 (image id=b is "
            "refused), p3 (image function=CUSTOM_FPGA_FUNCTION_INTEL_3AFB_01 "
            "is refused), p4 (image function_name=gzip is not to be found).",
        )
        # What it says helps.
        kept = configure("[glance]\nbitstream_projects = p2,p3,service\n")
        assert kept.bitstreams().details == (
            "Device profiles that cannot be bound: p4 (image "
            "function_name=gzip is not to be found)."
        )

    def test_no_image_service(
        self, sqlite_db: sa.Engine, configure: Configure
    ) -> None:
        migration.create_schema()
        self._profile(sqlite_db, 1, function_id="f")
        result = configure(
            "[glance]\nauth_type = none\nendpoint = http://127.0.0.1:1\n"
        ).bitstreams()
        assert result.code == WARNING
        assert str(result.details).startswith("Not checked: The image service")


class TestVersionPins:
    @pytest.mark.parametrize(
        ("text", "version", "code", "says"),
        [
            ("", "1.0", SUCCESS, "all are auto"),
            ("agent = 1.0", "1.0", SUCCESS, "agent = 1.0"),
            ("agent = 1.0", "1.1", WARNING, "know more: agents."),
            ("conductor = 1.9", "1.1", FAILURE, "up to 1.1. Remove"),
        ],
    )
    def test_pins(
        self,
        sqlite_db: sa.Engine,
        configure: Configure,
        text: str,
        version: str,
        code: upgradecheck.Code,
        says: str,
    ) -> None:
        migration.create_schema()
        add(
            sqlite_db,
            models.Host,
            uuid=records.uuid(1),
            hostname="cn1",
            rpc_version=version,
        )
        result = configure(f"[upgrade_levels]\n{text}\n").version_pins()
        assert result.code == code
        assert says in str(result.details)


class TestOptions:
    def test_files_of_an_api_that_serves_tls(
        self, configure: Configure
    ) -> None:
        result = configure(
            "[api]\nenable_ssl_api = true\n"
            "[ssl]\ncert_file = /c\nkey_file = /k\nca_file = /a\n"
        ).options()
        assert result.code == SUCCESS, result.details

    def test_old_names_and_what_goes(
        self, configure: Configure, tmp_path: pathlib.Path
    ) -> None:
        path = tmp_path / "cyborg.conf"
        result = configure(
            "[agent]\npmem_namespaces = 6GB:ns0\n"
            "[spdk]\nspdk_dir = /opt/spdk\n"
            "[database]\nmin_pool_size = 5\n"
        ).options()
        assert result.code == WARNING
        details = str(result.details)
        assert (
            f"[agent] pmem_namespaces in {path} is [pmem_devices] "
            "pmem_namespaces now" in details
        )
        assert (
            f"[spdk] spdk_dir in {path} goes away. The agent starts no SPDK "
            "process" in details
        )
        assert "min_pool_size" not in details

    def test_what_nobody_reads(
        self, configure: Configure, tmp_path: pathlib.Path
    ) -> None:
        path = tmp_path / "cyborg.conf"
        result = configure(
            # Of those that other options name, and of kinds of credentials.
            "[nic_devices]\nenabled_nic_types = e810\n"
            "[e810]\nphysical_device_mappings = net:eth2\n"
            "[gpu_devices]\nenabled_vgpu_types = nvidia-35\n"
            "[vgpu_nvidia-35]\ndevice_addresses = 0000:af:00.0\n"
            "[placement]\nauth_type = v3applicationcredential\n"
            "application_credential_id = x\ntenant-name = service\n"
            "[keystone_authtoken]\nusername = cyborg\n"
            "[oslo_messaging_rabbit]\nuse_queue_manager = true\n"
            "[cyborg_sys_admin]\nhelper_command = sudo\n"
            "[DEFAULT]\ndebug = true\nbind_timeuot = 5\n"
            "[keystone]\nauth_url = x\n"
            "[x710_static]\nphysical_device_mapings = net:eth2\n"
        ).unknown_options()
        assert result.code == WARNING
        assert str(result.details).startswith(
            f"Nothing reads these: [DEFAULT] bind_timeuot in {path}, "
            f"[keystone] auth_url in {path}, "
            f"[x710_static] physical_device_mapings in {path}. They"
        )

    def test_what_means_something_else(
        self, configure: Configure, tmp_path: pathlib.Path
    ) -> None:
        path = tmp_path / "cyborg.conf"
        result = configure(
            "[DEFAULT]\nbind_timeout = 0\nperiodic_interval = 1\n"
            "[api]\napi_workers = -1\n"
            '[nvme]\ndevice_spec = {"clear_action": "zero"}\n'
            'device_spec = {"vendor": "144d"}\n'
            "[gpu_devices]\nenabled_vgpu_types = nvidia-35\n"
            "[vgpu_nvidia-35]\n"
            "device_addresses = 0000:AF:00.0,0000:b0:00.0\n"
            "[nic_devices]\nenabled_nic_types = x710_static, e810\n"
            "[x710_static]\n"
            "device_addresses = 0000:3B:00.0,0000:3b:00x0,0000:18:00.0\n"
            "[e810]\ndevice_addresses = 0000:5e:00.0\n"
            # Enabled by nothing.
            "[e811]\ndevice_addresses = nonsense\n"
        ).changed_meanings()
        assert result.code == WARNING
        assert str(result.details).split("; ") == [
            f"[DEFAULT] bind_timeout in {path}: 0 is below 1, the default is "
            "used",
            f"[api] api_workers in {path}: -1 is below 1, the default is used",
            "[nvme] device_spec is not valid: 'vendor' is none of the keys "
            "vendor_id, product_id, address, clear_action, clear_strategy "
            f"({path})",
            f"[vgpu_nvidia-35] device_addresses in {path}: 0000:AF:00.0 meant "
            "no card, and is 0000:af:00.0 now, so what was offered whole, as "
            "PGPU, becomes VGPU",
            f"[x710_static] device_addresses in {path}: 0000:3B:00.0 meant no "
            "card, and is 0000:3b:00.0 now, so it is offered",
            f"[x710_static] device_addresses in {path}: The PCI address "
            "0000:3b:00x0 has an invalid format. The agent does not start",
            f"[e810] device_addresses in {path} was not read, and keeps from "
            "guests now what it does not list",
        ]

    def test_lists_of_devices_that_are_refused(
        self, configure: Configure, tmp_path: pathlib.Path
    ) -> None:
        """Each is named; the release before starts with them."""
        path = tmp_path / "cyborg.conf"
        result = configure(
            '[pci]\npassthrough_whitelist = {"device_id": "2335"}\n'
            'passthrough_whitelist = {"vendor_id": "10de"}\n'
            'passthrough_whitelist = {"vendor_id": "10de", '
            '"resource_class": "CUSTOM_H200"}\n'
            "passthrough_whitelist = {}\n"
        ).changed_meanings()
        assert result.code == WARNING
        first, second, third = str(result.details).split("; ")
        start = "[pci] passthrough_whitelist is not valid: "
        end = f"({path}) The agent does not start"
        assert first.startswith(f'{start}{{"device_id": "2335"}}: device_id')
        assert second.endswith(f"of Nova's: write class {end}")
        assert third.startswith(f"{start}{{}}: it selects every device")
        assert all(each.endswith(end) for each in (first, second, third))

    def test_what_means_the_same(self, configure: Configure) -> None:
        result = configure(
            "[DEFAULT]\nbind_timeout = 10\n"
            "[nic_devices]\nenabled_nic_types = x710_static\n"
            "[x710_static]\ndevice_addresses = 0000:18:00.0\n"
            "[gpu_devices]\nenabled_vgpu_types = nvidia-35\n"
            "[vgpu_nvidia-35]\ndevice_addresses = 0000:af:00.0\n"
        ).changed_meanings()
        assert result.code == SUCCESS, result.details

    @pytest.mark.parametrize(
        ("text", "code", "says"),
        [
            ("{}", SUCCESS, ""),
            (
                '"cyborg:arq:create": "rule:mine"\n"mine": "role:x"',
                SUCCESS,
                "",
            ),
            (
                '"cyborg:arq:creat": "role:x"\n"mine": "role:x"',
                WARNING,
                "policy_file: cyborg:arq:creat, mine: no such rules",
            ),
            ("- no rules", WARNING, "Not checked: [oslo_policy] policy_file"),
        ],
    )
    def test_rules(
        self,
        configure: Configure,
        tmp_path: pathlib.Path,
        text: str,
        code: upgradecheck.Code,
        says: str,
    ) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        result = configure(
            f"[oslo_policy]\npolicy_file = {path}\n"
        ).unknown_rules()
        assert result.code == code, result.details
        assert says in str(result.details)

    def test_new_names(self, configure: Configure) -> None:
        result = configure(
            "[pmem_devices]\npmem_namespaces = 6GB:ns0\n"
        ).options()
        assert result.code == SUCCESS


class TestAgents:
    def test_versions(
        self,
        sqlite_db: sa.Engine,
        checks: status.Checks,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        migration.create_schema()
        for number, version in enumerate(("1.1", "1.0", None)):
            add(
                sqlite_db,
                models.Host,
                uuid=records.uuid(number),
                hostname=f"host-{number}",
                rpc_version=version,
            )
        result = checks.agents()
        assert result.code == WARNING
        assert "next release: host-1, host-2." in str(result.details)

        monkeypatch.setattr(peer_checks, "OLDEST_AGENT", (1, 1))
        result = checks.agents()
        assert result.code == FAILURE
        assert "first: host-1, host-2." in str(result.details)


class TestHostNames:
    def test_host_without_provider(
        self,
        peer: placement_fixture.Placement,
        sqlite_db: sa.Engine,
        configure: Configure,
    ) -> None:
        checks = configure(
            "[placement]\nauth_type = admin_token\ntoken = admin\n"
            f"endpoint = {peer.url}\n"
        )
        migration.create_schema()
        with sqlite_db.begin() as connection:
            device = records.device(connection, 1, hostname="cn1")
            records.deployable(connection, 1, device, name="cn1_0000:3b:00.0")
        result = checks.host_names()
        assert result.code == WARNING
        assert "named like these hosts: cn1." in str(result.details)
        peer.create_provider("cn1")
        assert checks.host_names().code == SUCCESS

    def test_a_known_agent_is_called_by_its_own_name(
        self, sqlite_db: sa.Engine, checks: status.Checks
    ) -> None:
        migration.create_schema()
        with sqlite_db.begin() as connection:
            device = records.device(connection, 1, hostname="cn1.example.org")
            records.deployable(connection, 1, device, name="cn1_0000:3b:00.0")
        assert checks.host_names().code == WARNING
        add(
            sqlite_db,
            models.Host,
            uuid=records.uuid(1),
            hostname="cn1.example.org",
            rpc_host="cn1",
        )
        assert checks.host_names().code == SUCCESS


class TestPlacement:
    def test_not_configured(self, checks: status.Checks) -> None:
        result = checks.placement_api()
        assert result.code == FAILURE
        assert "neither [placement] nor [keystone_authtoken]" in str(
            result.details
        )

    def test_away(self, configure: Configure) -> None:
        result = configure(
            "[placement]\nauth_type = admin_token\ntoken = admin\n"
            "connect_retries = 0\nendpoint = http://127.0.0.1:1\n"
        ).placement_api()
        assert result.code == FAILURE
        assert "See the options of [placement]" in str(result.details)

    def test_too_old(
        self,
        peer: placement_fixture.Placement,
        configure: Configure,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        checks = configure(
            "[placement]\nauth_type = admin_token\ntoken = admin\n"
            f"endpoint = {peer.url}\n"
        )
        assert checks.placement_api().code == SUCCESS
        monkeypatch.setattr(placement_client, "MICROVERSION", "1.999")
        result = checks.placement_api()
        assert result.code == FAILURE
        assert "1.999 is needed" in str(result.details)


class TestServiceTokens:
    @pytest.mark.parametrize(
        ("text", "code", "says"),
        [
            ("", SUCCESS, "Roles: service."),
            (
                "[keystone_authtoken]\nservice_token_roles_required = false",
                FAILURE,
                "any token passes",
            ),
            (
                "[keystone_authtoken]\nservice_token_roles =",
                FAILURE,
                "is empty",
            ),
            (
                "[DEFAULT]\nauth_strategy = noauth2",
                WARNING,
                "is an administrator",
            ),
        ],
    )
    def test_settings(
        self,
        configure: Configure,
        text: str,
        code: upgradecheck.Code,
        says: str,
    ) -> None:
        result = configure(f"{text}\n").service_tokens()
        assert result.code == code
        assert says in str(result.details)


class TestMessageBus:
    @pytest.mark.parametrize(
        ("url", "code", "says"),
        [
            ("rabbit://127.0.0.1:1/", FAILURE, "do not answer: 127.0.0.1:1 ("),
            (
                "rabbit://127.0.0.1:1,127.0.0.1:5672/",
                WARNING,
                "do not answer: 127.0.0.1:1 (",
            ),
            ("rabbit://", FAILURE, "names no host"),
            ("fake://", WARNING, "one process"),
            ("rabbit://127.0.0.1:nonsense/", FAILURE, "transport_url"),
            (
                "rabbit://nobody:wrong@127.0.0.1:5672/",
                FAILURE,
                "answers and refuses: ",
            ),
        ],
    )
    def test_urls(
        self,
        configure: Configure,
        url: str,
        code: upgradecheck.Code,
        says: str,
    ) -> None:
        result = configure(f"[DEFAULT]\ntransport_url = {url}\n").message_bus()
        assert result.code == code
        assert says in str(result.details)


def test_policy_file_in_json(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"cyborg:device:get_all": "role:reader"}')
    result = configure(
        f"[oslo_policy]\npolicy_file = {policy}\n"
    ).policy_file()
    assert result.code == FAILURE
    assert "oslopolicy-convert-json-to-yaml" in str(result.details)


def test_database_away(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    checks = configure(
        "[database]\nconnection = mysql+pymysql://root@127.0.0.1:1/cyborg\n"
    )
    with contextlib.ExitStack() as stack:
        stack.callback(db_engine.reset)
        db_engine.reset()
        result = checks.database()
        assert result.code == FAILURE
        assert "does not answer" in str(result.details)
        result = checks.duplicates()
        assert result.code == WARNING
        assert result.details == "Not checked: see the database."


def test_database_url_of_another_driver(configure: Configure) -> None:
    checks = configure(
        "[database]\nconnection = mariadb+pymysql://root@127.0.0.1/cyborg\n"
    )
    db_engine.reset()
    result = checks.database()
    assert result.code == FAILURE
    assert "begins with mysql+pymysql://" in str(result.details)


@pytest.mark.parametrize("database_url", database.KINDS, indirect=True)
def test_states_of_devices(db: sa.Engine, checks: status.Checks) -> None:
    upstream.load_schema(db, "created")
    upstream.load(db, "data")
    assert checks.device_states().code == SUCCESS
    upstream.advance_schema(db, upstream.REVISIONS[-1])
    upstream.load(db, "data-17")
    result = checks.device_states()
    assert result.code == WARNING
    assert "9 device(s) have no device_state" in str(result.details)
    upstream.load(db, "states-17")
    migration.upgrade()
    result = checks.device_states()
    assert result.code == WARNING
    assert "no device_state" not in str(result.details)
    assert "3 device(s) are waiting for a cleaning or failed it" in str(
        result.details
    )
    assert (
        "d0000000-0000-4000-8000-000000000014 (pending_cleaning, host "
        "compute-2.example.org)" in str(result.details)
    )
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE devices SET device_state = NULL")
        connection.exec_driver_sql(
            "UPDATE devices SET device_state = 'available'"
        )
    result = checks.device_states()
    assert result.code == SUCCESS
    assert result.details == "All device_state values backfilled."
