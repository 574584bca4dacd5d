"""Who asks, and what of it leaves the API."""

import warnings

from cyborg import context
from cyborg.conf import CONF
from cyborg.policies import device_profile as policies


def test_no_token_travels() -> None:
    made = context.RequestContext(
        auth_token="secret",
        service_token="more",
        project_id="p",
        roles=["member"],
        is_service_request=True,
        overwrite=False,
    )
    values = made.to_dict()
    assert "secret" not in str(values)
    assert "more" not in str(values)
    again = context.RequestContext.from_dict(values)
    assert (again.project_id, again.roles) == ("p", ["member"])
    assert again.is_service_request


def test_admin_is_one_role_in_any_case() -> None:
    for role in ("admin", "Admin", "ADMIN"):
        assert context.RequestContext(roles=[role], overwrite=False).is_admin
    made = context.RequestContext(roles=["administrator"], overwrite=False)
    assert not made.is_admin


def test_background_work_is_an_administrators() -> None:
    assert context.get_admin_context().is_admin
    assert not context.get_admin_context().is_service_request


def test_deciding_warns_of_nothing() -> None:
    CONF([], project="cyborg", default_config_files=[])
    made = context.RequestContext(
        project_id="p", roles=["reader"], overwrite=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.can(policies.GET_ALL)
    CONF.reset()
