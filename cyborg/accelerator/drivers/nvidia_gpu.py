"""NVIDIA GPUs, whole or shared.

A function is offered in one of three ways:

- as a whole, ``PGPU``, the default;
- as mediated devices of one type, ``VGPU``, if ``[vgpu_<type>]
  device_addresses`` names it. Ampere and later have mdevs on their virtual
  functions, so those are what is named there;
- as virtual functions that NVIDIA's own VFIO framework makes vGPUs, if the
  card has no mdevs and ``[gpu_devices] vendor_vfio`` is on.
"""

from typing import Any

from oslo_log import log

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import mdev
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.accelerator import vendor_vfio
from cyborg.accelerator import vgpu_memory
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conf import devices as conf_devices
from cyborg.objects import report

LOG = log.getLogger(__name__)

NVIDIA = "10de"
# VGA compatible and 3D controllers.
CLASSES = ("0300", "0302")


class NvidiaGPUDriver(card_driver.CardDriver, driver.MdevProvider):
    """Reports GPUs, and makes and removes vGPUs."""

    VENDOR = "nvidia"
    TYPE = constants.DeviceType.GPU
    VENDOR_INFO = "gpu_vb_info"

    def __init__(self, **kwargs: Any) -> None:
        """Read the configuration once.

        :raises InvalidvGPUConfig: a type has no addresses, or an address is
            malformed or has two types
        """
        super().__init__(**kwargs)
        # vGPU type by address of the function that is configured for it.
        self._types = self._configured_types()
        self._memory = vgpu_memory.Memory(self.conf)
        # How many of its type cards hold, by the names of their types.
        self._by_name: dict[str, int | None] = {}
        self._odd: list[str] = []

    def claims(self, function: pci.Function) -> bool:
        return function.vendor == NVIDIA and function.class_code in CLASSES

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        """Return the functions that are offered, each as a device."""
        gpus = super().cards(functions)
        present = {card.address for card in gpus}
        self._odd = [
            f"[vgpu_{name}] device_addresses: there is no GPU {address}"
            for address, name in self._types.items()
            if address not in present
        ]
        shared = self._shared(gpus)
        return [card for card in gpus if self._is_offered(card, shared)]

    def warnings(self) -> list[str]:
        return self._odd

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        vgpu_type = self._types.get(card.address)
        if vgpu_type is None:
            return [self._whole(card)]
        if mdev.type_names(card) is not None:
            return [self._mdevs(card, vgpu_type)]
        virtual = [
            function
            for function in card_driver.attachable(card, functions)
            if vendor_vfio.is_offered(function)
        ]
        if self.conf.gpu_devices.vendor_vfio and virtual:
            return [self._vendor_vfio(card, vgpu_type, virtual)]
        # To offer it whole would change what guests hold of it now.
        raise exception.DriverError(
            reason=f"{card.address} is configured for vGPUs of type "
            f"{vgpu_type} and has none: is the host driver loaded?"
        )

    def create_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        """Make a vGPU, an mdev or a virtual function; idempotent.

        Without ``[gpu_devices] precreate_mdev`` mdevs are left to Nova.
        """
        if self._is_vendor_vfio(address):
            privileged.set_vgpu_type(
                self.root, address, vendor_vfio.type_number(mdev_type)
            )
        elif self.conf.gpu_devices.precreate_mdev:
            privileged.create_mdev(self.root, address, mdev_type, uuid)

    def remove_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        """Remove a vGPU, whoever made it; idempotent."""
        if self._is_vendor_vfio(address):
            privileged.clear_vgpu_type(
                self.root, address, vendor_vfio.type_number(mdev_type)
            )
        else:
            privileged.remove_mdev(self.root, address, mdev_type, uuid)

    def has_mdev(self, address: str, mdev_type: str, uuid: str) -> bool:
        """Tell whether there is a vGPU, whoever made it."""
        if self._is_vendor_vfio(address):
            number = vendor_vfio.type_number(mdev_type)
            return vendor_vfio.current_type(self._function(address)) == number
        return mdev.exists(self.root, address, mdev_type, uuid)

    # -- what is offered

    def _shared(self, gpus: list[pci.Function]) -> set[str]:
        """Return the functions whose card is shared by configuration.

        A physical function and its virtual ones are one piece of silicon:
        whoever gets the card whole takes the vGPUs from everybody else.
        """
        shared = set()
        for card in gpus:
            if card.address in self._types:
                shared.add(card.physfn or card.address)
        return shared

    def _is_offered(self, card: pci.Function, shared: set[str]) -> bool:
        if card.address in self._types:
            return True
        if (card.physfn or card.address) in shared:
            return False
        return not (card.physfn and self.conf.gpu_devices.filter_sriov_vfs)

    def _whole(self, card: pci.Function) -> report.DriverDeployable:
        return describe.deployable(
            self.host,
            card.address,
            resource_class=constants.RC_PGPU,
            traits=[constants.OWNER_TRAIT, f"CUSTOM_NVIDIA_{card.product}"],
            handles=[describe.handle(card.address)],
            driver_name="NVIDIA",
        )

    def _mdevs(
        self, card: pci.Function, vgpu_type: str
    ) -> report.DriverDeployable:
        # Types share the card: once one is made, the others' counts are 0.
        offered = mdev.read_type(card, vgpu_type)
        # A virtual function has one, for which its card may have no room.
        count = max(offered.total, 1) if card.physfn else offered.total
        return self._vgpus(
            card,
            offered.name,
            describe.mdev_handles(card.address, vgpu_type, count),
        )

    def _vendor_vfio(
        self,
        card: pci.Function,
        vgpu_type: str,
        virtual: list[pci.Function],
    ) -> report.DriverDeployable:
        number = vendor_vfio.type_number(vgpu_type)
        now = {item.address: vendor_vfio.read(item) for item in virtual}
        for vgpu in now.values():
            self._memory.learn_names(card.product, vgpu.creatable)
        names = self._memory.names(card.product)
        name = names.get(number) or self._option(vgpu_type, "type_name")
        if not name:
            # Without the name there is no trait: either the card is full
            # and known to the conductor, or it never had this type.
            raise exception.InvalidVGPUType(name=vgpu_type)
        offered = vendor_vfio.usable(now, number, self._most(card, name, now))
        handles = [
            describe.handle(address, asked_type=vgpu_type, managed="false")
            for address in offered
        ]
        return self._vgpus(card, name, handles)

    def _most(
        self, card: pci.Function, name: str, now: dict[str, vendor_vfio.VGPU]
    ) -> int | None:
        """Return how many of its type a card holds, None if nobody knows.

        :param now: the virtual functions
        """
        vgpu_type = self._types[card.address]
        number = vendor_vfio.type_number(vgpu_type)
        made = [vgpu.current for vgpu in now.values() if vgpu.current]
        can_more = any(
            number in vgpu.creatable
            for vgpu in now.values()
            if not vgpu.current
        )
        full_at = self._memory.full_at(card.address, number)
        if made and set(made) == {number}:
            if not can_more and len(made) < len(now):
                self._memory.learn_full(card.address, number, len(made))
            elif can_more and full_at is not None and len(made) >= full_at:
                self._memory.learn_full(card.address, number, None)
        elif not made:
            # Only an empty card offers all types it can be of.
            offered = [
                text
                for vgpu in now.values()
                for text in vgpu.creatable.values()
            ]
            self._by_name[card.address] = vgpu_memory.most(name, offered)
        bounds = (
            self._option(vgpu_type, "max_instances"),
            self._memory.full_at(card.address, number),
            self._by_name.get(card.address),
        )
        return min((each for each in bounds if each), default=None)

    def _option(self, vgpu_type: str, name: str) -> Any:
        group = conf_devices.register_vgpu_type(self.conf, vgpu_type)
        return self.conf[group][name]

    def _vgpus(
        self,
        card: pci.Function,
        type_name: str,
        handles: list[report.DriverAttachHandle],
    ) -> report.DriverDeployable:
        return describe.deployable(
            self.host,
            card.address,
            resource_class=constants.RC_VGPU,
            traits=[
                constants.OWNER_TRAIT,
                f"CUSTOM_NVIDIA_{card.product}_{short_name(type_name)}",
            ],
            handles=handles,
            driver_name="NVIDIA",
            count=len(handles),
        )

    def _is_vendor_vfio(self, address: str) -> bool:
        return vendor_vfio.is_offered(self._function(address))

    def _function(self, address: str) -> pci.Function:
        domain, bus, device, function = pci.parse_address(address)
        name = f"{domain}:{bus}:{device}.{function}"
        path = sysfs.resolve(self.root, pci.DEVICES, name)
        return pci.Function(name, path)

    # -- configuration

    def _configured_types(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for vgpu_type in self.conf.gpu_devices.enabled_vgpu_types:
            group = conf_devices.register_vgpu_type(self.conf, vgpu_type)
            addresses = self.conf[group].device_addresses
            if not addresses:
                raise exception.InvalidvGPUConfig(
                    reason=f"[{group}] device_addresses is missing"
                )
            for text in addresses:
                address = _address(text, group)
                if address in found:
                    raise exception.InvalidvGPUConfig(
                        reason=f"{address} is in [{group}] and in "
                        f"[vgpu_{found[address]}]"
                    )
                found[address] = vgpu_type
        return found


def _address(text: str, group: str) -> str:
    try:
        return pci.normalise_address(text.strip())
    except exception.PciDeviceWrongAddressFormat as error:
        raise exception.InvalidvGPUConfig(
            reason=f"[{group}] device_addresses: {error}"
        ) from error


def short_name(type_name: str) -> str:
    """Return a type's name without the maker: T4-1B of ``GRID T4-1B``."""
    _maker, _space, rest = type_name.partition(" ")
    return rest or type_name
