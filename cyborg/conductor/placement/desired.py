"""What a host's accelerators ask of Placement, and what it lacks of that.

:func:`desired` says what the rows of a host ask for, :func:`settle` what they
become beside the providers that exist, and :func:`plan` what is left to
write. All is pure: :mod:`cyborg.conductor.placement.passes` reads and writes.
"""

import collections
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import re
from typing import Any
import uuid

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import states
from cyborg.common.i18n import _
from cyborg.db import host_sync as sync_db

_NAME_LENGTH = 200

Inventories = dict[str, dict[str, Any]]


# -- what the rows ask for


@dataclasses.dataclass(frozen=True)
class Written:
    """What was last written of a provider, and is therefore ours to change.

    :ivar inventories: ``{class: {"total", "reserved"}}``
    """

    traits: frozenset[str]
    inventories: dict[str, dict[str, int]]

    @classmethod
    def from_text(cls, text: str | None) -> "Written | None":
        if text is None:
            return None
        value = json.loads(text)
        return cls(frozenset(value["traits"]), value["inventories"])

    def to_text(self) -> str:
        return json.dumps(
            {"traits": sorted(self.traits), "inventories": self.inventories},
            sort_keys=True,
        )


@dataclasses.dataclass(frozen=True)
class Provider:
    """What a provider should be like.

    :ivar names: names it may have, the best first; the one it was made with
        alone if that is known
    :ivar stored: the rows have its uuid: it was made, or adopted, before
    :ivar generation: as of the last time it was seen to be right
    :ivar problem: why it cannot be as the rows say
    :ivar pool: see :class:`Part`
    """

    uuid: str
    names: tuple[str, ...]
    resource_class: str | None
    total: int
    reserved: int
    traits: frozenset[str]
    deployable_ids: tuple[int, ...]
    stored: bool = False
    written: Written | None = None
    generation: int | None = None
    problem: str | None = None
    pool: str | None = None

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def to_write(self) -> Written:
        if self.resource_class is None or self.total == 0:
            return Written(self.traits, {})
        counts = {"total": self.total, "reserved": self.reserved}
        return Written(self.traits, {self.resource_class: counts})


def provider_uuid(name: str) -> str:
    """Return the uuid of a provider that is made with a name."""
    return str(uuid.uuid3(uuid.NAMESPACE_DNS, name))


# -- which provider counts what


@dataclasses.dataclass(frozen=True)
class Part:
    """A deployable, and what Placement has to know of it.

    :ivar home: uuid of the provider that counts it now, None before its first
    :ivar reserved: how many of it are nobody's to take and not allocated
    :ivar fenced: it takes no new instances at all
    :ivar pool: what the pool it belongs to is known by; None = none, it has
        a provider of its own
    """

    row: Any
    home: str | None
    resource_class: str | None
    traits: frozenset[str]
    total: int
    reserved: int
    fenced: bool
    pool: str | None = None

    @property
    def is_home(self) -> bool:
        """Whether it is counted where it belongs, or nowhere yet."""
        return self.home is None or self.row.rp_pool == self.pool

    @property
    def room(self) -> int:
        """How many allocations it can serve, those it serves included."""
        return self.total - self.reserved


def counted_in(
    resource_class: str | None,
    traits: Collection[str],
    carve: str | None,
) -> str:
    """Return what a host's pool is known by that counts a deployable.

    Deployables of one class, with the same traits, are one as good as the
    other. A carve takes a device out of the pool of its like.
    """
    key = json.dumps([resource_class, sorted(traits), carve])
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _is_pooled(layout: str, alike: int) -> bool:
    """Tell whether deployables share a provider.

    :param alike: how many of the host are as this one
    """
    if layout == constants.ProviderLayout.AUTO:
        return alike > 1
    return layout == constants.ProviderLayout.POOL


def _pool_names(part: Part, host: Any) -> tuple[str, ...]:
    name = f"{host.hostname}_{part.resource_class}_{part.pool}"
    return (_shortened(name), _shortened(f"{name}_{host.uuid}"))


