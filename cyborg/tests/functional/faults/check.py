"""What has to hold after a storm, read from where it matters."""

import collections
from collections.abc import Callable
import datetime
import time
from typing import Any

from keystoneauth1 import exceptions as ks_exceptions

from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import peers
from cyborg.tests.functional.faults import site as site_module

# Seconds in which everything that was begun has to come to its end.
SETTLE = (
    site_module.BIND_TIMEOUT
    + site_module.PROGRAM_TIMEOUT
    + 8 * site_module.LEASE
    + 60
)
# How long past its deadline a bind may be under way: a lease, and the time in
# which daemons start on a busy machine.
GRACE = datetime.timedelta(seconds=site_module.LEASE + 30)


def after(cloud: clients.Cloud, audit: bool = True) -> list[str]:
    """Return what is violated once the storm is over and all is up.

    Everything is deleted, and every card enabled, when this returns.

    :param audit: have cyborg-manage compare Placement, too
    """
    site = cloud.site
    violations = cloud.violations + cloud.given_twice()
    violations += _in_time(site)
    violations += _settled(site)
    violations += _answers_kept(cloud)
    violations += _handles(site)
    violations += _nova_told(site)
    violations += _cards_kept(cloud)
    violations += _loaded(site)
    violations += _fenced(site)
    _delete_all(cloud)
    cloud.mend()
    violations += _nothing_left(site)
    violations += _clean(site)
    violations += _settled(site)
    violations += _hardware(site)
    violations += _fenced(site)
    if audit:
        violations += _placement(site)
    return violations


def _until_empty(left: Callable[[], list[str]]) -> list[str]:
    """Wait until there is nothing left; return what is in the end."""
    deadline = time.monotonic() + SETTLE
    while True:
        found = left()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _in_time(site: site_module.Site) -> list[str]:
    """Wait until no bind is under way; none takes longer than it may.

    The deadlines began while things were killed: they count from now on.
    """
    (began,) = site.query("SELECT UTC_TIMESTAMP() now")
    while True:
        rows = site.query(
            "SELECT a.uuid, j.deadline_at, UTC_TIMESTAMP() now "
            "FROM extended_accelerator_requests a "
            "LEFT JOIN jobs j ON j.arq_id = a.id AND j.kind = 'bind' "
            "WHERE a.state = 'BindStarted'"
        )
        late = [
            f"ARQ {row.uuid} is stuck past {row.deadline_at}"
            for row in rows
            if row.now > max(row.deadline_at or began.now, began.now) + GRACE
        ]
        if late or not rows:
            return late
        time.sleep(0.2)


def _settled(site: site_module.Site) -> list[str]:
    """Wait until nothing is under way; what stays is a violation."""

    def under_way() -> list[str]:
        return [
            f"still under way: {row.what} {row.uuid} {row.state}"
            for row in site.query(
                "SELECT 'ARQ' what, uuid, CAST(state AS CHAR) state "
                "FROM extended_accelerator_requests "
                "WHERE state IN ('BindStarted', 'Deleting') "
                "UNION ALL SELECT kind, uuid, step FROM jobs "
                "WHERE finished_at IS NULL "
                "UNION ALL SELECT 'event', arq_uuid, status "
                "FROM notifications "
                "UNION ALL SELECT 'host', uuid, 'out of step' FROM hosts "
                "WHERE sync_done < sync_wanted"
            )
        ]

    return _until_empty(under_way)


def _arqs(site: site_module.Site) -> list[Any]:
    return site.query(
        "SELECT uuid, CAST(state AS CHAR) state, instance_uuid "
        "FROM extended_accelerator_requests"
    )


def _answers_kept(cloud: clients.Cloud) -> list[str]:
    """What a client was told is so."""
    allowed = {
        "new": ("Initial",),
        "bound": ("Bound", "BindFailed"),
        "unbound": ("Unbound", "UnbindFailed"),
        "deleted": ("UnbindFailed",),
    }
    rows = {row.uuid: row for row in _arqs(cloud.site)}
    violations = []
    for instance in cloud.instances:
        if instance.unsure:
            continue
        for uuid in instance.arqs:
            row = rows.get(uuid)
            if row is None:
                if instance.state != "deleted":
                    violations.append(f"{instance.state} ARQ {uuid} is lost")
            elif row.state not in allowed[instance.state]:
                violations.append(
                    f"{instance.state} ARQ {uuid} is {row.state}"
                )
            elif (
                instance.state == "bound"
                and row.instance_uuid != instance.uuid
            ):
                violations.append(
                    f"ARQ {uuid} of {instance.uuid} is bound to "
                    f"{row.instance_uuid}"
                )
    return violations


