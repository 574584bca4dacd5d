"""Runs a manager as a daemon: one process, threads, and four signals.

SIGTERM and SIGINT drain and end it, SIGHUP reloads options that may change
while it runs, SIGUSR2 makes it tell what it is doing. A supervisor such as
systemd starts it again if it dies.
"""

from collections.abc import Callable
from importlib import metadata
import logging as std_logging
import os
import signal
import sys
import threading
from typing import Any
from typing import Protocol

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging
from oslo_reports import guru_meditation_report as guru
from oslo_reports import opts as report_opts
from oslo_service import opts as service_opts

from cyborg import conf
from cyborg.common import exception
from cyborg.common import notifier
from cyborg.common import rpc
from cyborg.objects import base
from cyborg.objects import register_all

CONF = conf.CONF
LOG = logging.getLogger(__name__)


class Version:
    """What a report says of this software."""

    def vendor_string(self) -> str:
        return "OpenStack"

    def product_string(self) -> str:
        return "OpenStack Cyborg"

    def version_string_with_package(self) -> str:
        return metadata.version("openstack-cyborg")


class Manager(Protocol):
    """What a daemon does."""

    def init_host(self) -> None:
        """Start background work; the RPC servers run already."""

    def stop(self) -> None:
        """End background work and wait for it."""


def prepare(
    argv: list[str] | None = None, config_files: list[str] | None = None
) -> None:
    """Read the configuration and set up logging; first step of a daemon.

    Ends the process with one line if the configuration is not valid.
    """
    logging.register_options(CONF)
    logging.set_defaults(
        default_log_levels=[
            *logging.get_default_log_levels(),
            "keystoneauth=WARNING",
            "oslo.messaging=INFO",
        ]
    )
    # graceful_shutdown_timeout and what a daemon logs of its options.
    service_opts.register_service_opts(CONF)
    rpc.set_defaults()
    # Which of the processes on a host measured it.
    CONF.set_default(
        "metrics_process_name", _program(), group="oslo_messaging_metrics"
    )
    try:
        CONF(
            sys.argv[1:] if argv is None else argv,
            project="cyborg",
            default_config_files=config_files,
        )
    except cfg.Error as error:
        sys.exit(f"Configuration: {error}")
    logging.setup(CONF, "cyborg")
    register_all()


def _program() -> str:
    return os.path.basename(sys.argv[0]) or "cyborg"


class Service:
    """RPC servers and a manager, started and stopped together.

    :param topic: where the servers listen
    :param names: server names; the manager answers under each
    """

    def __init__(
        self, manager: Any, topic: str, names: list[str], version: str
    ) -> None:
        self._manager = manager
        self._topic = topic
        self._version = version
        self._names = list(names)
        self._servers: dict[str, Any] = {}

    def start(self) -> None:
        for name in self._names:
            self.listen(name)
        self._manager.init_host()

    def listen(self, name: str) -> None:
        """Answer under one more name; again is harmless."""
        if name in self._servers:
            return
        # The version of the manager's Target attribute says what it serves.
        server = rpc.get_server(
            messaging.Target(topic=self._topic, server=name),
            [self._manager],
            base.CyborgObjectSerializer(),
        )
        server.start()
        self._servers[name] = server
        LOG.info("Listening on topic %s as %s", self._topic, name)

    def stop(self) -> None:
        # No new calls, then the running ones, then background work.
        for server in self._servers.values():
            server.stop()
        for server in self._servers.values():
            server.wait()
        self._manager.stop()
        self._servers.clear()


def serve(start: Callable[[], Any], stop: Callable[[], Any]) -> int:
    """Start, wait for a signal, stop. Returns the exit status.

    Errors made by the operator are one line on standard error.
    """
    ended = threading.Event()
    reload_wanted = threading.Event()
    woken = threading.Event()

    def on_end(signum: int, frame: Any) -> None:
        ended.set()
        woken.set()

    def on_reload(signum: int, frame: Any) -> None:
        reload_wanted.set()
        woken.set()

    for name, handler in (
        ("SIGTERM", on_end),
        ("SIGINT", on_end),
        ("SIGHUP", on_reload),
    ):
        signal.signal(getattr(signal, name), handler)
    # cyborg-standalone prepares only while it starts.
    report_opts.set_defaults(CONF)
    # Workers of one program get the signal at once; each writes its own file.
    guru.TextGuruMeditation.setup_autorun(
        Version(), service_name=f"{_program()}-{os.getpid()}", conf=CONF
    )
    try:
        start()
    except exception.ConfigInvalid as error:
        LOG.error("%s", error.faultstring)
        if CONF.log_file or CONF.log_dir:
            # Where whoever started it looks first.
            sys.stderr.write(f"{error.faultstring}\n")
        stop()
        return 1
    while not ended.is_set():
        woken.wait()
        woken.clear()
        if reload_wanted.is_set():
            reload_wanted.clear()
            LOG.info("Reloading options that may change at run time")
            CONF.mutate_config_files()
    LOG.info("Stopping")
    # A second signal, or work that does not end, must not hold the process.
    timer = threading.Timer(
        CONF.graceful_shutdown_timeout or threading.TIMEOUT_MAX,
        lambda: os._exit(1),
    )
    timer.daemon = True
    timer.start()
    stop()
    notifier.stop()
    timer.cancel()
    std_logging.shutdown()
    return 0
