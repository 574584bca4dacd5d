"""Makes Placement agree with what is stored of a host's accelerators.

:mod:`cyborg.conductor.provider_state` says what has to be so;
:func:`sync_host` reads, and writes what is not, and is what every change of a
device ends in. Cyborg's providers are children of the compute node's, which
others make; providers it does not know it leaves alone.
"""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import datetime
import random
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import timeutils
from oslo_utils import uuidutils

from cyborg import context as cyborg_context
from cyborg.clients import placement
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common.i18n import _
from cyborg.conductor import notifications
from cyborg.conductor import provider_state
from cyborg.context import RequestContext
from cyborg.db import host as host_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Hosts one conductor synchronises at a time.
CONCURRENCY = 4
# How often a provider is read again when somebody else changed it.
_ATTEMPTS = 6
_LONGEST_PAUSE = 120


class _Lease:
    """A host's lease, which its owner keeps for as long as it works."""

    def __init__(
        self, context: RequestContext, hostname: str, owner: str
    ) -> None:
        self._context = context
        self._hostname = hostname
        self._owner = owner
        self._taken = time.monotonic()

    def keep(self) -> None:
        """Renew it now and then.

        :raises HostLeaseLost: this was too late
        """
        if time.monotonic() - self._taken < _lease() / 4:
            return
        if not host_db.renew(
            self._context, self._hostname, self._owner, _lease()
        ):
            raise exception.HostLeaseLost(host=self._hostname)
        self._taken = time.monotonic()


