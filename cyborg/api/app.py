"""The API as a WSGI application, without what a paste file puts around it."""

from collections.abc import Callable
from typing import Any

from pecan import core

from cyborg.api import conductor as api_conductor
from cyborg.api import hooks
from cyborg.api import request as api_request
from cyborg.api import routing
from cyborg.api.controllers import root
from cyborg.api.controllers.v2 import arq
from cyborg.api.controllers.v2 import attribute
from cyborg.api.controllers.v2 import deployable
from cyborg.api.controllers.v2 import device
from cyborg.api.controllers.v2 import device_profile
from cyborg.api.controllers.v2 import quota
from cyborg.api.controllers.v2 import service
from cyborg.api.middleware import auth_token
from cyborg.api.middleware import errors
from cyborg.api.middleware import request_id
from cyborg.conductor import rpcapi

CONTROLLERS = (
    root.RootController(),
    device.DevicesController(),
    deployable.DeployablesController(),
    device_profile.DeviceProfilesController(),
    arq.ARQsController(),
    attribute.AttributesController(),
    attribute.DeployableAttributesController(),
    service.ServicesController(),
    quota.QuotaUsagesController(),
)


class Application(core.ExplicitPecan):
    """Pecan, for operations as :mod:`cyborg.api.routing` declares them.

    The declaration says what the arguments are, and the answer is complete:
    nothing has to be found out from a signature, which took 80 % of Pecan's
    time.
    """

    def route(
        self, req: api_request.Request, node: Any, path: str
    ) -> tuple[routing.Handler, list[str]]:
        # Pecan's own walk ends there as well.
        found: tuple[routing.Handler, list[str]] = node._route([], req)
        return found

    def get_args(
        self,
        state: Any,
        all_params: Any,
        remainder: list[str],
        argspec: Any,
        im_self: Any,
    ) -> tuple[list[Any], list[Any], dict[str, Any]]:
        return [state.request, state.response, *remainder], [], {}

    def invoke_controller(
        self,
        controller: Any,
        args: list[Any],
        kwargs: dict[str, Any],
        state: Any,
    ) -> None:
        state.response = controller(*args)


def make_app(
    get_conductor: Callable[[], rpcapi.ConductorAPI] = api_conductor.get,
) -> Application:
    """Return the application.

    It believes the identity headers: authentication goes in front.

    :param get_conductor: returns what writes are sent to
    """
    return Application(
        routing.Router(CONTROLLERS),
        hooks=[hooks.RequestHook(get_conductor), hooks.ErrorHook()],
        request_cls=api_request.Request,
        guess_content_type_from_ext=False,
        force_canonical=False,
        default_renderer="json",
    )


def app_factory(global_conf: dict[str, Any], **local_conf: Any) -> Application:
    """Return the application; paste files name this function."""
    return make_app()


def make_application(conductor: rpcapi.ConductorAPI | None = None) -> Any:
    """Return the application with what it needs around it, and no more.

    For those that serve it in their own process, without a paste file.

    :param conductor: what writes are sent to; None = as configured
    """
    application = make_app(
        api_conductor.get if conductor is None else lambda: conductor
    )
    return request_id.RequestId(
        errors.ErrorsMiddleware(
            auth_token.AuthTokenMiddleware(application, {})
        )
    )
