"""The least code that does what Cyborg does for a boot cycle.

The same HTTP requests by the same libraries, the same RPC calls, the same
statements in the same transactions over the same engine, the same policy, and
the same event for Nova. Statements are put together once, when the program
starts. What is left out: filters, authentication, validation, versions,
objects, retries, logs.

    python -m benchmarks.floor api rpc|local PORT DATABASE TRANSPORT NOVA
    python -m benchmarks.floor conductor DATABASE TRANSPORT NOVA
"""

import datetime
import functools
import json
import signal
import sys
import threading
import time
from typing import Any
import urllib.parse
import uuid

from cheroot import wsgi
from oslo_config import cfg
from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

import oslo_messaging as messaging  # noqa: E402
from oslo_utils import timeutils  # noqa: E402
import pecan  # noqa: E402
import requests  # noqa: E402
import sqlalchemy as sa  # noqa: E402
import webob  # noqa: E402

from cyborg import context as cyborg_context  # noqa: E402
from cyborg.api import app  # noqa: E402
from cyborg.common import rpc  # noqa: E402
from cyborg.db import engine as db_engine  # noqa: E402
from cyborg.db import models  # noqa: E402
from cyborg.policies import arq as policies  # noqa: E402

CONF = cfg.CONF
TOPIC = "floor"
READY = "floor is ready"
THREADS = 10
# As long as Cyborg lets events wait for others.
GATHER = 0.1

ARQS = models.ARQ.__table__
ATTRIBUTES = models.Attribute.__table__
BOUND = models.BoundInstance.__table__
DEPLOYABLES = models.Deployable.__table__
DEVICES = models.Device.__table__
HANDLES = models.AttachHandle.__table__
HOSTS = models.Host.__table__
JOBS = models.Job.__table__
PATHS = models.ControlPathID.__table__
OUTBOX = models.Notification.__table__
PROFILES = models.DeviceProfile.__table__