def is_left_over(node: "Actual", rows: sync_db.Rows) -> bool:
    """Tell whether a provider that nobody wants was made for these rows.

    A conductor may have died when it had made one and not recorded it, and
    the layout or the traits have changed since.
    """
    if node.uuid != provider_uuid(node.name):
        return False
    host = rows.host.hostname
    pool = re.escape(f"{host}_") + r"[A-Z0-9_]+_[0-9a-f]{8}"
    if re.fullmatch(f"{pool}(_{re.escape(str(rows.host.uuid))})?", node.name):
        return True
    own = {row.name for row in rows.deployables}
    own |= {f"{host}_{row.name}" for row in rows.deployables}
    return node.name in {_shortened(name) for name in own}


def _own_names(part: Part, host: Any, taken: set[str]) -> tuple[str, ...]:
    # A name that another host's provider has gets the host in front; of two
    # deployables of one name in one host, one gets its own uuid behind.
    row = part.row
    names = tuple(
        _shortened(name)
        for name in (
            row.name,
            f"{host.hostname}_{row.name}",
            f"{host.hostname}_{row.name}_{row.uuid}",
        )
    )
    free = tuple(name for name in names if provider_uuid(name) not in taken)
    if len(free) > 1 and free[0] == names[0] and _may_be_a_node(host, names):
        free = free[1:]
    return free


def _may_be_a_node(host: Any, names: tuple[str, ...]) -> bool:
    """Tell whether a deployable's name could be that of a compute node.

    A host could take a node's name away from it with one. Drivers put the
    host in front, and no node has an address with colons for its name.
    """
    own = (f"{host.hostname}_", f"{host.hostname.partition('.')[0]}_")
    return ":" not in names[0] and not names[0].startswith(own)


def _shortened(name: str) -> str:
    if len(name) <= _NAME_LENGTH:
        return name
    digest = uuid.uuid3(uuid.NAMESPACE_DNS, name).hex
    return f"{name[: _NAME_LENGTH - len(digest) - 1]}_{digest}"


def _symbol(value: str) -> str:
    """Return a value as the name of a trait or class: A-Z, 0-9 and _."""
    return re.sub(r"[^A-Z0-9_]", "_", value.strip().upper())[:255]


def _traits(attributes: Iterable[Any]) -> frozenset[str]:
    names = {
        _symbol(attribute.value)
        for attribute in attributes
        if attribute.key.startswith(constants.ATTR_TRAIT_PREFIX)
    }
    return frozenset(names - {""} | {constants.OWNER_TRAIT})


def _resource_class(attributes: Iterable[Any]) -> str | None:
    for attribute in attributes:
        if attribute.key == constants.ATTR_RESOURCE_CLASS:
            return _symbol(attribute.value) or None
    return None


def parts_of(rows: sync_db.Rows) -> list[Part]:
    """Return what a host's rows say of each deployable."""
    devices = {row.id: row for row in rows.devices}
    attributes: dict[int, list[Any]] = {}
    for row in rows.attributes:
        attributes.setdefault(row.deployable_id, []).append(row)
    unfit = {
        row.device_id
        for row in rows.conditions
        if row.effect == constants.ConditionEffect.NO_SCHEDULE
    }
    parts = []
    for row in rows.deployables:
        device = devices[row.device_id]
        # One that nobody answers for any more takes no new instances.
        fenced = (
            rows.host.forced_down
            # An earlier release that is still running stores nothing else.
            or device.status == constants.DeviceStatus.MAINTAINING
            or device.id in unfit
            or device.device_state in list(states.UNFIT)
            or device.missing_since is not None
            or row.missing_since is not None
            # What guests have of it stays theirs.
            or row.withheld is not None
            or _is_used_up(device, attributes.get(row.id, ()))
        )
        held = rows.held.get(row.id, sync_db.Held())
        total = row.num_accelerators
        parts.append(
            Part(
                row=row,
                # Whatever a row says, the compute node's own provider is not
                # ours.
                home=None
                if row.rp_uuid == rows.host.root_rp_uuid
                else row.rp_uuid,
                resource_class=_resource_class(attributes.get(row.id, ())),
                traits=_traits(attributes.get(row.id, ())),
                total=total,
                reserved=max(total - held.allocated, 0)
                if fenced
                else min(total, held.idle),
                fenced=bool(fenced),
            )
        )
    return _in_pools(parts, rows, devices)


