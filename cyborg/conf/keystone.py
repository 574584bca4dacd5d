"""How Cyborg uses Keystone: incoming tokens and its own."""

from keystoneauth1 import loading
from keystonemiddleware import auth_token
from oslo_config import cfg

SERVICE_USER = cfg.OptGroup(
    "service_user", title="Service tokens Cyborg sends"
)

SERVICE_USER_OPTS = [
    cfg.BoolOpt(
        "send_service_user_token",
        default=False,
        help="""
Send a service token along when Cyborg acts for a user. Cyborg calls other
services as its own user, so this changes nothing today.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group=group)
    # An invalid service token must not pass for a missing one: binding and
    # deleting by instance rest on it.
    conf.set_default(
        "service_token_roles_required", True, group="keystone_authtoken"
    )
    conf.register_group(SERVICE_USER)
    conf.register_opts(SERVICE_USER_OPTS, group=SERVICE_USER)
    loading.register_session_conf_options(conf, SERVICE_USER.name)
    loading.register_auth_conf_options(conf, SERVICE_USER.name)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {
        SERVICE_USER.name: SERVICE_USER_OPTS
        + loading.get_session_conf_options()
        + loading.get_auth_common_conf_options()
        + loading.get_auth_plugin_conf_options("password")
    }
