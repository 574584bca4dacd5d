"""What a host does with the network devices of its PCI functions.

==========================  ===============================================
``/proc/net/route``         IPv4: default routes, and devices with a network
                            of their own, so with an address
``/proc/net/ipv6_route``    IPv6: default routes
``/proc/net/if_inet6``      IPv6 addresses
``/sys/class/net``          ``master`` of the ports of bonds, bridges, teams
                            and Open vSwitch; ``upper_*`` and ``lower_*`` of
                            what devices are made of
==========================  ===============================================
"""

from collections.abc import Iterator
import functools
import os

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs

_DEFAULT = "00000000"
# Scope of an IPv6 address in if_inet6: 00 is global, 20 of the link alone.
_GLOBAL = "00"


class Networks:
    """The network devices of a machine, and their use.

    :param root: directory taken for ``/``
    """

    def __init__(self, root: sysfs.Path) -> None:
        self._root = root

    @functools.cached_property
    def is_evident(self) -> bool:
        """Whether it can be told what the host does with its networks."""
        return any(
            os.path.exists(sysfs.resolve(self._root, path))
            for path in (
                "proc/net/route",
                "proc/net/ipv6_route",
                "sys/class/net",
            )
        )

    def of(self, function: str) -> list[tuple[str, str]]:
        """Return name and path of the network devices of a function."""
        return self._by_function.get(function, [])

    def uses(self, function: str) -> Iterator[str]:
        """Yield how the host uses the network devices of a function.

        :param function: path of the PCI function
        """
        for name, path in self.of(function):
            has = f"has the network device {name}"
            if name in self._uplinks:
                yield f"{has}, the host's default route"
            elif name in self._addressed:
                yield f"{has}, with an address of the host"
            master = sysfs.link_name(path, "master")
            if master:
                yield f"{has}, a port of {master}"
            for entry in sysfs.names_optional(path):
                upper = entry.removeprefix("upper_")
                if upper not in (entry, master) and name not in self._uplinks:
                    yield f"{has}, which carries {upper}"

    @functools.cached_property
    def _by_function(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        directory = sysfs.resolve(self._root, "sys/class/net")
        for name in sysfs.names_optional(directory):
            path = self._path(name)
            function = pci.function_above(path)
            if function is not None:
                found.setdefault(function, []).append((name, path))
        return found

    def _path(self, name: str) -> str:
        return sysfs.resolve(self._root, "sys/class/net", name)

    @functools.cached_property
    def _uplinks(self) -> set[str]:
        """The devices default routes lead to, and those below them.

        A bond, a bridge or a VLAN has a link ``lower_<device>`` to each
        device that carries its traffic.
        """
        return self._with_lower(self._routed[0])

    @functools.cached_property
    def _addressed(self) -> set[str]:
        """The devices with addresses, and those below them."""
        names = set(self._routed[1])
        path = sysfs.resolve(self._root, "proc/net/if_inet6")
        for line in sysfs.read_lines(path):
            fields = line.split()
            if len(fields) > 5 and fields[3] == _GLOBAL:
                names.add(fields[5])
        return self._with_lower(names)

    def _with_lower(self, names: set[str]) -> set[str]:
        todo = [name for name in names if self._is_up(name)]
        found: set[str] = set()
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            todo.extend(
                entry.removeprefix("lower_")
                for entry in sysfs.names_optional(self._path(name))
                if entry.startswith("lower_")
            )
        return found

    def _is_up(self, name: str) -> bool:
        state = sysfs.read_optional(self._path(name), "operstate")
        return name != "lo" and state != "down"

    @functools.cached_property
    def _routed(self) -> tuple[set[str], set[str]]:
        """The devices of default routes, and of networks of the host.

        ``/proc/net/route`` has the device first, then destination, gateway
        and, in the eighth column, mask; ``/proc/net/ipv6_route`` has the
        destination first, then its length, and the device last.
        """
        default, local = set(), set()
        path = sysfs.resolve(self._root, "proc/net/route")
        for line in sysfs.read_lines(path)[1:]:
            fields = line.split()
            if len(fields) < 8:
                continue
            if fields[1] == fields[7] == _DEFAULT:
                default.add(fields[0])
            elif fields[2] == _DEFAULT:
                local.add(fields[0])
        path = sysfs.resolve(self._root, "proc/net/ipv6_route")
        for line in sysfs.read_lines(path):
            fields = line.split()
            if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00":
                default.add(fields[9])
        return default, local
