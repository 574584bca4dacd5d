"""Makes the host agree with what is in use on it.

Not only after a boot: a driver that is loaded anew, virtual functions that
are made anew, a state directory that is lost or of another day leave a host
without what guests own, or with what nobody owns. What counts is what there
is, what the conductor says is in use, and what was cut short.
"""

from collections.abc import Callable

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.agent import in_use
from cyborg.agent import intents
from cyborg.agent import work
from cyborg.common import exception
from cyborg.common import faults

CONF = cfg.CONF
LOG = logging.getLogger(__name__)


class Recovery:
    """Finishes, makes again and takes away mdevs.

    A virtual function that has to become a vGPU is one as well.

    :param host_work: has the drivers
    :param log: what was made, and what was cut short
    :param known: what is in use
    """

    def __init__(
        self,
        host_work: work.HostWork,
        log: intents.IntentLog,
        known: in_use.InUse,
    ) -> None:
        self._work = host_work
        self._log = log
        self._known = known

    @property
    def has_to_ask(self) -> bool:
        """Whether there is something that only a conductor can decide."""
        return bool(self._log.unfinished_mdevs())

    def run(self) -> None:
        """Do what there is to do.

        What fails is logged, and tried again the next time.
        """
        for uuid in self._log.unfinished_mdevs():
            self._try(self._finish, uuid)
        for handle in self._known.handles():
            if _has_to_be_there(handle):
                self._try(self._bring_back, handle.uuid)
        for uuid in self._log.made_mdevs():
            if self._known.is_nobodys(uuid):
                self._try(self._finish, uuid)

    def _try(self, step: Callable[[str], None], uuid: str) -> None:
        try:
            step(uuid)
        except exception.CyborgException as error:
            LOG.error(
                "Mdev %s will be seen to again: %s", uuid, error.faultstring
            )
        except Exception:
            LOG.exception("Mdev %s will be seen to again", uuid)

    def _finish(self, uuid: str) -> None:
        """Do what was cut short, or undo what nobody owns any more."""
        entry = self._log.mdev(uuid)
        if entry is None:
            return
        address, mdev_type = entry["address"], entry["type"]
        enabled, driver = self._work.mdev_provider(address)
        with enabled.turns.work(address, CONF.bind_timeout):
            # A call may have come in between.
            entry = self._log.mdev(uuid)
            if entry is None:
                return
            if entry["wanted"] and self._known.is_nobodys(uuid):
                LOG.warning(
                    "Mdev %s on %s belongs to no request", uuid, address
                )
                self._log.want_mdev(uuid, address, mdev_type, False)
                faults.point("agent-leftover-intended")
                self._work.remove(driver, address, mdev_type, uuid)
            elif not entry["wanted"]:
                self._work.remove(driver, address, mdev_type, uuid)
            elif not self._log.is_made(uuid):
                driver.create_mdev(address, mdev_type, uuid)
                self._log.mdev_done(uuid)
                LOG.info("Made mdev %s on %s again", uuid, address)

    def _bring_back(self, uuid: str) -> None:
        """Make what a guest owns and the host has not, if that is so."""
        handle = self._known.get(uuid)
        if handle is None or handle.address is None or not handle.asked_type:
            return
        address, mdev_type = handle.address, handle.asked_type
        enabled, driver = self._work.mdev_provider(address)
        if driver.has_mdev(address, mdev_type, uuid) is not False:
            return
        with enabled.turns.work(address, CONF.bind_timeout):
            entry = self._log.mdev(uuid)
            if (
                # It was given back, or another call came, in between.
                self._known.get(uuid) != handle
                or (entry is not None and not entry["wanted"])
                or driver.has_mdev(address, mdev_type, uuid) is not False
            ):
                return
            self._log.want_mdev(uuid, address, mdev_type, True)
            faults.point("agent-return-intended")
            driver.create_mdev(address, mdev_type, uuid)
            self._log.mdev_done(uuid)
            LOG.warning(
                "Mdev %s on %s, of server %s, was gone; it is made again",
                uuid,
                address,
                handle.instance,
            )


def _has_to_be_there(handle: in_use.Handle) -> bool:
    """Tell whether the host has to have what a handle stands for."""
    if not handle.is_bound or handle.asked_type is None:
        return False
    # Otherwise Nova makes it, when it starts the server.
    return not handle.is_mdev or bool(CONF.gpu_devices.precreate_mdev)
