"""Services Cyborg calls: groups [placement], [nova] and [glance].

Each takes keystoneauth's session, credential and adapter options. A group
without ``auth_type`` uses the credentials of ``[keystone_authtoken]``, and one
without ``region_name`` its region.
"""

from keystoneauth1 import loading
from oslo_config import cfg

SERVICE_TYPES = {
    "placement": "placement",
    "nova": "compute",
    "glance": "image",
}

GLANCE_OPTS = [
    cfg.IntOpt(
        "num_retries",
        default=0,
        min=0,
        help="""
How often a call of the image service is repeated, after a second each, when
the service does not answer.
""",
    ),
    cfg.ListOpt(
        "bitstream_projects",
        default=[],
        help="""
Projects whose images are loaded into devices for everybody, whether they are
public or not: a list of project ids, such as
``3b0f4e2d9c8a47d6a1f5c07b92e8d64a,service-project-id``. Empty means the
project of the user that ``[glance]`` names, the service project.

Besides these, an image is loaded if it is public, or for its own project and
those it is shared with if the user of ``[glance]`` is shown it as well. Read
by cyborg-conductor and ``cyborg-status upgrade check``.
""",
    ),
]

PLACEMENT_OPTS = [
    cfg.StrOpt(
        "provider_layout",
        default="auto",
        choices=[
            (
                "device",
                "every device is counted in a resource provider of its own",
            ),
            (
                "pool",
                "devices of a host that have the same resource class and "
                "traits are counted in one resource provider",
            ),
            (
                "auto",
                "as pool where a host has more than one such device, and as "
                "device where it has one",
            ),
        ],
        mutable=True,
        help="""
Which resource providers count the devices of a host that reports for the
first time. A pool of eight devices makes one allocation candidate of a host
where eight providers make many: requests for several devices are answered in
a fraction of the time, and more hosts are among the candidates.

A host keeps what it has: hosts that were there before this option stay with
``device`` until ``cyborg-manage placement layout`` says otherwise. Read by
cyborg-conductor.
""",
    ),
]

# An old name that files in the field still carry. What they have in [ssl] for
# Glance is what cyborg-api has there: clients.auth tells them apart.
_GLANCE_DEPRECATED = {
    "insecure": [cfg.DeprecatedOpt("api_insecure", group="glance")],
}
# Cyborg speaks one version of each peer's API; these would only break it.
_HIDDEN = ("version", "min_version", "max_version")


def _session_opts(group: str) -> list[cfg.Opt]:
    deprecated = _GLANCE_DEPRECATED if group == "glance" else None
    return loading.get_session_conf_options(deprecated_opts=deprecated)


def _adapter_opts(group: str) -> list[cfg.Opt]:
    options = [
        option
        for option in loading.get_adapter_conf_options()
        if option.name.replace("-", "_") not in _HIDDEN
    ]
    cfg.set_defaults(
        options,
        service_type=SERVICE_TYPES[group],
        valid_interfaces=["internal", "public"],
    )
    return options


def register_opts(conf: cfg.ConfigOpts) -> None:
    for group in SERVICE_TYPES:
        conf.register_opts(_session_opts(group), group=group)
        loading.register_auth_conf_options(conf, group)
        conf.register_opts(_adapter_opts(group), group=group)
    conf.register_opts(GLANCE_OPTS, group="glance")
    conf.register_opts(PLACEMENT_OPTS, group="placement")


def list_opts() -> dict[str, list[cfg.Opt]]:
    groups = {
        group: _session_opts(group)
        + loading.get_auth_common_conf_options()
        + loading.get_auth_plugin_conf_options("password")
        + _adapter_opts(group)
        for group in SERVICE_TYPES
    }
    groups["glance"] += GLANCE_OPTS
    groups["placement"] += PLACEMENT_OPTS
    return groups
