"""Options of cyborg-api, groups [api] and [ssl]."""

from oslo_config import cfg

from cyborg.conf import types

GROUP = cfg.OptGroup("api", title="cyborg-api")
SSL_GROUP = cfg.OptGroup("ssl", title="Certificates of cyborg-api")

OPTS = [
    cfg.HostAddressOpt(
        "host_ip",
        default="127.0.0.1",
        help="""
Address on which cyborg-api listens: one of this host's, for example
``192.0.2.11``, or ``0.0.0.0`` for all. uwsgi and other WSGI servers have
settings of their own for this and the port.
""",
    ),
    cfg.PortOpt(
        "port",
        default=6666,
        help="""
Port on which cyborg-api listens; the endpoints in Keystone name it.
""",
    ),
    cfg.Opt(
        "api_workers",
        type=types.Positive(None),
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
        help="""
File with the certificate that cyborg-api shows, and its chain, in PEM. Used
if ``[api] enable_ssl_api`` is set.
""",
    ),
    cfg.StrOpt(
        "key_file",
        help="File with the private key of the certificate, in PEM.",
    ),
    cfg.StrOpt(
        "ca_file",
        help="""
File with certificates of the authorities that clients' certificates have to
be signed by. Unset means that clients need none.
""",
    ),
    cfg.StrOpt(
        "ciphers",
        help="""
Ciphers to offer, as OpenSSL names them, for example ``ECDHE+AESGCM``. Unset
means Python's own choice.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)
    conf.register_group(SSL_GROUP)
    conf.register_opts(SSL_OPTS, group=SSL_GROUP)


def list_opts() -> dict[str, list[cfg.Opt]]:
    return {GROUP.name: OPTS, SSL_GROUP.name: SSL_OPTS}
