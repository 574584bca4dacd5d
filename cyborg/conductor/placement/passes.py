"""One pass over a host's providers: compares, and writes what differs.

:mod:`cyborg.conductor.placement.desired` says what has to be so; a
:class:`Pass` reads what there is, and writes the rest. Only one conductor at
a time writes, the one that has the host's lease.
"""

import dataclasses
import random
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.clients import placement
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common.i18n import _
from cyborg.conductor.placement import desired
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# How often a provider is read again when somebody else changed it.
_ATTEMPTS = 6


# -- the lease


def claim(
    context: RequestContext,
    hostname: str,
    owner: str,
    full: bool,
    wait: float,
    behind: bool = False,
) -> Any:
    """Take the lease; None if another conductor did the work meanwhile.

    :param behind: there is work only as long as something is behind
    """
    deadline = time.monotonic() + wait
    wanted = None
    while True:
        if behind or wanted is not None:
            # Many changes of a host at once are one pass or two.
            row = host_db.get(context, hostname)
            if row is not None and not full and _is_done(row, wanted):
                return None
        row = sync_db.claim(context, hostname, owner, _lease())
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
        time.sleep(0.05)


def _is_done(host: Any, wanted: int | None) -> bool:
    """Tell whether Placement was told of what was wanted.

    :param wanted: None = all there is by now
    """
    return bool(
        host.sync_done >= (host.sync_wanted if wanted is None else wanted)
    )


class Lease:
    """A host's lease, which its owner keeps for as long as it works."""

    def __init__(
        self, context: RequestContext, hostname: str, owner: str
    ) -> None:
        self._context = context
        self._hostname = hostname
        self.owner = owner
        self._taken = time.monotonic()

    def keep(self) -> None:
        """Renew it now and then.

        :raises HostLeaseLost: this was too late
        """
        if time.monotonic() - self._taken < _lease() / 4:
            return
        if not sync_db.renew(
            self._context, self._hostname, self.owner, _lease()
        ):
            raise exception.HostLeaseLost(host=self._hostname)
        self._taken = time.monotonic()


def _lease() -> float:
    """Seconds after which another conductor takes over from one that died."""
    return 4.0 * CONF.conductor.job_lease


def reason(error: Exception) -> str:
    """Return what a host's row says of the failure."""
    if isinstance(error, exception.CyborgException):
        return error.faultstring
    return repr(error)


# -- the comparison