class _Pass:
    """One comparison of a host with Placement.

    :param full: look at every provider, whatever its generation
    :param lease: kept while the work goes on
    """

    def __init__(
        self,
        context: RequestContext,
        hostname: str,
        full: bool,
        lease: _Lease | None = None,
    ) -> None:
        self.context = context
        self.hostname = hostname
        self.full = full
        self.client = placement.Client(
            context.global_id, lease.keep if lease else None
        )
        self.rows = host_db.load(context, hostname)
        self.root = ""
        self.tree: dict[str, provider_state.Actual] = {}
        self.wanted: dict[str, provider_state.Provider] = {}
        # Deployable id: why its provider is not as it should be.
        self.errors: dict[int, str] = {}

    # -- reading

    def read_tree(self) -> None:
        """Find the compute node's provider and everything below it.

        :raises PlacementResourceProviderNotFound: nova-compute has made none
        """
        root = self.rows.host.root_rp_uuid
        nodes = self.client.get_tree(root) if root else []
        if not any(
            node["uuid"] == root and node["name"] == self.hostname
            for node in nodes
        ):
            record = self.client.find_provider(self.hostname)
            if record is None:
                raise exception.PlacementResourceProviderNotFound(
                    names=self.hostname
                )
            root = record["uuid"]
            host_db.set_root(self.context, self.hostname, root)
            nodes = self.client.get_tree(root)
        self.root = root
        self.tree = {
            node["uuid"]: provider_state.actual(node) for node in nodes
        }

    def read(self) -> None:
        """Look at the providers that may differ."""
        self.wanted = provider_state.settle(
            provider_state.desired(self.rows), self.tree
        )
        full = self.full or self._is_restored()
        for provider in self.wanted.values():
            there = self.tree.get(provider.uuid)
            if there is not None and (
                full
                or provider.written != provider.to_write
                or provider.generation != there.generation
            ):
                seen = self._look(there)
                if seen is None:
                    del self.tree[provider.uuid]
                else:
                    self.tree[provider.uuid] = seen

    def _is_restored(self) -> bool:
        """Tell whether Placement is older than what was recorded of it.

        After a backup was restored, a provider that others changed since may
        have come to the recorded generation in another way.
        """
        return any(
            provider.generation is not None
            and provider.uuid in self.tree
            and self.tree[provider.uuid].generation < provider.generation
            for provider in self.wanted.values()
        )

    def _look(
        self, there: provider_state.Actual
    ) -> provider_state.Actual | None:
        inventories = self.client.get_inventories(there.uuid)
        traits = self.client.get_traits(there.uuid)
        if inventories is None or traits is None:
            return None
        # If it changed between the two, the older generation makes the
        # write fail and the provider is read again.
        return dataclasses.replace(
            there,
            generation=min(inventories[0], traits[0]),
            inventories=inventories[1],
            traits=frozenset(traits[1]),
        )

    def plan(self) -> list[provider_state.Change]:
        return provider_state.plan(self.wanted, self.tree, self.root)

    def orphans(self) -> list[provider_state.Change]:
        """Return providers that Cyborg made and nobody knows any more."""
        found = []
        for node in self.tree.values():
            if node.uuid in self.wanted or node.uuid == self.root:
                continue
            if node.uuid != provider_state.provider_uuid(node.name):
                # An earlier release made it so; ours have the trait as well.
                traits = self.client.get_traits(node.uuid)
                if traits is None or constants.OWNER_TRAIT not in traits[1]:
                    continue
            found.append(
                provider_state.Change(
                    "delete", node.uuid, node.name, (node.name,), None
                )
            )
        return found

    # -- writing

    def apply(self) -> None:
        """Write every difference; what fails is in ``errors``."""
        for provider in list(self.wanted.values()):
            if provider.problem:
                self._failed(provider, provider.problem)
            with self._isolated(provider):
                self._place(provider)
        self._record_identities()
        faults.point("providers-made")
        for provider in self.wanted.values():
            there = self.tree.get(provider.uuid)
            if there is not None and there.traits is not None:
                with self._isolated(provider):
                    self._write(provider, there)

    def _isolated(self, provider: provider_state.Provider) -> "_Isolated":
        return _Isolated(self, provider)

    def _failed(self, provider: provider_state.Provider, reason: str) -> None:
        LOG.error(
            "Provider %s (%s) of host %s: %s",
            provider.uuid,
            provider.name,
            self.hostname,
            reason,
        )
        for deployable_id in provider.deployable_ids:
            self.errors[deployable_id] = f"{provider.name}: {reason}"

    def _place(self, provider: provider_state.Provider) -> None:
        """Make the provider exist, where and as what it should be."""
        there = self.tree.get(provider.uuid)
        if there is None:
            self._create(provider)
        elif (there.name, there.parent) != (provider.name, self.root):
            self._move(provider, there)

    def _move(
        self,
        provider: provider_state.Provider,
        there: provider_state.Actual | None,
    ) -> None:
        for name in self._names(provider):
            try:
                record = self.client.update_provider(
                    provider.uuid, name, self.root
                )
            except exception.PlacementConflict as error:
                if error.kwargs["error_code"] != placement.DUPLICATE_NAME:
                    raise
                continue
            self._now_is(provider, provider.uuid, name)
            if there is None:
                there = self._look(provider_state.actual(record))
            if there is not None:
                self.tree[provider.uuid] = dataclasses.replace(
                    there,
                    name=name,
                    parent=self.root,
                    generation=max(record["generation"], there.generation),
                )
            LOG.info("Moved provider %s below its host", name)
            return
        raise _all_taken(provider)

    def _names(self, provider: provider_state.Provider) -> tuple[str, ...]:
        """Return names it may get, the best first."""
        if not provider.stored:
            return provider.names
        # Its own name first; another one if that is taken by now.
        return provider.names + provider_state.alternatives(
            self.rows, provider
        )

    def _create(self, provider: provider_state.Provider) -> None:
        for name in self._names(provider):
            uuid_ = (
                provider.uuid
                if provider.stored
                else provider_state.provider_uuid(name)
            )
            if uuid_ != provider.uuid and uuid_ in self.wanted:
                continue
            try:
                record = self.client.create_provider(uuid_, name, self.root)
            except exception.PlacementConflict as error:
                if error.kwargs["error_code"] != placement.DUPLICATE_NAME:
                    raise
                if self._resolve_duplicate(provider, uuid_, name):
                    return
                continue
            LOG.info("Created provider %s for host %s", name, self.hostname)
            self._now_is(provider, uuid_, name)
            # Nobody can have given it anything yet.
            self.tree[uuid_] = dataclasses.replace(
                provider_state.actual(record),
                inventories={},
                traits=frozenset(),
            )
            return
        raise _all_taken(provider)

    def _resolve_duplicate(
        self, provider: provider_state.Provider, uuid_: str, name: str
    ) -> bool:
        """Deal with a uuid or name that exists; True if that ends it."""
        record = self.client.get_provider(uuid_)
        if record is None:
            # The name is somebody else's.
            return False
        if record["root_provider_uuid"] == self.root:
            # Somebody was faster.
            self._now_is(provider, uuid_, record["name"])
            there = self._look(provider_state.actual(record))
            if there is not None:
                self.tree[uuid_] = there
            return True
        if not provider.stored:
            # Another host has a deployable of this name.
            return False
        if host_db.others_with_provider(self.context, self.hostname, uuid_):
            # Two hosts were given one provider, and the other one has it.
            self._renamed(provider)
            return True
        self._move(provider, None)
        return True

    def _renamed(self, provider: provider_state.Provider) -> None:
        names = provider_state.alternatives(self.rows, provider)
        fresh = dataclasses.replace(
            provider,
            uuid=provider_state.provider_uuid(names[0]),
            names=names,
            stored=False,
            written=None,
            generation=None,
        )
        del self.wanted[provider.uuid]
        self.wanted[fresh.uuid] = fresh
        self._place(fresh)

    def _now_is(
        self, provider: provider_state.Provider, uuid_: str, name: str
    ) -> None:
        self.wanted.pop(provider.uuid, None)
        self.wanted[uuid_] = dataclasses.replace(
            provider, uuid=uuid_, names=(name,)
        )

    def _write(
        self, provider: provider_state.Provider, there: provider_state.Actual
    ) -> None:
        """Write traits and inventory, reading again after others wrote."""
        reensured = False
        for attempt in range(_ATTEMPTS):
            try:
                self._write_once(provider, there)
                return
            except exception.PlacementStale:
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
            except exception.PlacementError as error:
                # A trait or class that was there has been deleted.
                if error.kwargs["status"] != 400 or reensured:
                    raise
                reensured = True
                placement.forget()
            seen = self._look(there)
            if seen is None:
                raise exception.PlacementStale(rp_uuid=provider.uuid)
            there = seen
        raise exception.PlacementStale(rp_uuid=provider.uuid)

    def _write_once(
        self, provider: provider_state.Provider, there: provider_state.Actual
    ) -> None:
        assert there.traits is not None and there.inventories is not None
        before = there
        traits = provider_state.merged_traits(provider, there.traits)
        unknown = provider.traits - self.client.ensure_traits(
            provider.traits - there.traits
        )
        unknown -= there.traits
        if traits - unknown != there.traits:
            generation = self.client.put_traits(
                provider.uuid, there.generation, traits - unknown
            )
            there = dataclasses.replace(
                there, generation=generation, traits=traits - unknown
            )
        there = self._write_inventories(provider, there)
        self.tree[provider.uuid] = there
        if unknown:
            self._failed(
                provider,
                f"Placement has no trait {', '.join(sorted(unknown))}",
            )
        self._record(provider, there, unknown)
        if there != before:
            LOG.info("Wrote provider %s of %s", provider.name, self.hostname)

    def _write_inventories(
        self, provider: provider_state.Provider, there: provider_state.Actual
    ) -> provider_state.Actual:
        assert there.inventories is not None
        current = provider_state.comparable(there.inventories)
        wanted = provider_state.merged_inventories(provider, current)
        if wanted == current:
            return there
        if provider.resource_class:
            self.client.ensure_resource_classes([provider.resource_class])
        try:
            generation = self.client.put_inventories(
                provider.uuid, there.generation, wanted
            )
        except exception.PlacementConflict as error:
            if error.kwargs["error_code"] != placement.INVENTORY_IN_USE:
                raise
            wanted = provider_state.merged_inventories(
                provider, current, keep_used=True
            )
            LOG.info(
                "Provider %s keeps a class that is allocated", provider.name
            )
            if wanted == current:
                return there
            generation = self.client.put_inventories(
                provider.uuid, there.generation, wanted
            )
        return dataclasses.replace(
            there, generation=generation, inventories=wanted
        )

    # -- remembering

    def _record_identities(self) -> None:
        # Before anything can be allocated from them: a bind finds its
        # deployable by the provider.
        rows = {row.id: row for row in self.rows.deployables}
        values = {}
        for provider in self.wanted.values():
            if provider.uuid not in self.tree:
                continue
            for id_ in provider.deployable_ids:
                new = {"rp_uuid": provider.uuid, "rp_name": provider.name}
                row = rows[id_]
                if (row.rp_uuid, row.rp_name) != tuple(new.values()):
                    values[id_] = new
        host_db.record_providers(self.context, values)

    def _record(
        self,
        provider: provider_state.Provider,
        there: provider_state.Actual,
        unknown: frozenset[str],
    ) -> None:
        assert there.inventories is not None
        ours = provider.to_write
        # A class that could not be taken away stays ours.
        kept = {
            name: {"total": item["total"], "reserved": item["reserved"]}
            for name, item in there.inventories.items()
            if name in ours.inventories
            or provider.written is None
            or name in provider.written.inventories
        }
        text = provider_state.Written(ours.traits - unknown, kept).to_text()
        if (
            provider.written is not None
            and provider.written.to_text() == text
            and provider.generation == there.generation
        ):
            return
        host_db.record_providers(
            self.context,
            {
                id_: {"rp_traits": text, "rp_generation": there.generation}
                for id_ in provider.deployable_ids
            },
        )


