"""Placement: the resource providers of accelerators.

Every status is looked at. Whatever depends on what a provider is like now is
written with the generation that came with what was read. So it is the SDK's
proxy that is called, but not its methods: they write inventories class by
class, drop generations and error codes, and take no microversion.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
import dataclasses
import threading
from typing import Any
from typing import TYPE_CHECKING
from urllib import parse
import weakref

from keystoneauth1 import exceptions as ks_exceptions
import requests

from cyborg.clients import answers
from cyborg.clients import auth
from cyborg.clients import breaker
from cyborg.common import exception

if TYPE_CHECKING:
    from openstack import proxy as sdk_proxy

GROUP = "placement"

# Nova needs it too, so every Placement that is there has it.
MICROVERSION = "1.36"
# The first that moves a provider below another parent.
REPARENT_MICROVERSION = "1.37"

# Error codes in Placement's answers.
CONCURRENT_UPDATE = "placement.concurrent_update"
DUPLICATE_NAME = "placement.duplicate_name"
INVENTORY_IN_USE = "placement.inventory.inuse"

# Keeps the query below what servers take as one line.
_NAMES_PER_QUERY = 25

# Away, overloaded, or not letting us in: nothing is wrong with the request.
_UNAVAILABLE = (401, 403, 429)
# It is so for every request, so others need not try. 500 may be for this one.
_AWAY = (*_UNAVAILABLE, 502, 503, 504)

_GENERATION = "resource_provider_generation"

Inventories = dict[str, dict[str, Any]]

# Shapes of answers.
_PROVIDER = {
    "uuid": str,
    "name": str,
    "generation": int,
    "parent_provider_uuid": str | None,
    "root_provider_uuid": str | None,
}
_PROVIDERS = {"resource_providers": [_PROVIDER]}
_GENERATED = {_GENERATION: int}
_TRAITS = {"traits": [str]}
_ALLOCATIONS = {"allocations": {str: {"resources": {str: int}}}}
_VERSIONS = {"versions": [{"min_version": str, "max_version": str}]}


@dataclasses.dataclass
class _Known:
    """Names that were seen to exist in Placement; they never go away."""

    traits: set[str] = dataclasses.field(default_factory=set)
    classes: set[str] = dataclasses.field(default_factory=set)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


_known = _Known()


def forget() -> None:
    """Look again which traits and resource classes exist."""
    with _known.lock:
        _known.traits.clear()
        _known.classes.clear()


# Placement that is configured anew is tried at once.
_breakers: weakref.WeakKeyDictionary["sdk_proxy.Proxy", breaker.Breaker] = (
    weakref.WeakKeyDictionary()
)
_breakers_lock = threading.Lock()


def _breaker(proxy: "sdk_proxy.Proxy") -> breaker.Breaker:
    with _breakers_lock:
        if proxy not in _breakers:
            _breakers[proxy] = breaker.Breaker("Placement")
        return _breakers[proxy]


def is_away() -> bool:
    """Tell whether a request would fail without being sent."""
    try:
        return _breaker(auth.proxy(GROUP)).is_open
    except exception.ConfigInvalid:
        return False


def _quote(text: str) -> str:
    return parse.quote(text, safe="")


class Client:
    """Calls Placement for one request or one piece of work.

    All methods raise :class:`~cyborg.common.exception.PlacementUnavailable`
    when Placement does not answer or is not able to, and
    :class:`~cyborg.common.exception.PlacementError` for answers that make no
    sense. The latter, and ``PlacementConflict``, have ``kwargs["status"]``
    and ``kwargs["error_code"]``.

    While it does not, one request is sent every few seconds, and all others
    fail at once.

    :param request_id: global id of the request this is done for
    :param before: called before every request
    """

    def __init__(
        self,
        request_id: str | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self._request_id = request_id
        self._before = before

    # -- providers

    def version_range(self) -> tuple[str, str]:
        """Return the lowest and the highest microversion there is."""
        response = self._ask("GET", "/")
        versions = _read(response, _VERSIONS)["versions"]
        if not versions:
            raise _senseless(response, "it has no versions")
        return versions[0]["min_version"], versions[0]["max_version"]

    def find_provider(self, name: str) -> dict[str, Any] | None:
        """Return the provider of a name."""
        query = parse.urlencode({"name": name})
        response = self._ask("GET", f"/resource_providers?{query}")
        providers = _read(response, _PROVIDERS)["resource_providers"]
        return providers[0] if providers else None

    def get_provider(self, uuid: str) -> dict[str, Any] | None:
        """Return a provider, None if there is none of this uuid."""
        response = self._ask(
            "GET", f"/resource_providers/{_quote(uuid)}", accept=(200, 404)
        )
        if response.status_code == 404:
            return None
        record: dict[str, Any] = _read(response, _PROVIDER)
        return record

    def get_tree(self, uuid: str) -> list[dict[str, Any]]:
        """Return every provider of the tree that ``uuid`` is part of.

        Each: uuid, name, generation, parent_provider_uuid,
        root_provider_uuid. Empty if there is no such provider.
        """
        path = f"/resource_providers?in_tree={_quote(uuid)}"
        answer = _read(self._ask("GET", path), _PROVIDERS)
        tree: list[dict[str, Any]] = answer["resource_providers"]
        return tree

    def create_provider(
        self, uuid: str, name: str, parent_uuid: str
    ) -> dict[str, Any]:
        """Create an empty provider below another one; return its record.

        :raises PlacementConflict: uuid or name is taken
        """
        response = self._ask(
            "POST",
            "/resource_providers",
            {
                "uuid": uuid,
                "name": name,
                "parent_provider_uuid": parent_uuid,
            },
            accept=(200, 201),
            what=f"creating provider {name}",
        )
        record: dict[str, Any] = _read(response, _PROVIDER)
        return record

    def update_provider(
        self, uuid: str, name: str, parent_uuid: str
    ) -> dict[str, Any]:
        """Rename a provider, or move it below another parent.

        :raises PlacementConflict: the name is taken
        """
        response = self._ask(
            "PUT",
            f"/resource_providers/{_quote(uuid)}",
            {"name": name, "parent_provider_uuid": parent_uuid},
            what=f"moving provider {uuid}",
            microversion=REPARENT_MICROVERSION,
        )
        record: dict[str, Any] = _read(response, _PROVIDER)
        return record

    def delete_provider(self, uuid: str) -> bool:
        """Delete a provider; False if there was none.

        :raises PlacementConflict: it is allocated from, or has children
        """
        response = self._ask(
            "DELETE",
            f"/resource_providers/{_quote(uuid)}",
            accept=(204, 404),
            what=f"deleting provider {uuid}",
        )
        return response.status_code == 204

    # -- what providers have

    def get_inventories(self, uuid: str) -> tuple[int, Inventories] | None:
        """Return generation and inventories, None without the provider."""
        response = self._ask(
            "GET",
            f"/resource_providers/{_quote(uuid)}/inventories",
            accept=(200, 404),
        )
        if response.status_code == 404:
            return None
        answer = _read(
            response, {**_GENERATED, "inventories": {str: {str: int | float}}}
        )
        return answer[_GENERATION], answer["inventories"]

    def get_usages(self, uuid: str) -> tuple[int, dict[str, int]] | None:
        """Return generation and what is allocated of each resource class.

        None if there is no such provider.
        """
        response = self._ask(
            "GET",
            f"/resource_providers/{_quote(uuid)}/usages",
            accept=(200, 404),
        )
        if response.status_code == 404:
            return None
        answer = _read(response, {**_GENERATED, "usages": {str: int}})
        return answer[_GENERATION], answer["usages"]

    def put_inventories(
        self, uuid: str, generation: int, inventories: Inventories
    ) -> int:
        """Replace all inventories; return the new generation.

        :raises PlacementStale: the provider has changed since it was read
        :raises PlacementConflict: a class that is left out is allocated
        """
        body = {
            "resource_provider_generation": generation,
            "inventories": inventories,
        }
        response = self._ask(
            "PUT",
            f"/resource_providers/{_quote(uuid)}/inventories",
            body,
            what=f"writing inventories of provider {uuid}",
            stale=uuid,
        )
        return int(_read(response, _GENERATED)[_GENERATION])

    def get_traits(self, uuid: str) -> tuple[int, set[str]] | None:
        """Return generation and traits, None without the provider."""
        response = self._ask(
            "GET",
            f"/resource_providers/{_quote(uuid)}/traits",
            accept=(200, 404),
        )
        if response.status_code == 404:
            return None
        answer = _read(response, {**_GENERATED, **_TRAITS})
        return answer[_GENERATION], set(answer["traits"])

    def put_traits(
        self, uuid: str, generation: int, traits: Collection[str]
    ) -> int:
        """Replace all traits; return the new generation.

        :raises PlacementStale: the provider has changed since it was read
        """
        body = {
            "resource_provider_generation": generation,
            "traits": sorted(traits),
        }
        response = self._ask(
            "PUT",
            f"/resource_providers/{_quote(uuid)}/traits",
            body,
            what=f"writing traits of provider {uuid}",
            stale=uuid,
        )
        return int(_read(response, _GENERATED)[_GENERATION])

    # -- names

    def ensure_traits(self, names: Collection[str]) -> set[str]:
        """Make custom traits exist; return which of ``names`` exist then."""
        with _known.lock:
            unknown = sorted(set(names) - _known.traits)
        for chunk in _chunks(unknown):
            query = parse.urlencode({"name": "in:" + ",".join(chunk)})
            response = self._ask("GET", f"/traits?{query}")
            there = set(_read(response, _TRAITS)["traits"])
            for name in sorted(set(chunk) - there):
                if self._ensure(f"/traits/{_quote(name)}"):
                    there.add(name)
            with _known.lock:
                _known.traits |= there
        with _known.lock:
            return set(names) & _known.traits

    def used_traits(self, names: Collection[str]) -> set[str]:
        """Return which traits some provider has."""
        found: set[str] = set()
        for chunk in _chunks(sorted(names)):
            query = parse.urlencode(
                {"name": "in:" + ",".join(chunk), "associated": "true"}
            )
            response = self._ask("GET", f"/traits?{query}")
            found |= set(_read(response, _TRAITS)["traits"])
        return found

    def existing_classes(self, names: Collection[str]) -> set[str]:
        """Return which resource classes exist."""
        found = set()
        for name in sorted(names):
            response = self._ask(
                "GET", f"/resource_classes/{_quote(name)}", accept=(200, 404)
            )
            if response.status_code == 200:
                found.add(name)
        return found

    def ensure_resource_classes(self, names: Collection[str]) -> None:
        """Make custom resource classes exist."""
        custom = {name for name in names if name.startswith("CUSTOM_")}
        with _known.lock:
            unknown = sorted(custom - _known.classes)
        for name in unknown:
            if self._ensure(f"/resource_classes/{_quote(name)}"):
                with _known.lock:
                    _known.classes.add(name)

    def _ensure(self, path: str) -> bool:
        # 400: a standard name that this Placement does not have, or a name
        # that it does not take.
        response = self._ask("PUT", path, accept=(201, 204, 400))
        return response.status_code != 400

    # -- allocations

    def provider_allocations(self, uuid: str) -> dict[str, Any]:
        """Return what consumers have of a provider, by consumer uuid."""
        response = self._ask(
            "GET",
            f"/resource_providers/{_quote(uuid)}/allocations",
            accept=(200, 404),
        )
        if response.status_code == 404:
            return {}
        answer = _read(response, _ALLOCATIONS)
        allocations: dict[str, Any] = answer["allocations"]
        return allocations

    def consumer_allocations(self, uuid: str) -> dict[str, Any]:
        """Return what a consumer (an instance) has, by provider uuid.

        Empty if Placement knows of no such consumer.
        """
        response = self._ask("GET", f"/allocations/{_quote(uuid)}")
        answer = _read(response, _ALLOCATIONS)
        allocations: dict[str, Any] = answer["allocations"]
        return allocations

    # -- HTTP

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: Collection[int] = (200,),
        what: str | None = None,
        stale: str | None = None,
        microversion: str = MICROVERSION,
    ) -> requests.Response:
        if self._before is not None:
            self._before()
        proxy = auth.proxy(GROUP)
        guard = _breaker(proxy)
        refusal = guard.enter()
        if refusal is not None:
            raise exception.PlacementUnavailable(reason=refusal)
        try:
            with auth.asking():
                response = proxy.request(
                    path,
                    method,
                    json=body,
                    global_request_id=self._request_id,
                    microversion=microversion,
                    microversion_service_type=GROUP,
                )
        except ks_exceptions.ClientException as error:
            reason = auth.reason(error)
            guard.failed(reason)
            raise exception.PlacementUnavailable(reason=reason) from error
        status = response.status_code
        if status in _AWAY:
            guard.failed(f"{status} {_detail(response)}")
        else:
            guard.succeeded()
        if status in accept:
            return response
        if status >= 500 or status in _UNAVAILABLE:
            raise exception.PlacementUnavailable(
                reason=f"{method} {path}: {status} {_detail(response)}"
            )
        what = what or f"{method} {path}"
        code = _code(response)
        if status == 409:
            if code == CONCURRENT_UPDATE and stale is not None:
                raise exception.PlacementStale(rp_uuid=stale)
            raise exception.PlacementConflict(
                operation=what,
                reason=_detail(response),
                status=status,
                error_code=code,
            )
        raise exception.PlacementError(
            operation=what,
            status=status,
            reason=_detail(response),
            error_code=code,
        )


def _chunks(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _NAMES_PER_QUERY):
        yield names[start : start + _NAMES_PER_QUERY]


def _read(response: requests.Response, shape: answers.Shape) -> Any:
    """Return what an answer has.

    :raises PlacementError: it is a page, or another service answers
    """
    try:
        return answers.read(response, shape)
    except ValueError as error:
        raise _senseless(response, str(error)) from error


def _senseless(
    response: requests.Response, why: str
) -> exception.PlacementError:
    return exception.PlacementError(
        operation=f"{response.request.method} {response.url}",
        status=response.status_code,
        reason=f"{why}: {answers.text(response)}",
        error_code=None,
    )


def _error(response: requests.Response) -> dict[str, Any]:
    shape = {"errors": [{"code": str | None, "detail": str | None}]}
    try:
        errors: list[dict[str, Any]] = answers.read(response, shape)["errors"]
    except ValueError:
        # A proxy's page, not Placement's.
        return {}
    return errors[0] if errors else {}


def _code(response: requests.Response) -> str | None:
    return _error(response).get("code")


def _detail(response: requests.Response) -> str:
    text = _error(response).get("detail")
    return " ".join(text.split())[:500] if text else answers.text(response)