class Pass:
    """One comparison of a host with Placement.

    :param full: look at every provider, whatever its generation
    :param lease: kept while the work goes on
    :ivar owner: who has the lease
    """

    def __init__(
        self,
        context: RequestContext,
        hostname: str,
        full: bool,
        lease: Lease | None = None,
    ) -> None:
        self.context = context
        self.hostname = hostname
        self.full = full
        self.owner = lease.owner if lease else None
        self.client = placement.Client(
            context.global_id, lease.keep if lease else None
        )
        self.rows = sync_db.load(context, hostname)
        self.root = ""
        self.tree: dict[str, desired.Actual] = {}
        self.wanted: dict[str, desired.Provider] = {}
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
            sync_db.set_root(self.context, self.hostname, root)
            # No row may take that one for a deployable's.
            self.rows = sync_db.load(self.context, self.hostname)
            nodes = self.client.get_tree(root)
        self.root = root
        self.tree = {node["uuid"]: desired.actual(node) for node in nodes}

    def read(self) -> None:
        """Look at the providers that may differ."""
        self.wanted = desired.settle(desired.desired(self.rows), self.tree)
        full = self.full or self._is_restored()
        for provider in self.wanted.values():
            there = self.tree.get(provider.uuid)
            if there is not None and (
                full
                or provider.written != provider.to_write
                or provider.generation != there.generation
            ):
                seen = self.look(there)
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

    def look(self, there: desired.Actual) -> desired.Actual | None:
        """Return a provider with all that it has, None if it is gone."""
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

    def plan(self) -> list[desired.Change]:
        """Return the differences there are now."""
        return desired.plan(self.wanted, self.tree, self.root)

    def orphans(self) -> list[desired.Change]:
        """Return providers that Cyborg made and nobody knows any more."""
        found = []
        for node in self.tree.values():
            if node.uuid in self.wanted or node.uuid == self.root:
                continue
            if node.uuid != desired.provider_uuid(node.name):
                # An earlier release made it so; ours have the trait as well.
                traits = self.client.get_traits(node.uuid)
                if traits is None or constants.OWNER_TRAIT not in traits[1]:
                    continue
            found.append(
                desired.Change(
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

    def _isolated(self, provider: desired.Provider) -> "_Isolated":
        return _Isolated(self, provider)

    def _failed(self, provider: desired.Provider, reason: str) -> None:
        LOG.error(
            "Provider %s (%s) of host %s: %s",
            provider.uuid,
            provider.name,
            self.hostname,
            reason,
        )
        for deployable_id in provider.deployable_ids:
            self.errors[deployable_id] = f"{provider.name}: {reason}"

    def _place(self, provider: desired.Provider) -> None:
        """Make the provider exist, where and as what it should be."""
        there = self.tree.get(provider.uuid)
        if there is None:
            self._create(provider)
        elif (there.name, there.parent) != (provider.name, self.root):
            self._move(provider, there)

    def _move(
        self,
        provider: desired.Provider,
        there: desired.Actual | None,
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
                there = self.look(desired.actual(record))
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

    def _names(self, provider: desired.Provider) -> tuple[str, ...]:
        """Return names it may get, the best first."""
        if not provider.stored:
            return provider.names
        # Its own name first; another one if that is taken by now.
        return provider.names + desired.alternatives(self.rows, provider)

    def _create(self, provider: desired.Provider) -> None:
        for name in self._names(provider):
            uuid_ = (
                provider.uuid
                if provider.stored
                else desired.provider_uuid(name)
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
                desired.actual(record),
                inventories={},
                traits=frozenset(),
            )
            return
        raise _all_taken(provider)

    def _resolve_duplicate(
        self, provider: desired.Provider, uuid_: str, name: str
    ) -> bool:
        """Deal with a uuid or name that exists; True if that ends it."""
        record = self.client.get_provider(uuid_)
        if record is None:
            # The name is somebody else's.
            return False
        if record["root_provider_uuid"] == self.root:
            # Somebody was faster.
            self._now_is(provider, uuid_, record["name"])
            there = self.look(desired.actual(record))
            if there is not None:
                self.tree[uuid_] = there
            return True
        if not provider.stored:
            # Another host has a deployable of this name.
            return False
        if sync_db.others_with_provider(self.context, self.hostname, uuid_):
            # Two hosts were given one provider, and the other one has it.
            self._renamed(provider)
            return True
        self._move(provider, None)
        return True

    def _renamed(self, provider: desired.Provider) -> None:
        names = desired.alternatives(self.rows, provider)
        fresh = dataclasses.replace(
            provider,
            uuid=desired.provider_uuid(names[0]),
            names=names,
            stored=False,
            written=None,
            generation=None,
        )
        del self.wanted[provider.uuid]
        self.wanted[fresh.uuid] = fresh
        self._place(fresh)

    def _now_is(
        self, provider: desired.Provider, uuid_: str, name: str
    ) -> None:
        self.wanted.pop(provider.uuid, None)
        self.wanted[uuid_] = dataclasses.replace(
            provider, uuid=uuid_, names=(name,)
        )

    def _write(
        self, provider: desired.Provider, there: desired.Actual
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
            seen = self.look(there)
            if seen is None:
                raise exception.PlacementStale(rp_uuid=provider.uuid)
            there = seen
        raise exception.PlacementStale(rp_uuid=provider.uuid)

    def _write_once(
        self, provider: desired.Provider, there: desired.Actual
    ) -> None:
        assert there.traits is not None and there.inventories is not None
        before = there
        traits = desired.merged_traits(provider, there.traits)
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
        self, provider: desired.Provider, there: desired.Actual
    ) -> desired.Actual:
        assert there.inventories is not None
        current = desired.comparable(there.inventories)
        wanted = desired.merged_inventories(provider, current)
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
            wanted = desired.merged_inventories(
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
        moving = {
            part.row.id
            for part in desired.parts_of(self.rows)
            if not part.is_home
        }
        values: dict[int, dict[str, Any]] = {}
        for provider in self.wanted.values():
            if provider.uuid not in self.tree:
                continue
            for id_ in provider.deployable_ids:
                new = {
                    "rp_uuid": provider.uuid,
                    "rp_name": provider.name,
                    "rp_pool": provider.pool,
                    "rp_moving": id_ in moving,
                }
                row = rows[id_]
                if any(getattr(row, key) != new[key] for key in new):
                    values[id_] = new
        sync_db.record_providers(self.context, values)

    def _record(
        self,
        provider: desired.Provider,
        there: desired.Actual,
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
        text = desired.Written(ours.traits - unknown, kept).to_text()
        if (
            provider.written is not None
            and provider.written.to_text() == text
            and provider.generation == there.generation
        ):
            return
        sync_db.record_providers(
            self.context,
            {
                id_: {"rp_traits": text, "rp_generation": there.generation}
                for id_ in provider.deployable_ids
            },
        )


def _all_taken(
    provider: desired.Provider,
) -> exception.PlacementConflict:
    return exception.PlacementConflict(
        operation=f"naming provider {provider.name}",
        reason="all names it could have are taken",
    )


class _Isolated:
    """Keeps what one provider fails with away from the others."""

    def __init__(self, pass_: Pass, provider: desired.Provider) -> None:
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
