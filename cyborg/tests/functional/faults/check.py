"""What has to hold after a storm, read from where it matters."""

import time

from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults import storm as storm_module

# Seconds in which everything that was begun has to come to its end.
SETTLE = (
    site_module.BIND_TIMEOUT
    + site_module.PROGRAM_TIMEOUT
    + 4 * site_module.LEASE
    + 60
)


def after(storm: storm_module.Storm) -> list[str]:
    """Return what is violated once the storm is over and all is up."""
    site = storm.site
    violations = _settled(site)
    violations += _answers_kept(storm)
    violations += _handles(site)
    violations += _nova_told(storm)
    _delete_all(storm)
    violations += _settled(site)
    violations += _nothing_left(site)
    violations += _placement(site)
    return violations


def _settled(site: site_module.Site) -> list[str]:
    """Wait until nothing is under way; what stays is a violation."""

    def under_way() -> list[str]:
        return [
            f"{row.what} {row.uuid} {row.state}"
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

    deadline = time.monotonic() + SETTLE
    while under_way() and time.monotonic() < deadline:
        time.sleep(0.3)
    return [f"still under way: {line}" for line in under_way()]


def _answers_kept(storm: storm_module.Storm) -> list[str]:
    """What a client was told is so."""
    rows = {
        row.uuid: row
        for row in storm.site.query(
            "SELECT uuid, CAST(state AS CHAR) state, instance_uuid "
            "FROM extended_accelerator_requests"
        )
    }
    violations = []
    for instance in storm.instances:
        for uuid in instance.arqs:
            row = rows.get(uuid)
            if instance.deleted:
                if row is not None and row.state != "UnbindFailed":
                    violations.append(f"deleted ARQ {uuid} is {row.state}")
            elif instance.unsure:
                continue
            elif row is None:
                violations.append(f"ARQ {uuid} is lost")
            elif instance.bound and (
                row.state not in ("Bound", "BindFailed")
                or row.instance_uuid != instance.uuid
            ):
                violations.append(f"bound ARQ {uuid} is {row}")
            elif not instance.bound and row.state != "Initial":
                violations.append(f"refused ARQ {uuid} is {row.state}")
    return violations


def _handles(site: site_module.Site) -> list[str]:
    """A handle is in use if, and only if, one ARQ holds it."""
    rows = site.query(
        "SELECT h.uuid, h.in_use, COUNT(a.id) holders, MAX(h.attach_type) kind,"
        " MAX(CAST(a.state AS CHAR)) state FROM attach_handles h "
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
    violations += [f"bound mdev {uuid} does not exist" for uuid in bound - there]
    violations += [f"mdev {uuid} is nobody's" for uuid in there - held]
    return violations


def _nova_told(storm: storm_module.Storm) -> list[str]:
    """Nova heard of everything that is resolved."""
    told = {
        (event["tag"], event["status"])
        for event in storm.site.nova.events
        if event["code"] == 200
    }
    status = {"Bound": "completed", "BindFailed": "failed"}
    return [
        f"Nova was not told that ARQ {row.uuid} is {row.state}"
        for row in storm.site.query(
            "SELECT uuid, CAST(state AS CHAR) state "
            "FROM extended_accelerator_requests "
            "WHERE state IN ('Bound', 'BindFailed')"
        )
        if (row.uuid, status[row.state]) not in told
    ]


def _delete_all(storm: storm_module.Storm) -> None:
    """Delete every ARQ, as a user would who cleans up."""
    api = storm_module.Api(storm.site, storm.history)
    for row in storm.site.query(
        "SELECT uuid FROM extended_accelerator_requests"
    ):
        for _attempt in range(10):
            try:
                api.call("DELETE", f"/accelerator_requests?arqs={row.uuid}")
                break
            except storm_module.Lost:
                time.sleep(1)


def _nothing_left(site: site_module.Site) -> list[str]:
    tables = {
        "extended_accelerator_requests": "1 = 1",
        "bound_instances": "1 = 1",
        "notifications": "1 = 1",
        "jobs": "finished_at IS NULL",
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
        return found + [f"mdev {uuid} is left" for uuid in site.mdevs()]

    deadline = time.monotonic() + SETTLE
    while left() and time.monotonic() < deadline:
        time.sleep(0.3)
    return left()


def _placement(site: site_module.Site) -> list[str]:
    """Placement says what the database says."""
    try:
        site.tool("manage", "placement", "audit")
    except AssertionError as error:
        return [f"placement audit: {error}"]
    return []
