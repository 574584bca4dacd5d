"""Whether the agent sees the host's processes and mounts, or its own.

In a container everything reads well and lies: process 1 is the container's
own, and its mounts are not the host's.
"""

import functools
import os

from cyborg.accelerator import sysfs

# include/linux/proc_ns.h: PROC_PID_INIT_INO, the first PID namespace.
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
# What the root of a container is mounted from.
_CONTAINER_ROOTS = ("overlay", "fuse.fuse-overlayfs", "aufs")


class Namespaces:
    """What the agent can see of the host through ``/proc``.

    :param root: directory taken for ``/``
    """

    def __init__(self, root: sysfs.Path) -> None:
        self._root = root

    @functools.cached_property
    def has_host_pids(self) -> bool:
        """Whether the processes in ``/proc`` are the host's.

        The first PID namespace has a number of its own. Where it is not
        told, process 1 must be there, and the root no container's.
        """
        path = sysfs.resolve(self._root, "proc/self/ns")
        number = sysfs.link_target(path, "pid")
        if number is not None:
            return number == _FIRST_PID_NAMESPACE
        return not self.is_contained and sysfs.is_directory(
            sysfs.resolve(self._root, "proc/1")
        )

    @functools.cached_property
    def sees_mounts(self) -> bool:
        """Whether the host's mounts can be read."""
        if self.has_host_pids and self._of_first:
            return True
        path = sysfs.resolve(self._root, "proc/self/ns")
        if sysfs.link_target(path, "pid") not in (None, _FIRST_PID_NAMESPACE):
            return False
        return bool(self._own) and not self.is_contained

    @functools.cached_property
    def mountinfo(self) -> list[str]:
        """The lines of ``mountinfo`` of process 1, and of this one."""
        return [*self._of_first, *self._own]

    @functools.cached_property
    def _of_first(self) -> list[str]:
        return self._lines("1")

    @functools.cached_property
    def _own(self) -> list[str]:
        return self._lines("self")

    @functools.cached_property
    def is_contained(self) -> bool:
        """Whether the root is a container's, which came with an image."""
        for line in self._own:
            before, _dash, after = line.partition(" - ")
            fields, ending = before.split(), after.split()
            if len(fields) > 4 and fields[4] == "/" and ending:
                return ending[0] in _CONTAINER_ROOTS
        return False

    def _lines(self, process: str) -> list[str]:
        path = os.path.join("proc", process, "mountinfo")
        return sysfs.read_lines(sysfs.resolve(self._root, path))