SHOWN = (
    sa.select(
        ARQS,
        PROFILES.c.name.label("device_profile_name"),
        HANDLES.c.uuid.label("attach_handle_uuid"),
        HANDLES.c.attach_type.label("attach_handle_type"),
        HANDLES.c.attach_info.label("attach_handle_info"),
    )
    .select_from(
        ARQS.join(
            PROFILES, PROFILES.c.id == ARQS.c.device_profile_id
        ).outerjoin(HANDLES, HANDLES.c.id == ARQS.c.attach_handle_id)
    )
    .order_by(ARQS.c.id)
)
SHOWN_BY_UUIDS = SHOWN.where(ARQS.c.uuid.in_(sa.bindparam("uuids")))
SHOWN_OF_INSTANCES = SHOWN.where(
    ARQS.c.instance_uuid.in_(sa.bindparam("instances"))
).limit(sa.bindparam("limit"))
PROFILE_BY_NAME = sa.select(PROFILES).where(
    PROFILES.c.name == sa.bindparam("name")
)
PROFILE = (
    sa.select(PROFILES)
    .where(
        sa.or_(
            PROFILES.c.uuid.in_(sa.bindparam("names")),
            PROFILES.c.name.in_(sa.bindparam("names")),
        )
    )
    .order_by(PROFILES.c.id)
)
WITH_PROFILE = sa.select(ARQS, PROFILES.c.profile_json).join_from(
    ARQS, PROFILES, PROFILES.c.id == ARQS.c.device_profile_id
)
ARQS_FOR_BIND = sa.union(
    WITH_PROFILE.where(ARQS.c.uuid.in_(sa.bindparam("uuids"))),
    WITH_PROFILE.where(ARQS.c.instance_uuid.in_(sa.bindparam("instances"))),
)
DEPLOYABLES_FOR_BIND = (
    sa.select(
        DEPLOYABLES.c.id,
        DEPLOYABLES.c.uuid,
        DEPLOYABLES.c.rp_uuid,
        DEPLOYABLES.c.missing_since,
        DEVICES.c.type,
        DEVICES.c.hostname,
        DEVICES.c.missing_since.label("device_missing_since"),
        HOSTS.c.rpc_host,
        HOSTS.c.forced_down,
        HOSTS.c.last_seen_at,
        sa.exists()
        .where(JOBS.c.device_id == DEVICES.c.id, JOBS.c.finished_at.is_(None))
        .label("is_updated"),
    )
    .select_from(
        DEPLOYABLES.join(
            DEVICES, DEVICES.c.id == DEPLOYABLES.c.device_id
        ).outerjoin(HOSTS, HOSTS.c.hostname == DEVICES.c.hostname)
    )
    .where(DEPLOYABLES.c.rp_uuid.in_(sa.bindparam("rp_uuids")))
    .order_by(DEPLOYABLES.c.id)
)
LOCK_ARQS = (
    sa.select(ARQS)
    .where(ARQS.c.id.in_(sa.bindparam("ids")))
    .order_by(ARQS.c.id)
    .with_for_update()
)
LOCK_ARQS_OF_INSTANCE = (
    sa.select(ARQS)
    .where(ARQS.c.instance_uuid == sa.bindparam("instance"))
    .order_by(ARQS.c.id)
    .with_for_update()
)
FREE_HANDLE = (
    sa.select(
        HANDLES.c.id,
        HANDLES.c.deployable_id,
        HANDLES.c.attach_type,
        HANDLES.c.attach_info,
    )
    .where(
        HANDLES.c.deployable_id.in_(sa.bindparam("deployable_ids")),
        HANDLES.c.in_use == sa.false(),
        HANDLES.c.missing_since.is_(None),
        ~sa.exists().where(
            DEPLOYABLES.c.id == HANDLES.c.deployable_id,
            JOBS.c.device_id == DEPLOYABLES.c.device_id,
            JOBS.c.finished_at.is_(None),
        ),
    )
    .order_by(HANDLES.c.id)
    .limit(sa.bindparam("count"))
    .with_for_update(skip_locked=True)
)
HANDLES_BY_IDS = sa.update(HANDLES).where(
    HANDLES.c.id.in_(sa.bindparam("ids"))
)
TAKE_HANDLE = HANDLES_BY_IDS.where(HANDLES.c.in_use == sa.false()).values(
    in_use=True
)
RELEASE_HANDLE = HANDLES_BY_IDS.where(
    ~sa.or_(
        HANDLES.c.attach_type == "MDEV",
        HANDLES.c.attach_info.contains('"asked_type"', autoescape=True),
    )
).values(in_use=False)
SET_BOUND = sa.update(ARQS).where(ARQS.c.id == sa.bindparam("arq_id"))
FORGET_INSTANCE = sa.delete(BOUND).where(
    BOUND.c.instance_uuid.in_(sa.bindparam("instances"))
)
DELETE_EVENTS_FOR = sa.delete(OUTBOX).where(
    OUTBOX.c.arq_uuid.in_(sa.bindparam("arq_uuids"))
)
DELETE_ARQS = sa.delete(ARQS).where(ARQS.c.id.in_(sa.bindparam("ids")))
IS_DUE = OUTBOX.c.next_attempt_at <= sa.bindparam("now")
INSTANCES_DUE = (
    sa.select(OUTBOX.c.instance_uuid)
    .where(
        IS_DUE,
        ~sa.exists().where(
            ARQS.c.instance_uuid == OUTBOX.c.instance_uuid,
            ARQS.c.state == "BindStarted",
        ),
    )
    .group_by(OUTBOX.c.instance_uuid)
    .order_by(sa.func.min(OUTBOX.c.id))
    .limit(100)
)
LOCK_EVENTS = (
    sa.select(OUTBOX)
    .where(OUTBOX.c.instance_uuid.in_(sa.bindparam("instances")), IS_DUE)
    .order_by(OUTBOX.c.id)
    .with_for_update(skip_locked=True)
)
LEASE_EVENTS = sa.update(OUTBOX).where(OUTBOX.c.id.in_(sa.bindparam("ids")))
DELETE_EVENTS = sa.delete(OUTBOX).where(OUTBOX.c.id.in_(sa.bindparam("ids")))
HEARTBEAT = sa.update(HOSTS).where(
    HOSTS.c.hostname == sa.bindparam("name"),
    HOSTS.c.report_digest == sa.bindparam("digest"),
)
NOT_SHOWN = ("id", "device_profile_id", "attach_handle_id", "substate")


def show(row: Any) -> dict[str, Any]:
    """Return a row as a document."""
    shown = {
        name: value
        for name, value in row._mapping.items()
        if name not in NOT_SHOWN
    }
    shown["created_at"] = row.created_at.isoformat()
    shown["updated_at"] = row.updated_at and row.updated_at.isoformat()
    shown["attach_handle_info"] = json.loads(row.attach_handle_info or "{}")
    shown["links"] = [{"href": f"/v2/{row.uuid}", "rel": "self"}]
    return shown


