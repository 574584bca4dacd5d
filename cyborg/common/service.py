"""Runs a manager as a daemon: one process, threads, and four signals.

SIGTERM and SIGINT drain and end it, SIGHUP reloads options that may change
while it runs, SIGUSR2 makes it tell what it is doing. A supervisor such as
systemd starts it again if it dies.
"""

from collections.abc import Callable
from collections.abc import Mapping
from concurrent import futures
from importlib import metadata
import logging as std_logging
import os
import signal
import socket
import sys
import threading
from typing import Any
from typing import Protocol

from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log as logging
import oslo_messaging as messaging
from oslo_reports import guru_meditation_report as guru
from oslo_reports import opts as report_opts
from oslo_service import opts as service_opts

from cyborg import conf
from cyborg.common import database
from cyborg.common import exception
from cyborg.common import notifier
from cyborg.common import rpc
from cyborg.common import text
from cyborg.conf import opts
from cyborg.objects import base
from cyborg.objects import register_all

CONF = conf.CONF
LOG = logging.getLogger(__name__)

_ENDING = (signal.SIGTERM, signal.SIGINT)


class LogRecord(std_logging.LogRecord):
    """A message of ours is one line, whoever its parts come from."""

    def getMessage(self) -> str:
        message = super().getMessage()
        if self.name.partition(".")[0] != "cyborg":
            return message
        return text.visible(message)


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
    argv: list[str] | None = None,
    config_files: list[str] | None = None,
    program: str | None = None,
) -> None:
    """Read the configuration and set up logging; first step of a daemon.

    Ends the process with one line if the configuration is not valid.

    :param program: what this process is, where that is not what was started
    """
    program = program or _program()
    logging.register_options(CONF)
    logging.set_defaults(
        default_log_levels=[
            *logging.get_default_log_levels(),
            "keystoneauth=WARNING",
            "oslo.messaging=INFO",
            # It writes a traceback of what is raised and answered for.
            "oslo_db.api=CRITICAL",
        ]
    )
    # graceful_shutdown_timeout and what a daemon logs of its options.
    service_opts.register_service_opts(CONF)
    rpc.set_defaults(program)
    # Which of the processes on a host measured it.
    CONF.set_default(
        "metrics_process_name", program, group="oslo_messaging_metrics"
    )
    try:
        CONF(
            sys.argv[1:] if argv is None else argv,
            project="cyborg",
            version=Version().version_string_with_package(),
            default_config_files=config_files,
        )
        _read_options(CONF)
    except cfg.Error as error:
        sys.exit(f"Configuration: {error}")
    try:
        logging.setup(CONF, "cyborg")
        std_logging.setLogRecordFactory(LogRecord)
    except OSError as error:
        sys.exit(f"Configuration: log_dir or log_file: {error}")
    register_all()


def _read_options(options: Mapping[str, Any]) -> None:
    """Read every option once.

    oslo.config looks at a value only when it is asked for, which may be in
    the middle of something.
    """
    for name in options:
        value = options[name]
        if isinstance(value, cfg.ConfigOpts.GroupAttr):
            _read_options(value)


def complaint(error: Exception) -> str | None:
    """Return what an operator has to mend, in one line; None if nothing."""
    if isinstance(error, exception.CyborgException):
        return error.faultstring
    if isinstance(error, db_exception.DBNonExistentTable):
        return (
            "The database has no tables, or those of an earlier release; run "
            "'cyborg-dbsync upgrade'."
        )
    reason = database.refusal(error)
    if reason is None and isinstance(error, db_exception.DBError):
        reason = str(error).splitlines()[0]
    if reason is None:
        return None
    return (
        "The database does not answer, or refuses; see [database] "
        f"connection: {reason}"
    )


def attempt(step: Callable[[], Any]) -> str | None:
    """Do it; return why that cannot be, if an operator can mend it."""
    try:
        step()
    except Exception as error:
        problem = complaint(error)
        if problem is None:
            raise
        LOG.debug("Failed", exc_info=True)
        return problem
    return None


def grace() -> float:
    """Return the seconds a daemon has from the signal to its end."""
    # Registered where the configuration was read for a daemon.
    timeout = getattr(CONF, "graceful_shutdown_timeout", 0)
    return float(timeout or threading.TIMEOUT_MAX)


def _program() -> str:
    return os.path.basename(sys.argv[0]) or "cyborg"


