"""Options of cyborg-conductor, group [conductor]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("conductor", title="cyborg-conductor")

OPTS = [
    cfg.StrOpt(
        "mode",
        default="rpc",
        choices=[
            ("rpc", "Ask a conductor over the message bus."),
            ("local", "Run the conductor's code in the calling process."),
        ],
        help="""
How cyborg-api reaches the conductor's code. ``local`` saves a round trip per
request; the API hosts then need the conductor's credentials for Placement
and the database, and conductors still have to run for background work.
""",
    ),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        help="""
How many processes cyborg-conductor starts on this host. One is enough unless
it keeps a processor busy; each has its own connections to the database and
the message bus.
""",
    ),
    cfg.BoolOpt(
        "accept_unkeyed_reports",
        default=True,
        mutable=True,
        help="""
Whether agents that show no key may report, as those of earlier releases do.
A host that has shown a key once is refused without it in any case. Turn it
off once ``cyborg-status upgrade check`` says that all hosts have one:
whoever has credentials for the message bus could report new hosts otherwise.
""",
    ),
    cfg.IntOpt(
        "job_lease",
        default=30,
        min=1,
        help="""
Seconds after which the work of a conductor that died, on a host or with an
event for Nova, is taken over by another conductor.
""",
    ),
    cfg.IntOpt(
        "service_down_time",
        default=180,
        min=1,
        mutable=True,
        help="""
Seconds of silence after which an agent or a conductor is shown as down, and
binds that need work on the agent's host are refused. Keep it above twice
``[agent] heartbeat_interval``.
""",
    ),
    cfg.IntOpt(
        "reconcile_interval",
        default=3600,
        min=1,
        mutable=True,
        help="""
Seconds after which a host's resource providers are compared with the
database again, even if nothing changed: how long it lasts at most until what
somebody else changed in Placement is put right.
""",
    ),
    cfg.IntOpt(
        "removal_grace",
        default=600,
        min=0,
        mutable=True,
        help="""
Seconds for which a host has to go on reporting that a device is gone before
its records are removed.
""",
    ),
    cfg.StrOpt(
        "new_device_status",
        default="enabled",
        mutable=True,
        choices=[
            ("enabled", "The scheduler may use it at once."),
            ("maintaining", "Not before an operator has enabled it."),
        ],
        help="""
What becomes of a device that is seen for the first time. One that was there
before, in the same place, is as it was left.
""",
    ),
    cfg.StrOpt(
        "fault_effect",
        default="none",
        mutable=True,
        choices=[
            ("none", "It is shown and told of."),
            ("no-schedule", "The scheduler does not use the device."),
        ],
        help="""
What becomes of a device whose user says that it is faulty. The condition
``fault`` stays until an operator clears it.
""",
    ),
    cfg.IntOpt(
        "device_event_days",
        default=365,
        min=1,
        mutable=True,
        help="""
Days after which what happened to a device is forgotten. Each bind and each
release of a device is a row of some 300 bytes.
""",
    ),
    cfg.IntOpt(
        "orphan_grace",
        default=3600,
        min=0,
        mutable=True,
        help="""
Seconds for which an accelerator request has to be without its server, in
Nova and in Placement, before ``orphan_action`` is taken, if the user of
``[nova]`` may not see the servers of all projects. Where it may, two looks a
minute apart are enough.
""",
    ),
    cfg.IntOpt(
        "orphan_max_percent",
        default=10,
        min=0,
        max=100,
        mutable=True,
        help="""
Most of the bound accelerator requests, in percent, that are freed because
their servers are gone. If more are, none is freed and the log says so: Nova is
another one, or was restored from a backup. 16 are freed in any case.
""",
    ),
    cfg.IntOpt(
        "unbound_arq_max_age",
        default=86400,
        min=0,
        mutable=True,
        help="""
Seconds after which an accelerator request that was created and never bound
counts as left over. 0 means never.
""",
    ),
    cfg.StrOpt(
        "orphan_action",
        default="free",
        mutable=True,
        choices=[
            ("free", "Free what it holds and delete it."),
            ("report", "Only log it."),
        ],
        help="""
What to do with left-over accelerator requests: those whose server is gone for
long enough, and those never bound in ``unbound_arq_max_age``.
``cyborg-manage arq audit`` shows them in either case.
""",
    ),
    cfg.IntOpt(
        "event_expiry",
        default=300,
        min=1,
        mutable=True,
        help="""
Seconds for which the conductor goes on telling Nova that an accelerator
request is bound. Nova's ``[compute] arq_binding_timeout`` is how long it
waits.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS}