def _all_taken(
    provider: provider_state.Provider,
) -> exception.PlacementConflict:
    return exception.PlacementConflict(
        operation=f"naming provider {provider.name}",
        reason="all names it could have are taken",
    )


class _Isolated:
    """Keeps what one provider fails with away from the others."""

    def __init__(
        self, pass_: _Pass, provider: provider_state.Provider
    ) -> None:
        self._pass = pass_
        self._provider = provider

    def __enter__(self) -> None:
        """Begin work on the provider."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        if isinstance(
            error,
            exception.PlacementConflict
            | exception.PlacementError
            | exception.PlacementStale,
        ):
            self._pass._failed(self._provider, error.faultstring)
            return True
        return False


# -- what has gone


def remove_gone(pass_: _Pass) -> None:
    """Delete what the host has reported as gone for ``removal_grace``.

    The provider goes first, and only if nothing is allocated from it; then
    the rows, if no request refers to them.
    """
    host = pass_.rows.host
    if host.last_seen_at is None:
        return
    before = min(host.last_seen_at, timeutils.utcnow()) - datetime.timedelta(
        seconds=CONF.conductor.removal_grace
    )
    gone = {
        row.id: row
        for row in pass_.rows.deployables
        if row.missing_since is not None and row.missing_since <= before
    }
    used = host_db.in_use(pass_.context, list(gone)) if gone else set()
    made = _made(pass_) if gone else {}
    removed = [
        row.id
        for row in sorted(
            (row for row in gone.values() if row.id not in used),
            key=lambda row: -provider_state.depth(pass_.tree, made[row.id]),
        )
        if _remove_provider(pass_, row, made)
    ]
    faults.point("providers-removed")
    deleted: set[int] = set()
    if removed:
        deleted = host_db.delete_gone(pass_.context, pass_.hostname, removed)
        for id_ in deleted:
            LOG.info(
                "Deployable %s of host %s is gone and was removed",
                gone[id_].name,
                pass_.hostname,
            )
    parts = host_db.delete_gone_parts(pass_.context, pass_.hostname, before)
    if deleted or parts:
        known = pass_.rows.devices
        pass_.rows = host_db.load(pass_.context, pass_.hostname)
        left = {row.id for row in pass_.rows.devices}
        notifications.devices(
            pass_.context,
            notifications.Event.DEVICE_DELETE,
            [row for row in known if row.id not in left],
        )


def _made(pass_: _Pass) -> dict[int, str]:
    """Return the provider of each deployable, recorded or not.

    A conductor may have died when it had made one and not recorded it.
    """
    settled = provider_state.settle(
        provider_state.desired(pass_.rows), pass_.tree
    )
    return {
        id_: provider.uuid
        for provider in settled.values()
        for id_ in provider.deployable_ids
    }


def _remove_provider(
    pass_: _Pass, deployable: Any, made: dict[int, str]
) -> bool:
    uuid_ = made[deployable.id]
    if uuid_ not in pass_.tree:
        return True
    if any(
        other == uuid_ and id_ != deployable.id for id_, other in made.items()
    ):
        # It counts other deployables too, and less from now on.
        return True
    try:
        pass_.client.delete_provider(uuid_)
    except exception.PlacementConflict as error:
        # Something is allocated from it, or below it.
        LOG.info(
            "Provider %s of host %s stays for now: %s",
            deployable.name,
            pass_.hostname,
            error.faultstring,
        )
        return False
    del pass_.tree[uuid_]
    return True


# -- hosts that are gone for good


def remove_host(context: RequestContext, hostname: str) -> None:
    """Delete a host: its providers, if nothing is allocated, and its rows.

    :raises HostInUse: a request, a job or an allocation refers to it, or it
        goes on reporting; nothing was deleted
    :raises HostNotFound: nobody has reported the host
    :raises PlacementUnavailable: Placement does not answer, or another
        conductor is busy with the host
    """
    owner = uuidutils.generate_uuid()
    row = _claim(context, hostname, owner, full=True, wait=30)
    try:
        _refuse_alive(row)
        arqs, jobs = host_db.users(context, hostname)
        if arqs or jobs:
            uuids = ", ".join(user.uuid for user in (*arqs, *jobs))
            raise exception.HostInUse(
                host=hostname, reason=f"{uuids} refer to it"
            )
        pass_ = _Pass(
            context,
            hostname,
            full=True,
            lease=_Lease(context, hostname, owner),
        )
        for provider in _providers_of(pass_):
            pass_.client.delete_provider(provider.uuid)
            LOG.info("Deleted provider %s of %s", provider.name, hostname)
        host_db.delete(context, hostname)
        notifications.devices(
            context, notifications.Event.DEVICE_DELETE, pass_.rows.devices
        )
    except Exception as error:
        # What was deleted too early comes back with the next comparison.
        host_db.fail(context, hostname, owner, row.sync_wanted, _reason(error))
        raise
    LOG.warning("Host %s was deleted", hostname)


def _refuse_alive(host: Any) -> None:
    limit = CONF.conductor.service_down_time
    if (
        host.last_seen_at is not None
        and (timeutils.utcnow() - host.last_seen_at).total_seconds() <= limit
    ):
        raise exception.HostInUse(
            host=host.hostname,
            reason="its agent is running; stop it, and try again in "
            f"{limit} seconds",
        )


def _providers_of(pass_: _Pass) -> list[provider_state.Actual]:
    """Return a host's providers, those that are below others first.

    :raises HostInUse: something is allocated from one of them
    """
    try:
        pass_.read_tree()
    except exception.PlacementResourceProviderNotFound:
        # Nova has forgotten the host; what was below it may be elsewhere.
        LOG.info("Host %s has no provider of its own", pass_.hostname)
    pass_.wanted = provider_state.desired(pass_.rows)
    uuids = set(_made(pass_).values())
    uuids |= {orphan.uuid for orphan in pass_.orphans()}
    found = []
    for uuid_ in uuids:
        if uuid_ not in pass_.tree:
            record = pass_.client.get_provider(uuid_)
            if record is None or host_db.others_with_provider(
                pass_.context, pass_.hostname, uuid_
            ):
                continue
            pass_.tree[uuid_] = provider_state.actual(record)
        found.append(pass_.tree[uuid_])
    for provider in found:
        consumers = pass_.client.provider_allocations(provider.uuid)
        if consumers:
            raise exception.HostInUse(
                host=pass_.hostname,
                reason=f"{', '.join(sorted(consumers))} allocated provider "
                f"{provider.name}",
            )
    return sorted(
        found, key=lambda node: -provider_state.depth(pass_.tree, node.uuid)
    )


def _next_look(context: RequestContext, hostname: str) -> Any:
    """Return when something that is missing may be removed, or None."""
    since = host_db.oldest_missing(context, hostname)
    if since is None:
        return None
    grace = CONF.conductor.removal_grace
    # By then the host has reported once more.
    first = since + datetime.timedelta(seconds=grace + CONF.periodic_interval)
    now = timeutils.utcnow().replace(microsecond=0)
    again = now + datetime.timedelta(
        seconds=max(CONF.periodic_interval, grace)
    )
    return first if first > now else again


# -- the use cases


def sync_host(
    context: RequestContext,
    hostname: str,
    *,
    full: bool = False,
    wait: float = 30,
) -> dict[int, str]:
    """Bring Placement in step with a host's rows.

    :param full: look at every provider, also where nothing seems to have
        changed
    :param wait: seconds to wait for another conductor that is at it
    :returns: why providers are not as they should be, by deployable id
    :raises PlacementUnavailable: Placement is not in step, and will be as
        soon as it can be
    :raises ConfigInvalid: the options do not say how to reach Placement
    :raises HostNotFound: nobody has reported the host
    """
    try:
        return _sync(context, hostname, full, wait)
    except (
        exception.PlacementUnavailable,
        exception.ConfigInvalid,
        exception.HostNotFound,
    ):
        raise
    except exception.CyborgException as error:
        raise exception.PlacementUnavailable(
            reason=error.faultstring
        ) from error


def _sync(
    context: RequestContext, hostname: str, full: bool, wait: float
) -> dict[int, str]:
    owner = uuidutils.generate_uuid()
    row = _claim(context, hostname, owner, full, wait)
    while row is not None:
        faults.point("sync-claimed")
        try:
            lease = _Lease(context, hostname, owner)
            pass_ = _Pass(context, hostname, full, lease)
            if pass_.rows.deployables or pass_.rows.devices:
                pass_.read_tree()
                remove_gone(pass_)
                pass_.read()
                pass_.apply()
        except Exception as error:
            # An outage is nothing that this host has to wait longer for.
            pause = 0.0 if placement.is_away() else _pause(row)
            host_db.fail(
                context,
                hostname,
                owner,
                row.sync_wanted,
                _reason(error),
                pause,
            )
            raise
        if pass_.errors:
            text = "; ".join(pass_.errors.values())
            host_db.fail(
                context, hostname, owner, row.sync_wanted, text, _pause(row)
            )
            return pass_.errors
        if host_db.finish(
            context,
            hostname,
            owner,
            row.sync_wanted,
            _next_look(context, hostname),
        ):
            break
        # Something changed meanwhile, or another conductor took over.
        row = _claim(context, hostname, owner, full, wait)
    return {}


def _claim(
    context: RequestContext,
    hostname: str,
    owner: str,
    full: bool,
    wait: float,
) -> Any:
    """Take the lease; None if another conductor did the work meanwhile."""
    deadline = time.monotonic() + wait
    wanted = None
    while True:
        row = host_db.claim(context, hostname, owner, _lease())
        if row is not None:
            return row
        row = host_db.get(context, hostname)
        if row is None:
            raise exception.HostNotFound(host=hostname)
        if wanted is None:
            wanted = row.sync_wanted
        if wait <= 0 or (row.sync_done >= wanted and not full):
            return None
        if time.monotonic() > deadline:
            raise exception.PlacementUnavailable(
                reason=_("another conductor is still busy with host %s")
                % hostname
            )
        time.sleep(0.1)


def _lease() -> float:
    """Seconds after which another conductor takes over from one that died."""
    return 4.0 * CONF.conductor.job_lease


def _reason(error: Exception) -> str:
    if isinstance(error, exception.CyborgException):
        return error.faultstring
    return repr(error)


def _pause(row: Any) -> float:
    pause = min(2.0 ** min(row.sync_attempts + 1, 10), _LONGEST_PAUSE)
    return pause * random.uniform(0.75, 1.25)


def sync_due(limit: int = 200) -> bool:
    """Bring Placement in step with all hosts that are due, some at a time.

    If Placement is away, the rest is left for the next time.

    :returns: whether there may be more
    """
    if placement.is_away():
        return False
    names = host_db.due(
        cyborg_context.get_admin_context(),
        limit,
        CONF.conductor.reconcile_interval,
    )
    away = sync_many(names)
    return len(names) == limit and not away


def sync_many(names: Sequence[str], full: bool = False) -> bool:
    """Bring Placement in step with hosts; True if Placement is away."""
    away = threading.Event()

    def one(hostname: str) -> None:
        if away.is_set():
            return
        try:
            _sync(cyborg_context.get_admin_context(), hostname, full, 0)
        except (
            exception.PlacementUnavailable,
            exception.ConfigInvalid,
        ) as error:
            LOG.error("Providers of host %s: %s", hostname, error.faultstring)
            away.set()
        except exception.CyborgException as error:
            LOG.error("Providers of host %s: %s", hostname, error.faultstring)
        except Exception:
            LOG.exception("Providers of host %s", hostname)

    # The first finds out whether Placement is there.
    for hostname in names[:1]:
        one(hostname)
    if names[1:] and not away.is_set():
        with futures.ThreadPoolExecutor(
            CONCURRENCY, thread_name_prefix="placement"
        ) as executor:
            list(executor.map(one, names[1:]))
    return away.is_set()


def audit(
    context: RequestContext, hostname: str
) -> tuple[list[provider_state.Change], list[str]]:
    """Compare a host with Placement without changing anything there.

    :returns: differences, and what cannot be repaired from here
    :raises PlacementUnavailable: Placement does not answer
    :raises PlacementResourceProviderNotFound: the host has no provider
    :raises HostNotFound: nobody has reported the host
    """
    host_db.ensure(context, hostname)
    pass_ = _Pass(context, hostname, full=True)
    if not (pass_.rows.deployables or pass_.rows.devices):
        return [], []
    pass_.read_tree()
    pass_.read()
    problems = [p.problem for p in pass_.wanted.values() if p.problem]
    return pass_.plan() + pass_.orphans(), problems


def delete_orphan(
    context: RequestContext, orphan: provider_state.Change
) -> bool:
    """Delete a provider nobody knows; False if it is allocated from."""
    try:
        placement.Client(context.global_id).delete_provider(orphan.uuid)
    except exception.PlacementConflict:
        return False
    LOG.info("Deleted provider %s (%s)", orphan.uuid, orphan.name)
    return True
