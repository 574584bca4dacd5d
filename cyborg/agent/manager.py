"""The agent of one host: looks at the hardware, reports it, works on it."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import threading
import time
from typing import Any
from typing import ParamSpec
from typing import TypeVar

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging
from oslo_utils import uuidutils

from cyborg import context as cyborg_context
from cyborg.agent import cleaning
from cyborg.agent import discovery
from cyborg.agent import guests
from cyborg.agent import hotplug
from cyborg.agent import images
from cyborg.agent import in_use
from cyborg.agent import intents
from cyborg.agent import key as host_key
from cyborg.agent import machine
from cyborg.agent import recovery
from cyborg.agent import report
from cyborg.agent import reporter
from cyborg.agent import rpcapi
from cyborg.agent import store
from cyborg.agent import work
from cyborg.agent.health import kernel_log
from cyborg.agent.health import kmsg
from cyborg.agent.health import monitor as health_monitor
from cyborg.clients import glance
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor import rpcapi as conductor_rpcapi

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds that stop() waits for its threads: a driver may hang on hardware,
# and a call of a conductor that is away takes its time.
PATIENCE = 5

# Seconds between two looks at guests.
GUESTS_SETTLE = 20

# Seconds after which a conductor that could not use all of what it was told
# of health is told again.
HEALTH_AGAIN = 300

# What an image can have wrong; programming answers 3 for these.
IMAGE_ERRORS = (
    exception.ImageNotFound,
    exception.ImageNotAuthorized,
    exception.ImageBadRequest,
    exception.ImageUnacceptable,
    exception.GlanceConnectionFailed,
)
P = ParamSpec("P")
R = TypeVar("R")

DONE, FAILED, NO_TARGET, NO_IMAGE = range(4)


def declares(method: Callable[P, R]) -> Callable[P, R]:
    """Let what a caller may expect go wrong pass without a traceback."""
    expected = messaging.expected_exceptions(
        exception.CyborgException, LookupError
    )
    return functools.wraps(method)(expected(method))


class AgentManager:
    """The RPC endpoint, and the threads behind it.

    :param conductor: how the conductor is reached
    :param host: the agent's name on the bus
    :param listen: makes the agent answer under one more name
    :param source: where images come from
    :param monitor: see :class:`cyborg.agent.hotplug.Watcher`
    """

    target = messaging.Target(version=rpcapi.VERSION)

    def __init__(
        self,
        conductor: conductor_rpcapi.Reports,
        host: str,
        listen: Callable[[str], None] | None = None,
        source: images.Source | None = None,
        monitor: Callable[[], Any] = hotplug.kernel_monitor,
    ) -> None:
        self._conductor = conductor
        self._host = host
        self._listen = listen
        self._source = source
        self._monitor = monitor
        self._drivers: list[discovery.Enabled] | None = None
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._recovered = threading.Event()
        self._uneasy = threading.Event()
        self._unwell = threading.Event()
        self._threads: list[threading.Thread] = []
        self._registered: list[Callable[[], None]] = []
        self._watcher: hotplug.Watcher | None = None

    # -- life

    def load_drivers(
        self, drivers: list[discovery.Enabled] | None = None
    ) -> None:
        """Load what ``[agent] enabled_drivers`` names, or take these.

        :raises ConfigInvalid: the options name or say something impossible
        """
        if drivers is None:
            drivers = discovery.load(CONF.agent.enabled_drivers)
        directory = store.directory()
        cache = report.Cache(directory / "last_discovery.json")
        image_store = images.ImageStore(
            directory / "images", self._source or glance.get_client()
        )
        image_store.prepare()
        self._drivers = drivers
        self._discovery = discovery.Discovery(drivers, cache)
        here = machine.read()
        self._in_use = in_use.InUse(
            directory / "in_use.json", self._uneasy.set
        )
        self._reporter = reporter.Reporter(
            self._conductor,
            self._host,
            cache,
            here,
            self._in_use,
            host_key.read_or_make(directory),
        )
        self._images = image_store
        log = intents.IntentLog(directory / "intents.json", here.boot_id)
        self._log = log
        self._work = work.HostWork(
            self._discovery, log, image_store, self._reporter.change
        )
        self._cleaner = cleaning.Cleaner(
            self._discovery, log, self._reporter.cleaning_ended
        )
        self._health = health_monitor.Monitor(
            CONF.agent.filesystem_root,
            directory / "health.json",
            here.boot_id,
        )
        self._recovery = recovery.Recovery(self._work, log, self._in_use)

    def init_host(self) -> None:
        """Start discovery, reports and heartbeats."""
        if self._drivers is None:
            self.load_drivers()
        if not self._drivers:
            LOG.warning(
                "[agent] enabled_drivers is empty: nothing is reported"
            )
        self._work.log_interrupted()
        self._start("recovery", self._run_recovery)
        self._start("discovery", self._run_discovery)
        self._start("registration", self._run_registration)
        self._start("guests", self._run_guests)
        if CONF.health.enabled:
            self._start("health", self._run_health)
        if CONF.agent.heartbeat_interval:
            self._start("heartbeat", self._run_heartbeat)
        # A recorded machine makes no events.
        if CONF.agent.filesystem_root == "/":
            if CONF.health.enabled:
                self._start("kernel-log", self._run_kernel_log)
            monitor = self._monitor()
            if monitor is not None:
                self._watcher = hotplug.Watcher(
                    monitor, self._look, self._monitor
                )
                self._watcher.start()

    @property
    def hostname(self) -> str | None:
        """The host's name in Placement; None until it is registered."""
        return self._reporter.hostname

    @property
    def speaker(self) -> dict[str, Any]:
        """Who speaks, as conductors are told with every message."""
        return self._reporter.speaker

    def on_registered(self, callback: Callable[[], None]) -> None:
        """Have this called once the host's name is known."""
        self._registered.append(callback)

    def stop(self) -> None:
        """End all threads; one that hangs in a driver is left behind."""
        self._ended.set()
        self._wanted.set()
        self._uneasy.set()
        self._unwell.set()
        self._in_use.answered.set()
        if self._watcher is not None:
            self._watcher.stop()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run_registration(self) -> None:
        hostname = self._reporter.register(self._ended)
        if hostname is None:
            return
        if self._listen is not None and hostname != self._host:
            # Conductors of earlier releases call by the provider's name.
            self._listen(hostname)
        self._wanted.set()
        for callback in self._registered:
            callback()

    def _look(self) -> None:
        """Look at the hardware, and whether it has what guests own."""
        self._wanted.set()
        self._uneasy.set()
        self._unwell.set()

    def _run_recovery(self) -> None:
        # What was left on the disk may be of another day.
        if self._recovery.has_to_ask:
            self._in_use.answered.wait(CONF.agent.command_timeout)
        while not self._ended.is_set():
            self._uneasy.clear()
            self._recovery.run()
            self._recovered.set()
            self._uneasy.wait(CONF.periodic_interval)

    def _run_discovery(self) -> None:
        # A driver that is at work on its cards cannot look at them.
        self._recovered.wait(CONF.agent.command_timeout)
        while not self._ended.is_set():
            began = time.monotonic()
            self._wanted.clear()
            try:
                self.discover_once()
            except Exception:
                LOG.exception("Discovery failed; it will be tried again")
            # What it found is known to the conductor now.
            self._unwell.set()
            spent = time.monotonic() - began
            self._wanted.wait(max(0.0, CONF.periodic_interval - spent))

    def _run_heartbeat(self) -> None:
        interval = CONF.agent.heartbeat_interval
        while not self._ended.wait(
            max(1.0, interval - self._reporter.seconds_silent())
        ):
            self._reporter.heartbeat()

    def _run_guests(self) -> None:
        told: list[guests.Finding] | None = None
        while not self._ended.wait(GUESTS_SETTLE):
            found = self._look_at_guests()
            if found:
                # What a server that starts or stops lacks for a moment is
                # no news: two looks have to find it.
                self._ended.wait(GUESTS_SETTLE)
                again = self._look_at_guests()
                if again is None:
                    continue
                found = [each for each in found if each in again]
            if found is None or found == told:
                continue
            if self._reporter.tell_guests(found):
                told = found

    def _run_health(self) -> None:
        again_at: float | None = None
        while not self._ended.is_set():
            self._unwell.wait(CONF.periodic_interval)
            self._unwell.clear()
            if self._ended.is_set():
                return
            if again_at is not None and time.monotonic() >= again_at:
                again_at = None
                self._health.ask_again()
            try:
                if self._look_at_health():
                    again_at = again_at or time.monotonic() + HEALTH_AGAIN
            except Exception:
                LOG.exception("Health cannot be looked at")

    def _look_at_health(self) -> bool:
        """Tell what changed; returns whether to tell all of it later."""
        if self._reporter.hostname is None:
            return False
        changes = self._health.look(self._known())
        if not changes:
            return False
        again = self._reporter.tell_health(changes)
        if again is not None:
            self._health.told(changes)
        return bool(again)

    def _run_kernel_log(self) -> None:
        """Look at the cards' health when the kernel says something of it."""
        log = kernel_log.Log(CONF.agent.filesystem_root, None)
        try:
            while not self._ended.is_set():
                records = log.read()
                if any(kmsg.concerns(record.text) for record in records):
                    self._unwell.set()
                log.wait(1.0)
        except OSError as error:
            LOG.info(
                "The kernel's log is not watched: %s. An agent that is not "
                "root needs CAP_SYSLOG where kernel.dmesg_restrict is 1",
                error,
            )

    def _known(self) -> list[dict[str, Any]]:
        """Return the plain devices that all drivers reported last."""
        return [
            device
            for enabled in self._drivers or []
            for device in self._discovery.known(enabled.name)
        ]

    def _look_at_guests(self) -> list[guests.Finding] | None:
        """Return what is wrong now; None if that cannot be told."""
        if not self._in_use.is_known:
            return None
        try:
            return guests.look(
                CONF.agent.filesystem_root,
                self._in_use.handles(),
                self._known(),
            )
        except Exception:
            LOG.exception("Guests cannot be looked at")
            return None

    def discover_once(self) -> None:
        """Look at the hardware and report it; blocks."""
        infos = made = None
        if self._in_use.is_known:
            handles = self._in_use.handles()
            infos = [handle.info_text for handle in handles]
            made = self._log.mdevs() | {handle.uuid for handle in handles}
        found = self._discovery.run(infos, made)
        self._reporter.publish(
            report.Report.of(found, self._host) if found else None
        )

    def discover_now(self) -> None:
        """Look at the hardware as soon as that is possible."""
        self._wanted.set()

    # -- RPC 1.2

    @declares
    def discover(self, context: cyborg_context.RequestContext) -> None:
        """Look at the hardware now; the answer does not wait for that."""
        LOG.info("Somebody asks for a look at the hardware")
        self.discover_now()

    # -- RPC 1.1

    @declares
    def program(
        self,
        context: cyborg_context.RequestContext,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        driver_name: str,
        sequence: int | None = None,
    ) -> dict[str, Any]:
        """Load a bitstream.

        :returns: ``{"code", "detail"}``, see :mod:`cyborg.agent.rpcapi`
        :raises Overtaken: the card was loaded by later work
        """
        return self._answer(
            self._work.program,
            job_uuid,
            controlpath_id,
            image,
            driver_name,
            sequence,
        )

    @declares
    def device_update(
        self,
        context: cyborg_context.RequestContext,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        driver: str,
        sequence: int | None = None,
    ) -> dict[str, Any]:
        """Load firmware; answers like :meth:`program`."""
        return self._answer(
            self._work.update,
            job_uuid,
            controlpath_id,
            image,
            driver,
            sequence,
        )

    def _answer(self, load: Callable[..., None], *args: Any) -> dict[str, Any]:
        try:
            load(*args)
        except exception.Overtaken:
            raise
        except IMAGE_ERRORS as error:
            code, detail = NO_IMAGE, error.faultstring
        except (LookupError, exception.PciDeviceNotFoundById) as error:
            code, detail = NO_TARGET, str(error)
        except exception.CyborgException as error:
            code, detail = FAILED, error.faultstring
        except Exception as error:
            LOG.exception("Loading an image failed")
            code, detail = FAILED, f"{type(error).__name__}: {error}"
        else:
            code, detail = DONE, ""
        if code:
            LOG.error("Loading an image failed: %s", detail)
        # The card may have become another one.
        self._wanted.set()
        return {"code": code, "detail": detail}

    @declares
    def prepare_handle(
        self,
        context: cyborg_context.RequestContext,
        handle: dict[str, Any],
        sequence: int | None = None,
    ) -> None:
        """Make ready what a guest is to be given.

        :raises Overtaken: later work on the handle came before it
        """
        info = handle["attach_info"]
        if _is_made(info):
            self._prepare(
                handle["attach_type"],
                report.pci_address(info),
                info["asked_type"],
                handle["uuid"],
                sequence,
            )

    @declares
    def cleanup_handle(
        self,
        context: cyborg_context.RequestContext,
        handle: dict[str, Any],
        sequence: int | None = None,
        controlpath_id: dict[str, Any] | None = None,
    ) -> None:
        """Undo :meth:`prepare_handle`.

        :param controlpath_id: card that was to be loaded for it: returns
            when nothing older is loaded into it any more
        :raises Overtaken: later work on the handle came before it
        """
        info = handle["attach_info"]
        if _is_made(info):
            self._cleanup(
                report.pci_address(info),
                info["asked_type"],
                handle["uuid"],
                sequence,
            )
        if controlpath_id is not None and sequence is not None:
            with _told():
                self._work.fence(controlpath_id, sequence)

    @declares
    def fence(
        self,
        context: cyborg_context.RequestContext,
        controlpath_id: dict[str, Any],
        sequence: int,
    ) -> None:
        """Return when nothing older is loaded into a card any more."""
        with _told():
            self._work.fence(controlpath_id, sequence)

    @declares
    def clean(
        self,
        context: cyborg_context.RequestContext,
        job_uuid: str,
        attempt: int,
        handle: dict[str, Any],
        controlpath_id: dict[str, Any],
        driver: str,
        sequence: int | None = None,
    ) -> dict[str, Any]:
        """Clean what a guest had, or say how far that is.

        :raises Overtaken: later work on the handle came before it
        """
        with _told():
            return self._cleaner.clean(
                job_uuid, attempt, handle, controlpath_id, driver, sequence
            )

    def _prepare(
        self,
        attach_type: str,
        address: str,
        asked_type: str,
        uuid: str,
        sequence: int | None = None,
    ) -> None:
        if (
            attach_type == constants.AttachHandleType.MDEV
            and not CONF.gpu_devices.precreate_mdev
        ):
            return
        self._in_use.expect(uuid)
        with _told():
            self._work.prepare_mdev(address, asked_type, uuid, sequence)

    def _cleanup(
        self,
        address: str,
        asked_type: str,
        uuid: str,
        sequence: int | None = None,
    ) -> None:
        with _told():
            self._in_use.strike(uuid)
            self._work.cleanup_mdev(address, asked_type, uuid, sequence)

    @declares
    def device_get_stats(
        self,
        context: cyborg_context.RequestContext,
        controlpath_id: dict[str, Any],
        driver: str,
    ) -> dict[str, Any]:
        """Return what the driver measures on a card now."""
        return self._work.get_stats(controlpath_id, driver)

    # -- RPC 1.0

    @declares
    def fpga_program(
        self,
        context: cyborg_context.RequestContext,
        controlpath_id: dict[str, Any],
        bitstream_uuid: str,
        driver_name: str,
    ) -> bool:
        """Load a bitstream for a conductor of an earlier release."""
        if not uuidutils.is_uuid_like(bitstream_uuid):
            raise exception.InvalidUUID(uuid=bitstream_uuid)
        try:
            self._work.program(
                uuidutils.generate_uuid(),
                controlpath_id,
                self._images.describe(bitstream_uuid),
                driver_name,
            )
        except exception.DriverError as error:
            LOG.error("Programming failed: %s", error.faultstring)
            return False
        finally:
            self._wanted.set()
        return True

    @declares
    def create_vgpu_mdev(
        self,
        context: cyborg_context.RequestContext,
        pci_addr: str,
        asked_type: str,
        ah_uuid: str,
    ) -> None:
        """Make an mdev for a conductor of an earlier release."""
        self._prepare(
            constants.AttachHandleType.MDEV, pci_addr, asked_type, ah_uuid
        )

    @declares
    def remove_vgpu_mdev(
        self,
        context: cyborg_context.RequestContext,
        pci_addr: str,
        asked_type: str,
        ah_uuid: str,
    ) -> None:
        """Remove an mdev for a conductor of an earlier release."""
        self._cleanup(pci_addr, asked_type, ah_uuid)


def _is_made(attach_info: dict[str, str]) -> bool:
    """Return whether a handle exists only once it is made.

    So does an mdev, and a virtual function that has to become a vGPU.
    """
    return "asked_type" in attach_info


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Let whoever called know what went wrong, whatever it was.

    :raises CyborgException: what the block raises
    """
    try:
        yield
    except exception.CyborgException:
        raise
    except Exception as error:
        LOG.exception("Work on the host failed")
        raise exception.DriverError(
            reason=f"{type(error).__name__}: {error}"
        ) from error
