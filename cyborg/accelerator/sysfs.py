"""Reads and writes kernel files below a root directory.

Links are followed inside the root, as if it were ``/``, so a recorded tree
cannot lead a driver out to the machine the test runs on. :func:`resolve`
turns a path of the machine into one that can be opened; everything else
takes what it returned, with more parts to join.
"""

import fnmatch
import os
import stat

from cyborg.common import exception

_MOST_LINKS = 40  # as the kernel, which then answers ELOOP
# The most a file of sysfs has.
_PAGE = 4096

Path = str | os.PathLike[str]


def resolve(root: Path, *parts: str) -> str:
    """Return where a path of the machine is, all its links followed.

    The path need not exist: what is missing is appended as it is.
    """
    top = os.path.abspath(root)
    todo = "/".join(parts).split("/")[::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        here = os.path.join(top, *done, part)
        try:
            target = os.readlink(here)
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise exception.DriverError(reason=f"{here}: too many links")
        if target.startswith("/"):
            done.clear()
        todo.extend(target.split("/")[::-1])
    return os.path.join(top, *done)


def read_text(path: Path, *parts: str) -> str:
    """Return the text of a required file, without white space around it.

    :raises DriverError: it cannot be read; names the path
    """
    name = os.path.join(path, *parts)
    try:
        return _read(name)
    except (OSError, UnicodeDecodeError) as error:
        raise exception.DriverError(
            reason=f"{name} cannot be read: {error}"
        ) from error


def read_optional(path: Path, *parts: str) -> str | None:
    """Return the text of a file, None if there is none that can be read.

    Drivers answer the read of an attribute a card lacks in many ways: the
    file is absent, or reading it fails with EINVAL, EIO or ENODEV.
    """
    try:
        return _read(os.path.join(path, *parts))
    except (OSError, UnicodeDecodeError):
        return None


def read_int(path: Path, *parts: str) -> int | None:
    """Return the number in an optional file, None if there is none."""
    text = read_optional(path, *parts)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def read_start(path: Path, *parts: str) -> bytes:
    """Return the first four bytes of an optional file, less if it has less.

    For the registers of a PCI function, of which nobody asks for more.
    """
    try:
        descriptor = os.open(os.path.join(path, *parts), os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def read_lines(path: Path, *parts: str) -> list[str]:
    """Return the lines of an optional file; none if there is no such file.

    For those of ``/proc``, where users' names stand in any encoding: bytes
    that are not UTF-8 are there as ``\\xe9``, and cost no line.
    """
    try:
        content = _read_bytes(os.path.join(path, *parts))
    except OSError:
        return []
    return content.decode(errors="backslashreplace").splitlines()


def names(path: Path, *parts: str) -> list[str]:
    """Return what a required directory holds, sorted.

    :raises DriverError: it cannot be read; names the path
    """
    name = os.path.join(path, *parts)
    try:
        return sorted(os.listdir(name))
    except OSError as error:
        raise exception.DriverError(
            reason=f"{name} cannot be read: {error}"
        ) from error


def names_optional(path: Path, *parts: str) -> list[str]:
    """Return what a directory holds, sorted; nothing if there is none."""
    try:
        return sorted(os.listdir(os.path.join(path, *parts)))
    except OSError:
        return []


def glob(path: Path, pattern: str) -> list[str]:
    """Return the paths below ``path`` that match, sorted, as one may open.

    :param pattern: relative, ``*`` and ``?`` within a part:
        ``hwmon/hwmon*/temp1_input``
    """
    found = [os.fspath(path)]
    for part in pattern.split("/"):
        if not set(part) & set("*?["):
            found = [os.path.join(base, part) for base in found]
        else:
            found = [
                os.path.join(base, name)
                for base in found
                for name in names_optional(base)
                if fnmatch.fnmatchcase(name, part)
            ]
    return [name for name in found if os.path.lexists(name)]


def link_target(path: Path, *parts: str) -> str | None:
    """Return a link's target as it is written, None if it is no link."""
    try:
        return os.readlink(os.path.join(path, *parts))
    except OSError:
        return None


def link_name(path: Path, *parts: str) -> str | None:
    """Return the last part of a link's target, None if it is no link."""
    target = link_target(path, *parts)
    return None if target is None else target.rpartition("/")[2]


def is_directory(path: Path, *parts: str) -> bool:
    """Return whether there is such a directory."""
    try:
        mode = os.stat(os.path.join(path, *parts)).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode)


def write_sysfs(path: Path, text: str) -> None:
    """Write to a kernel file; it must exist.

    :raises OSError: what the kernel answers to the write
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def _read(name: str) -> str:
    return _read_bytes(name).decode().strip()


def _read_bytes(name: str) -> bytes:
    # A third of the time of open(): hundreds of files are read at a time.
    descriptor = os.open(name, os.O_RDONLY)
    try:
        content = b""
        # Those of /proc end only where nothing is returned.
        while part := os.read(descriptor, _PAGE):
            content += part
        return content
    finally:
        os.close(descriptor)