class Service:
    """RPC servers and a manager, started and stopped together.

    :param topic: where the servers listen
    :param names: server names; the manager answers under each
    :param exchange: the services' own if not given
    """

    def __init__(
        self,
        manager: Any,
        topic: str,
        names: list[str],
        version: str,
        exchange: str | None = None,
        bus: rpc.Bus = rpc.SERVICES,
    ) -> None:
        self._manager = manager
        self._exchange = exchange
        self._bus = bus
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
            messaging.Target(
                exchange=self._exchange, topic=self._topic, server=name
            ),
            [self._manager],
            base.CyborgObjectSerializer(),
            self._bus,
        )
        server.start()
        self._servers[name] = server
        LOG.info("Listening on topic %s as %s", self._topic, name)

    def stop(self) -> None:
        """Take no new calls, end the running ones, then background work.

        A call that takes long must not keep the manager from leaving its
        work to others before the time is up.
        """
        drained = threading.Thread(target=self._drain, daemon=True)
        drained.start()
        drained.join(grace() / 2)
        self._manager.stop()
        drained.join()
        self._servers.clear()

    def _drain(self) -> None:
        servers = list(self._servers.values())
        for server in servers:
            server.stop()
        for server in servers:
            server.wait()


class _Signals:
    """Where the number of each signal can be read.

    Nothing is done in a handler. It runs in the middle of what the main
    thread does, which may hold the very lock that waking it up takes; and it
    is not run at all once that thread waits for something else.
    """

    def __init__(self, *more: int) -> None:
        for number in (*_ENDING, signal.SIGHUP, *more):
            signal.signal(number, lambda signum, frame: None)
        self._reader, writer = socket.socketpair()
        writer.setblocking(False)
        # Detached, or it would be closed when nobody refers to it any more.
        self._writer = writer.detach()
        signal.set_wakeup_fd(self._writer)

    def wait(self) -> int:
        """Return the number of the next signal."""
        return self._reader.recv(1)[0]

    def interrupt(self) -> None:
        """Make :meth:`wait` return 0, which is no signal."""
        os.write(self._writer, b"\0")


def _begin(
    start: Callable[[], Any], signals: _Signals
) -> "futures.Future[str | None]":
    """Start beside the main thread; returns what :func:`attempt` will.

    That listens to signals meanwhile: a database or a message bus that does
    not let us in is waited for.
    """
    begun: futures.Future[str | None] = futures.Future()

    def run() -> None:
        try:
            begun.set_result(attempt(start))
        except BaseException as error:
            begun.set_exception(error)
        signals.interrupt()

    threading.Thread(target=run, name="start", daemon=True).start()
    return begun


def serve(
    start: Callable[[], Any],
    stop: Callable[[], Any],
    on_signal: Mapping[int, Callable[[], Any]] | None = None,
) -> int:
    """Start, wait for a signal, stop. Returns the exit status.

    :param on_signal: what else is done at which signals, once it is started

    Errors made by the operator are one line on standard error.
    """
    others = on_signal or {}
    signals = _Signals(*others)
    # cyborg-standalone prepares only while it starts.
    report_opts.set_defaults(CONF)
    # Workers of one program get the signal at once; each writes its own file.
    guru.TextGuruMeditation.setup_autorun(
        Version(), service_name=f"{_program()}-{os.getpid()}", conf=CONF
    )
    begun, reload = _begin(start, signals), False
    while not begun.done():
        number = signals.wait()
        if number in _ENDING:
            LOG.info("Stopping before all was started")
            std_logging.shutdown()
            # What has to be waited for may never come.
            os._exit(0)
        reload = reload or number == signal.SIGHUP
    problem = begun.result()
    if problem is not None:
        LOG.error("%s", problem)
        if CONF.log_file or CONF.log_dir:
            # Where whoever started it looks first.
            sys.stderr.write(f"{problem}\n")
        stop()
        return 1
    if reload:
        _reload()
    # Any other is about something else: SIGUSR2 has been answered by now.
    while (number := signals.wait()) not in _ENDING:
        if number == signal.SIGHUP:
            _reload()
        elif number in others:
            others[number]()
    LOG.info("Stopping")
    # A second signal, or work that does not end, must not hold the process.
    timer = threading.Timer(grace(), lambda: os._exit(1))
    timer.daemon = True
    timer.start()
    stop()
    notifier.stop()
    timer.cancel()
    std_logging.shutdown()
    return 0


def _reload() -> None:
    LOG.info("Reloading options that may change at run time")
    try:
        _try_options()
        CONF.mutate_config_files()
    except (cfg.Error, ValueError) as error:
        LOG.error("Options stay as they are: %s", error)


def _try_options() -> None:
    """Pass if the options that may change at run time are valid.

    oslo.config takes new values without a look at them, and cannot go back;
    so it reads the same files for somebody else first.
    """
    trial = cfg.ConfigOpts()
    logging.register_options(trial)
    for group, options in opts.list_opts():
        trial.register_opts([o for o in options if o.mutable], group)
    trial(
        [],
        project="cyborg",
        default_config_files=CONF.config_file,
        default_config_dirs=CONF.config_dir,
    )
    _read_options(trial)
