"""What an agent does to its host: images into cards, mdevs made and removed.

Everything here may be asked for twice, and may be cut short by the death of
the agent or the host; :mod:`cyborg.agent.intents` says how that is told.
"""

from collections.abc import Callable
from concurrent import futures
import contextlib
import threading
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.accelerator import driver as driver_api
from cyborg.agent import discovery
from cyborg.agent import images
from cyborg.agent import intents
from cyborg.agent import report
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Plain = dict[str, Any]


def device_key(controlpath_id: dict[str, Any]) -> str:
    """Return a text that is the same for the same device.

    :param controlpath_id: ``{"cpid_type", "cpid_info": {...}}``
    :raises InvalidType: it is of a type no driver has
    """
    kind = controlpath_id.get("cpid_type")
    if kind not in list(constants.ControlPathIDType):
        raise exception.InvalidType(
            actual=kind, expected=" or ".join(constants.ControlPathIDType)
        )
    info = controlpath_id["cpid_info"]
    if {"domain", "bus", "device", "function"} <= set(info):
        return report.pci_address(info)
    return " ".join(f"{key}={info[key]}" for key in sorted(info))


class HostWork:
    """Changes cards, one change of a card at a time.

    :param found: the drivers, and what each reported last
    :param changed: told how devices have changed without being looked at
    """

    def __init__(
        self,
        found: discovery.Discovery,
        log: intents.IntentLog,
        store: images.ImageStore,
        changed: Callable[[Callable[[Plain], Plain]], None] = lambda _: None,
    ) -> None:
        self._found = found
        self._log = log
        self._images = store
        self._changed = changed
        self._lock = threading.Lock()
        self._running: dict[str, futures.Future[None]] = {}

    # -- images

    def program(
        self,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        driver_name: str,
        sequence: int | None = None,
    ) -> None:
        """Load a bitstream; returns when the card has it.

        :param image: ``{"id", "owner", "size", "hash_algo", "hash_value"}``
        :param driver_name: the deployable's
        :param sequence: see :mod:`cyborg.agent.intents`
        :raises Overtaken: the card was loaded by later work
        :raises LookupError: no driver for it, or no such device
        :raises ImageUnacceptable: and the other errors of images
        :raises DriverError: the card refused it
        """
        key = device_key(controlpath_id)

        def load() -> None:
            enabled = self._find_programmable(driver_name, key)
            driver = enabled.get()
            assert isinstance(driver, driver_api.Programmable)
            self._load(
                enabled,
                job_uuid,
                key,
                image,
                lambda path: driver.program(controlpath_id, path),
                driver.IMAGE_SUFFIX,
                sequence,
            )

        self._once(job_uuid, load)

    def update(
        self,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        name: str,
        sequence: int | None = None,
    ) -> None:
        """Load firmware; as :meth:`program`.

        :param name: entry point of the driver
        """
        key = device_key(controlpath_id)

        def load() -> None:
            enabled = self._named(name)
            driver = enabled.get()
            if not isinstance(driver, driver_api.Updatable):
                raise exception.UnsupportedOperation(
                    driver=name, operation="update firmware"
                )
            self._check_known(enabled, key)
            self._load(
                enabled,
                job_uuid,
                key,
                image,
                lambda path: driver.update(controlpath_id, path),
                getattr(driver, "IMAGE_SUFFIX", ""),
                sequence,
            )

        self._once(job_uuid, load)

    def fence(self, controlpath_id: dict[str, Any], sequence: int) -> None:
        """Wait until a card is not being loaded, and refuse older loads.

        :raises DriverError: the card is busy for too long
        """
        key = device_key(controlpath_id)
        with contextlib.ExitStack() as stack:
            for enabled in self._found.drivers:
                if self._knows(enabled, key):
                    stack.enter_context(
                        enabled.turns.work(key, CONF.program_timeout)
                    )
            self._log.fence(key, sequence)
            faults.point("agent-fenced")

    def get_stats(
        self, controlpath_id: dict[str, Any], name: str
    ) -> dict[str, Any]:
        """Return what a driver measures on one of its cards now.

        :raises LookupError: no such driver is enabled, or no such device
        """
        enabled = self._named(name)
        self._check_known(enabled, device_key(controlpath_id))
        return enabled.get().get_stats(controlpath_id)

    def _once(self, job_uuid: str, load: Callable[[], None]) -> None:
        """Run a job, or wait for it if it runs, or see that it was done."""
        with self._lock:
            running = self._running.get(job_uuid)
            if running is None:
                mine: futures.Future[None] = futures.Future()
                self._running[job_uuid] = mine
        if running is not None:
            running.result()
            return
        try:
            load()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(None)
        finally:
            with self._lock:
                del self._running[job_uuid]

    def _load(
        self,
        enabled: discovery.Enabled,
        job_uuid: str,
        key: str,
        image: dict[str, Any],
        load: Callable[[str], bool],
        suffix: str,
        sequence: int | None,
    ) -> None:
        timeout = CONF.program_timeout
        if self._was_loaded(job_uuid, key, sequence):
            return
        with (
            self._images.checkout(image, suffix, timeout) as path,
            enabled.turns.work(key, timeout),
        ):
            faults.point("agent-image-ready")
            # Others may have had the card while this one waited for it.
            self._log.check(key, sequence)
            LOG.info("Loading image %s into %s", image["id"], key)
            self._log.job_started(job_uuid, key, image["id"], sequence)
            faults.point("agent-program-intended")
            self._forget_functions(enabled, key)
            if not load(str(path)):
                raise exception.DriverError(
                    reason=f"Device {key} refused image {image['id']}."
                )
            faults.point("agent-programmed")
            self._log.job_done(job_uuid)
            faults.point("agent-program-recorded")
            LOG.info("Loaded image %s into %s", image["id"], key)

    def _forget_functions(self, enabled: discovery.Enabled, key: str) -> None:
        """Report no function of a card before it was looked at again.

        A conductor that heard of one that is overwritten would give the card
        to whoever asks for it.
        """

        def change(device: Plain) -> Plain:
            if device_key(report.decoded_cpid(device)) == key:
                return report.without_functions(device)
            return device

        self._found.change(enabled.name, change)
        self._changed(change)

    def _was_loaded(
        self, job_uuid: str, key: str, sequence: int | None
    ) -> bool:
        # First the order: what was done, and then undone by later work, is
        # no success any more.
        self._log.check(key, sequence)
        return self._log.job_succeeded(job_uuid)

    # -- mdevs

    def prepare_mdev(
        self,
        address: str,
        mdev_type: str,
        uuid: str,
        sequence: int | None = None,
    ) -> None:
        """Make an mdev; one that is there already is success.

        :param sequence: see :mod:`cyborg.agent.intents`
        :raises Overtaken: later work on the handle came before it
        """
        self._check_uuid(uuid)
        enabled, driver = self.mdev_provider(address)
        with enabled.turns.work(address, CONF.bind_timeout):
            known = self._log.is_made(uuid)
            self._log.want_mdev(uuid, address, mdev_type, True, sequence)
            faults.point("agent-mdev-intended")
            try:
                driver.create_mdev(address, mdev_type, uuid)
            except Exception:
                if not known:
                    # Whoever asked is told of the failure, and may forget.
                    self._log.want_mdev(uuid, address, mdev_type, False)
                    try:
                        self.remove(driver, address, mdev_type, uuid)
                    except Exception:
                        LOG.exception("Mdev %s will be removed later", uuid)
                raise
            faults.point("agent-mdev-made")
            if not known:
                self._log.mdev_done(uuid)
                faults.point("agent-mdev-recorded")
                LOG.info("Made mdev %s on %s", uuid, address)

    def cleanup_mdev(
        self,
        address: str,
        mdev_type: str,
        uuid: str,
        sequence: int | None = None,
    ) -> None:
        """Remove an mdev; one that is gone already is success.

        :param sequence: see :mod:`cyborg.agent.intents`
        :raises Overtaken: later work on the handle came before it
        """
        self._check_uuid(uuid)
        enabled, driver = self.mdev_provider(address)
        with enabled.turns.work(address, CONF.bind_timeout):
            self._log.want_mdev(uuid, address, mdev_type, False, sequence)
            faults.point("agent-cleanup-intended")
            self.remove(driver, address, mdev_type, uuid)

    def remove(
        self,
        driver: driver_api.MdevProvider,
        address: str,
        mdev_type: str,
        uuid: str,
    ) -> None:
        """Remove an mdev of which the log says that it is not wanted."""
        driver.remove_mdev(address, mdev_type, uuid)
        faults.point("agent-mdev-removed")
        self._log.mdev_done(uuid)
        faults.point("agent-mdev-forgotten")
        LOG.info("Removed mdev %s of %s", uuid, address)

    # -- after a restart

    def log_interrupted(self) -> None:
        """Say which cards may be half loaded.

        A conductor repeats the job if it still wants it.
        """
        for job in self._log.interrupted_jobs():
            LOG.warning(
                "Job %(uuid)s was loading image %(image)s into %(device)s "
                "and did not finish",
                job,
            )

    # -- finding drivers

    def _named(self, name: str) -> discovery.Enabled:
        for enabled in self._found.drivers:
            if enabled.name == name:
                return enabled
        raise LookupError(f"Driver {name} is not enabled.")

    def _knows(self, enabled: discovery.Enabled, key: str) -> bool:
        # A call may arrive while the agent still starts.
        self._found.wait_for_first(CONF.bind_timeout)
        return any(
            device_key(report.decoded_cpid(device)) == key
            for device in self._found.known(enabled.name)
        )

    def _check_known(self, enabled: discovery.Enabled, key: str) -> None:
        if not self._knows(enabled, key):
            raise LookupError(f"Driver {enabled.name} has no device {key}.")

    def _find_programmable(
        self, driver_name: str, key: str
    ) -> discovery.Enabled:
        candidates = []
        for enabled in self._found.drivers:
            driver: Any = enabled.instance
            vendor = getattr(driver, "VENDOR", None)
            if (
                vendor is not None
                and vendor.lower() == (driver_name or "").lower()
                and isinstance(driver, driver_api.Programmable)
            ):
                candidates.append(enabled)
        if not candidates:
            raise LookupError(
                f"No enabled driver programs devices of {driver_name}."
            )
        for enabled in candidates:
            if self._knows(enabled, key):
                return enabled
        raise LookupError(f"Driver {driver_name} has no device {key}.")

    def mdev_provider(
        self, address: str
    ) -> tuple[discovery.Enabled, driver_api.MdevProvider]:
        """Return the driver that makes mdevs at an address.

        :raises UnsupportedOperation: no driver makes any
        """
        providers: list[tuple[discovery.Enabled, driver_api.MdevProvider]] = []
        for enabled in self._found.drivers:
            driver: Any = enabled.instance
            if isinstance(driver, driver_api.MdevProvider):
                providers.append((enabled, driver))
        if not providers:
            raise exception.UnsupportedOperation(
                driver=", ".join(each.name for each in self._found.drivers),
                operation="make mediated devices",
            )
        for enabled, driver in providers:
            if address in report.parents(self._found.known(enabled.name)):
                return enabled, driver
        # A card that is not reported now may have mdevs to remove.
        return providers[0]

    @staticmethod
    def _check_uuid(uuid: str | None) -> None:
        if uuid is None:
            raise exception.AttachHandleUUIDNeeded()
        if not uuidutils.is_uuid_like(uuid):
            raise exception.InvalidUUID(uuid=uuid)