def _is_used_up(device: Any, attributes: Iterable[Any]) -> bool:
    """Tell whether a device that is given out once was given out."""
    return device.device_state == states.DeviceState.ALLOCATED and any(
        attribute.value == constants.ONE_TIME_TRAIT for attribute in attributes
    )


def _in_pools(
    parts: Sequence[Part], rows: sync_db.Rows, devices: Mapping[int, Any]
) -> list[Part]:
    """Say of each part which pool it belongs to."""
    pools = [
        counted_in(
            part.resource_class,
            part.traits,
            devices[part.row.device_id].carve,
        )
        for part in parts
    ]
    alike = collections.Counter(pools)
    return [
        dataclasses.replace(part, pool=pool)
        if part.resource_class is not None
        and _is_pooled(rows.host.provider_layout, alike[pool])
        else part
        for part, pool in zip(parts, pools, strict=True)
    ]


def desired(rows: sync_db.Rows) -> dict[str, Provider]:
    """Return the providers that the rows of a host ask for, by uuid.

    What belongs elsewhere is counted where it is until it has moved: see
    :mod:`cyborg.conductor.placement.moving`.
    """
    parts = parts_of(rows)
    taken = {part.home for part in parts if part.home is not None}
    # A pool that was made is known by its parts.
    pools = {
        part.row.rp_pool: part.home
        for part in parts
        if part.home is not None and part.row.rp_pool is not None
    }
    counted: dict[str, list[Part]] = {}
    names: dict[str, tuple[str, ...]] = {}
    stored: set[str] = set()
    for part in parts:
        uuid_ = part.home
        if uuid_ is None and part.pool is not None:
            uuid_ = pools.get(part.pool)
        if uuid_ is not None:
            stored.add(uuid_)
            if part.home is not None:
                names.setdefault(uuid_, (part.row.rp_name or part.row.name,))
        else:
            found = (
                _own_names(part, rows.host, taken)
                if part.pool is None
                else _pool_names(part, rows.host)
            )
            uuid_ = provider_uuid(found[0])
            if part.pool is not None:
                pools[part.pool] = uuid_
            names[uuid_] = found
        taken.add(uuid_)
        counted.setdefault(uuid_, []).append(part)
    return {
        uuid_: _provider(uuid_, names[uuid_], uuid_ in stored, members)
        for uuid_, members in counted.items()
    }


def _provider(
    uuid_: str, names: tuple[str, ...], stored: bool, members: list[Part]
) -> Provider:
    """Return the provider that counts these deployables."""
    # What they recorded of it, one like the other; those that come to it only
    # now have recorded nothing.
    seen = next(
        (part.row for part in members if part.row.rp_traits is not None),
        members[0].row,
    )
    written = Written.from_text(seen.rp_traits)
    all_fenced = all(part.fenced for part in members)
    pool = next(
        (part.row.rp_pool for part in members if part.home is not None),
        members[0].pool,
    )
    resource_class = members[0].resource_class
    traits = frozenset[str]().union(*(part.traits for part in members))
    if pool is not None:
        at_home = [part for part in members if part.is_home]
        if at_home:
            resource_class = at_home[0].resource_class
            traits = at_home[0].traits
        elif written is not None:
            # All wait for their instances to go, as what they were.
            resource_class = next(iter(written.inventories), resource_class)
            traits = written.traits
    counted = members
    if pool is None:
        # An earlier release may have counted two in one.
        counted = [p for p in members if p.resource_class == resource_class]
    return Provider(
        uuid=uuid_,
        names=names,
        resource_class=resource_class,
        total=sum(part.total for part in counted),
        # Where nothing may be taken it does not matter what is allocated.
        reserved=sum(
            part.total
            if part.fenced and (pool is None or all_fenced)
            else part.reserved
            for part in counted
        ),
        traits=traits,
        deployable_ids=tuple(part.row.id for part in members),
        stored=stored,
        written=written,
        generation=seen.rp_generation,
        problem=_problem(uuid_, pool, members),
        pool=pool,
    )