class UseCases:
    """Each is one transaction; the methods are RPC endpoints, too."""

    def __init__(self, engine: sa.Engine, wake: Any) -> None:
        self._engine = engine
        self._wake = wake

    def create(
        self, context: Any, profile: str, project: str
    ) -> list[dict[str, Any]]:
        with self._engine.begin() as connection:
            row = connection.execute(PROFILE, {"names": [profile]}).one()
            made = str(uuid.uuid4())
            connection.execute(
                sa.insert(ARQS),
                [
                    {
                        "uuid": made,
                        "project_id": project,
                        "device_profile_id": row.id,
                        "device_profile_group_id": 0,
                        "resource_class": "PGPU",
                    }
                ],
            )
            rows = connection.execute(SHOWN_BY_UUIDS, {"uuids": [made]}).all()
        return [show(row) for row in rows]

    def bind(self, context: Any, binding: dict[str, str]) -> None:
        instance = binding["instance_uuid"]
        with self._engine.begin() as connection:
            arq = connection.execute(
                ARQS_FOR_BIND,
                {"uuids": [binding["uuid"]], "instances": [instance]},
            ).one()
            deployable = connection.execute(
                DEPLOYABLES_FOR_BIND, {"rp_uuids": [binding["device_rp_uuid"]]}
            ).one()
            connection.execute(sa.insert(BOUND), [{"instance_uuid": instance}])
            connection.execute(LOCK_ARQS, {"ids": [arq.id]}).all()
            handle = connection.execute(
                FREE_HANDLE, {"deployable_ids": [deployable.id], "count": 1}
            ).one()
            connection.execute(TAKE_HANDLE, {"ids": [handle.id]})
            connection.execute(
                SET_BOUND,
                {
                    "arq_id": arq.id,
                    "state": "Bound",
                    "hostname": binding["hostname"],
                    "device_rp_uuid": binding["device_rp_uuid"],
                    "instance_uuid": instance,
                    "project_id": arq.project_id,
                    "attach_handle_id": handle.id,
                    "deployable_id": deployable.id,
                    "substate": "Initial",
                },
            )
            connection.execute(
                sa.insert(OUTBOX),
                [
                    {
                        "instance_uuid": instance,
                        "arq_uuid": arq.uuid,
                        "status": "completed",
                        "next_attempt_at": timeutils.utcnow(),
                        "attempts": 0,
                    }
                ],
            )
        self._wake()

    def delete(self, context: Any, instance: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(FORGET_INSTANCE, {"instances": [instance]})
            rows = connection.execute(
                LOCK_ARQS_OF_INSTANCE, {"instance": instance}
            ).all()
            connection.execute(
                RELEASE_HANDLE, {"ids": [row.attach_handle_id for row in rows]}
            )
            connection.execute(
                DELETE_EVENTS_FOR, {"arq_uuids": [row.uuid for row in rows]}
            )
            connection.execute(DELETE_ARQS, {"ids": [row.id for row in rows]})

    def wake(self, context: Any) -> None:
        self._wake()

    def heartbeat(self, context: Any, host: str, digest: str) -> bool:
        with self._engine.begin() as connection:
            return bool(
                connection.execute(
                    HEARTBEAT,
                    {
                        "name": host,
                        "digest": digest,
                        "last_seen_at": timeutils.utcnow(),
                        "rpc_host": host,
                    },
                ).rowcount
            )

    def report(
        self, context: Any, host: str, devices: list[Any], value: str
    ) -> None:
        found = sa.select(DEVICES.c.id).where(DEVICES.c.hostname == host)
        parts = sa.select(DEPLOYABLES.c.id).where(
            DEPLOYABLES.c.device_id.in_(found)
        )
        with self._engine.begin() as connection:
            connection.execute(
                sa.select(HOSTS)
                .where(HOSTS.c.hostname == host)
                .with_for_update()
            ).one()
            for query in (
                sa.select(DEVICES).where(DEVICES.c.hostname == host),
                sa.select(PATHS).where(PATHS.c.device_id.in_(found)),
                sa.select(DEPLOYABLES).where(
                    DEPLOYABLES.c.device_id.in_(found)
                ),
                sa.select(HANDLES).where(HANDLES.c.deployable_id.in_(parts)),
                sa.select(ATTRIBUTES).where(
                    ATTRIBUTES.c.deployable_id.in_(parts)
                ),
            ):
                rows = connection.execute(query).all()
            changed = next(row for row in rows if row.key == "firmware")
            connection.execute(
                sa.update(ATTRIBUTES)
                .where(ATTRIBUTES.c.id == changed.id)
                .values(value=value)
            )
            connection.execute(
                sa.update(HOSTS)
                .where(HOSTS.c.hostname == host)
                .values(last_seen_at=timeutils.utcnow())
            )


class Outbox:
    """Tells Nova what there is to tell."""

    def __init__(self, engine: sa.Engine, nova: str) -> None:
        self._engine = engine
        self._url = f"{nova}/os-server-external-events"
        self._session = requests.Session()
        self.woken = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.woken.wait()
            time.sleep(GATHER)
            self.woken.clear()
            self._send()

    def _send(self) -> None:
        now = timeutils.utcnow()
        with self._engine.begin() as connection:
            instances = (
                connection.execute(INSTANCES_DUE, {"now": now}).scalars().all()
            )
            if not instances:
                return
            rows = connection.execute(
                LOCK_EVENTS, {"now": now, "instances": instances}
            ).all()
            ids = [row.id for row in rows]
            if not ids:
                return
            connection.execute(
                LEASE_EVENTS,
                {
                    "ids": ids,
                    "next_attempt_at": now + datetime.timedelta(seconds=60),
                },
            )
        events = [
            {
                "name": "accelerator-request-bound",
                "server_uuid": row.instance_uuid,
                "tag": row.arq_uuid,
                "status": row.status,
            }
            for row in rows
        ]
        self._session.post(self._url, json={"events": events})
        with self._engine.begin() as connection:
            connection.execute(DELETE_EVENTS, {"ids": ids})


class Remote:
    """The use cases, called over the message bus."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._client.call, method=name)


def authorize(request: Any, rule: str) -> None:
    cyborg_context.RequestContext.from_environ(request.environ).can(rule)


class Controller:
    """The four requests, by Pecan."""

    def __init__(self, engine: sa.Engine, conductor: Any) -> None:
        self._engine = engine
        self._conductor = conductor

    @pecan.expose()
    def _route(self, args: list[str], request: Any) -> tuple[Any, list[str]]:
        return getattr(self, request.method.lower()), []

    def _answer(self, status: int, document: Any = None) -> webob.Response:
        body = b"" if document is None else json.dumps(document).encode()
        return webob.Response(
            body, status, content_type="application/json", charset=None
        )

    @pecan.expose(content_type="application/json")
    def post(self, request: Any, response: Any) -> Any:
        authorize(request, policies.CREATE)
        name = request.json["device_profile_name"]
        with self._engine.connect() as connection:
            profile = connection.execute(PROFILE_BY_NAME, {"name": name}).one()
        rows = self._conductor.create(
            {}, profile=profile.uuid, project="project"
        )
        return self._answer(201, {"arqs": rows})

    @pecan.expose(content_type="application/json")
    def patch(self, request: Any, response: Any) -> Any:
        authorize(request, policies.UPDATE)
        ((uuid_, changes),) = request.json.items()
        values = {change["path"][1:]: change["value"] for change in changes}
        self._conductor.bind({}, binding={"uuid": uuid_, **values})
        return self._answer(202)

    @pecan.expose(content_type="application/json")
    def get(self, request: Any, response: Any) -> Any:
        authorize(request, policies.GET_ALL)
        with self._engine.connect() as connection:
            rows = connection.execute(
                SHOWN_OF_INSTANCES,
                {"instances": [request.GET["instance"]], "limit": 1000},
            ).all()
        return self._answer(200, {"arqs": [show(row) for row in rows]})

    @pecan.expose(content_type="application/json")
    def delete(self, request: Any, response: Any) -> Any:
        authorize(request, policies.DELETE)
        self._conductor.delete({}, instance=request.GET["instance"])
        return self._answer(204)


def make_engine(url: str) -> sa.Engine:
    db_engine.configure(connection=url)
    return db_engine.get_engine()


def transport(url: str) -> Any:
    messaging.set_transport_defaults(rpc.EXCHANGE)
    CONF([], project="floor", default_config_files=[])
    return messaging.get_rpc_transport(CONF, url)


def serve_api(mode: str, port: str, database: str, bus: str) -> None:
    engine = make_engine(database)
    client = messaging.get_rpc_client(
        transport(bus), messaging.Target(topic=TOPIC)
    )
    conductor: Any = Remote(client)
    if mode == "local":
        conductor = UseCases(engine, lambda: client.cast({}, "wake"))
    application = app.Application(
        Controller(engine, conductor),
        guess_content_type_from_ext=False,
        force_canonical=False,
    )
    server = wsgi.Server(
        ("127.0.0.1", int(port)),
        application,
        numthreads=THREADS,
        request_queue_size=128,
    )
    # Like Cyborg's; cheroot expects ten.
    server.keep_alive_conn_limit = 1000
    server.start()


def serve_conductor(database: str, bus: str, nova: str) -> None:
    engine = make_engine(database)
    outbox = Outbox(engine, nova)
    server = messaging.get_rpc_server(
        transport(bus),
        messaging.Target(topic=TOPIC, server="floor"),
        [UseCases(engine, outbox.woken.set)],
        executor="threading",
        access_policy=messaging.DefaultRPCAccessPolicy,
    )
    server.start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    signal.pause()


def binding_body(
    arq: str, host: str, provider: str, instance: str
) -> dict[str, Any]:
    """Return the body of a PATCH, for the floor and for Cyborg."""
    values = {
        "hostname": host,
        "device_rp_uuid": provider,
        "instance_uuid": instance,
    }
    return {
        arq: [
            {"op": "add", "path": f"/{name}", "value": value}
            for name, value in values.items()
        ]
    }


def query(**arguments: str) -> str:
    return "?" + urllib.parse.urlencode(arguments)


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    serve: Any = {"api": serve_api, "conductor": serve_conductor}[role]
    serve(*arguments)
