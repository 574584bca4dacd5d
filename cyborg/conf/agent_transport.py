"""Where agents and conductors meet, group [agent_transport]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("agent_transport", title="The message bus of agents")

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="""
The virtual host on which agents and conductors meet, so that the credentials
of a compute host are good for nothing else: on a compute host with the user
of that host alone, on controllers with one that may do everything there.
``cyborg-manage bus permissions`` prints what makes them. The default is that
agents use the ``transport_url`` of all services, whose credentials are good
for everything.

Set it on all controllers first. Agents of earlier releases and those without
it are served on the other bus as before.

For example ``rabbit://cyborg-agent-cn1:<password>@controller/cyborg-agents``
in the configuration of ``cn1``.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