def _handles(site: site_module.Site) -> list[str]:
    """A handle is in use if, and only if, one ARQ holds it."""
    rows = site.query(
        "SELECT h.uuid, h.in_use, COUNT(a.id) holders, "
        "MAX(h.attach_type) kind, MAX(CAST(a.state AS CHAR)) state "
        "FROM attach_handles h "
        "LEFT JOIN extended_accelerator_requests a "
        "ON a.attach_handle_id = h.id GROUP BY h.id, h.uuid, h.in_use"
    )
    violations = [
        f"handle {row.uuid}: in use {row.in_use}, holders {row.holders}"
        for row in rows
        if bool(row.in_use) != (row.holders == 1) or row.holders > 1
    ]
    bound = {
        row.uuid for row in rows if row.kind == "MDEV" and row.state == "Bound"
    }
    held = {row.uuid for row in rows if row.kind == "MDEV" and row.in_use}
    there = site.mdevs()
    violations += [
        f"bound mdev {uuid} does not exist" for uuid in bound - there
    ]
    violations += [f"mdev {uuid} is nobody's" for uuid in there - held]
    return violations


def _clean(site: site_module.Site) -> list[str]:
    """Nobody was given what another had before it was cleaned.

    Each card begins with as many clean handles as it has at most; each bind
    takes one of them, and each cleaning gives one back.
    """
    violations = [
        f"card {row.uuid} is left {row.state}"
        for row in site.query(
            "SELECT uuid, CAST(device_state AS CHAR) state FROM devices "
            "WHERE device_state <> 'available'"
        )
    ]
    taken: collections.Counter[int] = collections.Counter()
    for row in site.query(
        "SELECT identity_id, device_uuid, kind, at FROM device_events "
        "WHERE kind IN ('bound', 'cleaned') AND identity_id IS NOT NULL "
        "ORDER BY id"
    ):
        taken[row.identity_id] += 1 if row.kind == "bound" else -1
        if taken[row.identity_id] > site_module.MOST_HANDLES:
            violations.append(
                f"card {row.device_uuid} had nothing clean left at {row.at}"
            )
    return violations


def _nova_told(site: site_module.Site) -> list[str]:
    """Nova heard of everything that is resolved."""
    told = {
        (event["tag"], event["server_uuid"], event["status"])
        for event in site.nova.events
        if event["code"] == 200
    }
    status = {"Bound": "completed", "BindFailed": "failed"}
    return [
        f"Nova was not told that ARQ {row.uuid} is {row.state}"
        for row in _arqs(site)
        if row.state in status
        and (row.uuid, row.instance_uuid, status[row.state]) not in told
    ]


def _cards_kept(cloud: clients.Cloud) -> list[str]:
    """Every card has the status that was asked for last."""
    rows = {
        row.uuid: row.status
        for row in cloud.site.query(
            "SELECT uuid, CAST(status AS CHAR) status FROM devices"
        )
    }
    return [
        f"card {uuid} shall be {wish} and is {rows[uuid]}"
        for uuid, wish in cloud.wishes.items()
        if wish is not None and uuid in rows and rows[uuid] != wish
    ]


def _loaded(site: site_module.Site) -> list[str]:
    """A card holds what the database says, and what its users asked for."""
    digests = {
        image: peers.digest(function)
        for function, image in site_module.FUNCTIONS.items()
    }
    violations = [
        f"the card of {row.hostname} shall hold {row.bitstream_id}"
        for row in site.query(
            "SELECT v.hostname, d.bitstream_id FROM deployables d "
            "JOIN devices v ON v.id = d.device_id "
            "WHERE d.bitstream_id IS NOT NULL"
        )
        if site.loaded(row.hostname) != digests[row.bitstream_id]
    ]
    images = {
        "function-a": site_module.FUNCTIONS["function-a"],
        "image-b": site_module.FUNCTIONS["function-b"],
    }
    return violations + [
        f"bound ARQ {row.uuid} of {row.name} has {row.bitstream_id}"
        for row in site.query(
            "SELECT a.uuid, p.name, d.bitstream_id "
            "FROM extended_accelerator_requests a "
            "JOIN device_profiles p ON p.id = a.device_profile_id "
            "JOIN deployables d ON d.id = a.deployable_id "
            "WHERE a.state = 'Bound'"
        )
        if row.name in images and row.bitstream_id != images[row.name]
    ]