def _problem(
    uuid_: str, pool: str | None, members: Sequence[Part]
) -> str | None:
    """Return why a provider cannot be as its deployables say."""
    problem: str | None = None
    for part in members:
        if part.resource_class is None:
            problem = exception.ResourceClassMissing(
                uuid=part.row.uuid
            ).faultstring
            break
    classes = [part.resource_class for part in members]
    other = next((name for name in classes if name != classes[0]), classes[0])
    if pool is None and other != classes[0]:
        problem = _(
            "Provider %(uuid)s would count %(first)s and %(second)s."
        ) % {"uuid": uuid_, "first": classes[0], "second": other}
    return problem


# -- what Placement lacks


@dataclasses.dataclass(frozen=True)
class Actual:
    """What a provider is like.

    :ivar inventories: None, as for ``traits``, if it was not looked at,
        because nothing can have changed
    """

    uuid: str
    name: str
    parent: str | None
    generation: int
    inventories: Inventories | None = None
    traits: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference, and what makes it go away.

    :ivar action: create, move, traits, inventory or delete
    :ivar before: what there is: None, (name, parent), traits, inventories
    :ivar after: what there should be, of the same kind
    """

    action: str
    uuid: str
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return _DESCRIBE[self.action](self)


def _describe_traits(change: Change) -> str:
    parts = [f"+{trait}" for trait in sorted(change.after - change.before)]
    parts += [f"-{trait}" for trait in sorted(change.before - change.after)]
    return f"{change.name}: traits {' '.join(parts)}"


def _describe_inventory(change: Change) -> str:
    parts = []
    for name in sorted(change.before.keys() | change.after.keys()):
        before, after = change.before.get(name), change.after.get(name)
        if before is None or after is None:
            shown = before or after
            counts = f"total={shown['total']} reserved={shown['reserved']}"
            parts.append(f"{'+' if before is None else '-'}{name} {counts}")
            continue
        fields = [
            f"{field}={before.get(field)}->{after[field]}"
            for field in sorted(after)
            if before.get(field) != after[field]
        ]
        if fields:
            parts.append(f"{name} {' '.join(fields)}")
    return f"{change.name}: inventory {', '.join(parts)}"


_DESCRIBE: dict[str, Callable[[Change], str]] = {
    "create": lambda change: f"{change.name}: provider is missing",
    "move": lambda change: (
        f"{change.name}: is {change.before[0]} below {change.before[1]}, "
        f"not {change.after[0]} below {change.after[1]}"
    ),
    "traits": _describe_traits,
    "inventory": _describe_inventory,
    "delete": lambda change: (
        f"{change.name}: provider {change.uuid} is not known here"
    ),
}


def plan(
    wanted: Mapping[str, Provider], actual: Mapping[str, Actual], root: str
) -> list[Change]:
    """Return what has to be written for ``actual`` to be as ``wanted``."""
    changes = []
    for provider in wanted.values():
        there = actual.get(provider.uuid)
        if there is None:
            there = Actual(
                provider.uuid, provider.name, root, 0, {}, frozenset()
            )
            changes.append(
                Change(
                    "create",
                    provider.uuid,
                    provider.name,
                    None,
                    (provider.name, root),
                )
            )
        changes += differences(provider, there, root)
    return changes


def differences(provider: Provider, actual: Actual, root: str) -> list[Change]:
    """Return what has to be written to a provider that exists."""
    changes = []

    def add(action: str, before: Any, after: Any) -> None:
        if before != after:
            changes.append(
                Change(action, provider.uuid, provider.name, before, after)
            )

    add("move", (actual.name, actual.parent), (provider.name, root))
    if actual.traits is not None:
        add("traits", actual.traits, merged_traits(provider, actual.traits))
    if actual.inventories is not None:
        add(
            "inventory",
            comparable(actual.inventories),
            merged_inventories(provider, actual.inventories),
        )
    return changes


def merged_traits(
    provider: Provider, current: frozenset[str]
) -> frozenset[str]:
    """Return our traits, and what others gave the provider."""
    foreign = current - provider.traits
    if provider.written is not None:
        foreign -= provider.written.traits
    # A card runs one function: one that an earlier release published goes
    # when ours comes.
    prefix = constants.FUNCTION_TRAIT_PREFIX
    if any(trait.startswith(prefix) for trait in provider.traits):
        foreign = frozenset(
            trait for trait in foreign if not trait.startswith(prefix)
        )
    return foreign | provider.traits


_FIELDS = (
    "total",
    "reserved",
    "min_unit",
    "max_unit",
    "step_size",
    "allocation_ratio",
)


def comparable(inventories: Inventories) -> Inventories:
    return {
        name: {field: inventory[field] for field in _FIELDS}
        for name, inventory in inventories.items()
    }


def merged_inventories(
    provider: Provider, current: Inventories, keep_used: bool = False
) -> Inventories:
    """Return our inventory, and those of classes that others added.

    :param keep_used: a class of ours that is allocated cannot be taken away;
        it stays, and takes no new instances
    """
    current = comparable(current)
    ours = set(current)
    if provider.written is not None:
        ours &= {*provider.written.inventories, provider.resource_class}
    merged: Inventories = {}
    for name, inventory in current.items():
        if name not in ours:
            merged[name] = inventory
        elif keep_used:
            merged[name] = inventory | {"reserved": inventory["total"]}
    counts = provider.to_write.inventories.get(provider.resource_class or "")
    if counts is not None and provider.resource_class is not None:
        there = current.get(provider.resource_class, {})
        total = counts["total"]
        merged[provider.resource_class] = {
            **counts,
            "max_unit": total,
            # An operator may have set these. What cannot be true of a card
            # goes: nobody can have more of it than there is.
            "min_unit": min(there.get("min_unit", 1), total),
            "step_size": min(there.get("step_size", 1), total),
            "allocation_ratio": min(there.get("allocation_ratio", 1.0), 1.0),
        }
    return merged


def settle(
    wanted: Mapping[str, Provider], tree: Mapping[str, Actual]
) -> dict[str, Provider]:
    """Let providers adopt what an interrupted attempt made of them.

    So does one whose recorded uuid is not there, but its name is.
    """
    settled: dict[str, Provider] = {}
    for provider in wanted.values():
        if not provider.stored or provider.uuid not in tree:
            for name in provider.names:
                uuid_ = provider_uuid(name)
                if uuid_ in tree and (
                    uuid_ == provider.uuid or uuid_ not in wanted
                ):
                    provider = dataclasses.replace(
                        provider, uuid=uuid_, names=(name,)
                    )
                    break
        elif provider.written is None:
            # Made by an earlier release, under whatever name.
            there = tree[provider.uuid]
            provider = dataclasses.replace(provider, names=(there.name,))
        settled[provider.uuid] = provider
    return settled


def actual(record: Mapping[str, Any]) -> Actual:
    return Actual(
        uuid=record["uuid"],
        name=record["name"],
        parent=record["parent_provider_uuid"],
        generation=record["generation"],
    )


def alternatives(rows: sync_db.Rows, provider: Provider) -> tuple[str, ...]:
    """Return names for a provider whose own name is somebody else's."""
    if provider.pool is not None:
        name = provider.names[0].removesuffix(f"_{rows.host.uuid}")
        return (_shortened(f"{name}_{rows.host.uuid}"),)
    row = next(r for r in rows.deployables if r.id in provider.deployable_ids)
    hostname = rows.host.hostname
    return (
        _shortened(f"{hostname}_{row.name}"),
        _shortened(f"{hostname}_{row.name}_{row.uuid}"),
    )


def depth(tree: Mapping[str, Actual], rp_uuid: str | None) -> int:
    depth = 0
    while rp_uuid is not None and rp_uuid in tree:
        depth += 1
        rp_uuid = tree[rp_uuid].parent
    return depth
