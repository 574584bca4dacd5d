"""Version documents: ``GET /`` and ``GET /v2``."""

from typing import Any

from cyborg.api import routing
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.types import base
from cyborg.api.types import root as types


def _document(request: Request, id_: str, path: str) -> dict[str, Any]:
    return {
        "id": id_,
        "status": "CURRENT",
        "max_version": str(versions.MAXIMUM),
        "min_version": str(versions.MINIMUM),
        "links": [{"rel": "self", "href": request.base_url + path}],
    }


class RootController:
    @routing.operation("GET", "/", rule=None, query=None, answer=types.INDEX)
    def index(self, request: Request) -> dict[str, Any]:
        """List the major versions."""
        version = _document(request, "v2", "/v2")
        document = {
            "name": "OpenStack Cyborg API",
            "description": (
                "Manages accelerators: GPUs, FPGAs, network and crypto "
                "cards, drives and what else servers can be given."
            ),
            "versions": [version],
            "default_version": version,
        }
        return base.show(types.Versions, request, document)

    @routing.operation("GET", "/v2", rule=None, query=None, answer=types.V2)
    def v2(self, request: Request) -> dict[str, Any]:
        """Show which microversions are served."""
        # The id has always been another one here.
        document = _document(request, "v2.0", "/v2/")
        return base.show(types.Version, request, document)
