"""Options of cyborg-api, groups [api] and [ssl]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("api", title="cyborg-api")
SSL_GROUP = cfg.OptGroup("ssl", title="Certificates of cyborg-api")

OPTS = [
    cfg.HostAddressOpt(
        "host_ip",
        default="127.0.0.1",
        help="Address on which cyborg-api listens.",
    ),
    cfg.PortOpt(
        "port",
        default=6666,
        help="Port on which cyborg-api listens.",
    ),
    cfg.IntOpt(
        "api_workers",
        min=1,
        help="""
How many processes cyborg-api starts on the one port. Unset means one for
each processor. A WSGI server such as uwsgi has a setting of its own.
""",
    ),
    cfg.BoolOpt(
        "enable_ssl_api",
        default=False,
        help="""
Serve HTTPS instead of HTTP. Set ``cert_file`` and ``key_file`` in group
``[ssl]`` as well.
""",
    ),
    cfg.StrOpt(
        "public_endpoint",
        help="""
URL that links in answers begin with, for example
``https://cloud.example.com/accelerator``. Unset means what the client asked
for, as a proxy in front reports it.
""",
    ),
    cfg.StrOpt(
        "api_paste_config",
        default="api-paste.ini",
        help="""
Paste file of the WSGI pipeline. A relative name is looked for in the
configuration directories, then beside the code.
""",
    ),
    cfg.IntOpt(
        "max_limit",
        default=1000,
        min=1,
        mutable=True,
        help="""
Most records one answer may list. A larger ``limit`` is cut to this; from
microversion 2.5 a list without ``limit`` is, too.
""",
    ),
    cfg.IntOpt(
        "max_arqs_per_request",
        default=256,
        min=1,
        mutable=True,
        help="""
Most accelerator requests that one device profile may ask for.
""",
    ),
]

SSL_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cert_file",
        help="Certificate that cyborg-api shows, with its chain; PEM.",
    ),
    cfg.StrOpt("key_file", help="Private key of the certificate; PEM."),
    cfg.StrOpt(
        "ca_file",
        help="""
Certificates of the authorities that clients' certificates have to be signed
by. Unset means that clients need none.
""",
    ),
    cfg.StrOpt("ciphers", help="Ciphers to offer, as OpenSSL names them."),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)
    conf.register_group(SSL_GROUP)
    conf.register_opts(SSL_OPTS, group=SSL_GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS, SSL_GROUP.name: SSL_OPTS}