def _fenced(site: site_module.Site) -> list[str]:
    """Placement offers what may be used, and nothing else."""

    def wrong() -> list[str]:
        try:
            offered = {
                provider["uuid"]: provider["inventories"]
                for root in site.roots.values()
                for provider in site.placement.tree(root).values()
            }
        except ks_exceptions.ClientException as error:
            # A provider went while the tree was read.
            return [str(error)]
        rows = site.query(
            "SELECT d.name, d.rp_uuid, d.missing_since gone, "
            "v.missing_since card_gone, v.status, h.forced_down, "
            "(SELECT COUNT(*) FROM attach_handles a WHERE "
            "a.deployable_id = d.id AND a.missing_since IS NULL) handles, "
            "(SELECT COUNT(*) FROM attach_handles a "
            "LEFT JOIN extended_accelerator_requests r "
            "ON r.attach_handle_id = a.id WHERE a.deployable_id = d.id "
            "AND a.in_use AND a.missing_since IS NULL AND COALESCE("
            "CAST(r.state AS CHAR) NOT IN ('Bound', 'BindStarted'), 1)) idle "
            "FROM deployables d JOIN devices v ON v.id = d.device_id "
            "JOIN hosts h ON h.hostname = v.hostname"
        )
        found = [
            f"provider {uuid} of no deployable"
            for uuid in offered.keys() - {row.rp_uuid for row in rows}
        ]
        by_provider: dict[str, list[Any]] = {}
        for row in rows:
            by_provider.setdefault(row.rp_uuid, []).append(row)
        for uuid, counted in by_provider.items():
            usable = sum(
                row.handles - row.idle
                for row in counted
                if row.status == "enabled"
                and not row.forced_down
                and row.gone is None
                and row.card_gone is None
            )
            inventory = offered.get(uuid, {}).get("FPGA")
            free = 0
            if inventory is not None:
                free = inventory["total"] - inventory["reserved"]
            if free != usable:
                found.append(f"{counted} are offered as {inventory}")
        return found

    return _until_empty(wrong)


def _delete_all(cloud: clients.Cloud) -> None:
    """Delete every ARQ, as a user would who cleans up."""
    for row in _arqs(cloud.site):
        for _attempt in range(10):
            try:
                cloud.api.call(
                    "DELETE", f"/accelerator_requests?arqs={row.uuid}"
                )
                break
            except clients.Lost:
                time.sleep(1)


def _nothing_left(site: site_module.Site) -> list[str]:
    tables = {
        "extended_accelerator_requests": "1 = 1",
        "bound_instances": "1 = 1",
        "notifications": "1 = 1",
        # The last result of each card is kept.
        "jobs": "finished_at IS NULL OR kind NOT IN ('program', 'firmware')",
        "attach_handles": "in_use = 1",
    }

    def left() -> list[str]:
        counts = {
            table: site.query(
                f"SELECT COUNT(*) n FROM {table} WHERE {condition}"
            )[0].n
            for table, condition in tables.items()
        }
        found = [f"{n} left in {name}" for name, n in counts.items() if n]
        found += [f"mdev {uuid} is left" for uuid in site.mdevs()]
        return found + [f"{path} is left" for path in site.images_in_use()]

    return _until_empty(left)


def _hardware(site: site_module.Site) -> list[str]:
    """What the hosts have is stored, and what they had is not."""
    expected = sorted(
        (host, site_module.HANDLES) for host in site_module.HOSTS
    )

    def wrong() -> list[str]:
        found = sorted(
            (row.hostname, row.handles)
            for row in site.query(
                "SELECT v.hostname, COUNT(a.id) handles FROM devices v "
                "LEFT JOIN deployables d ON d.device_id = v.id "
                "LEFT JOIN attach_handles a ON a.deployable_id = d.id "
                "GROUP BY v.id, v.hostname"
            )
        )
        return [] if found == expected else [f"cards are {found}"]

    return _until_empty(wrong)


def _placement(site: site_module.Site) -> list[str]:
    """cyborg-manage finds no difference between Placement and database."""
    try:
        site.tool("manage", "placement", "audit")
    except AssertionError as error:
        return [f"placement audit: {error}"]
    return []
