"""Reads the files that declare devices: the package's, and the operator's.

A file is TOML with a table for each kind of device::

    [[device]]
    name = "wormhole"
    match = {vendor = "1e52", product = "401e"}
    kind = "whole"
    type = "AICHIP"
    resource_class = "CUSTOM_AICHIP"
    traits = ["CUSTOM_AICHIP_TENSTORRENT"]

What is wrong is one sentence with file and line. An entry of the operator's
that has the name of one of the package's takes its place, and so it does for
each function that both mean. Two of one origin that mean the same functions
are refused; where that shows on a machine only, by the driver.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import itertools
import pathlib
import re
import tomllib
from typing import Any

from cyborg.accelerator.declared import checking
from cyborg.accelerator.declared import entry
from cyborg.common import exception

KNOWN = pathlib.Path(__file__).parents[1] / "devices.d"
_HEADER = re.compile(r"\s*\[\[\s*device\s*\]\]")


def read(conf: Any) -> list[entry.Entry]:
    """Return the entries that count on this host, the operator's first.

    :raises ConfigInvalid: a file cannot be read or understood, entries
        overlap, or ``[declared] known_devices`` names one that is not known
    """
    own = read_directory(pathlib.Path(conf.declared.directory))
    _check_apart(own)
    known = {each.name: each for each in read_directory(KNOWN, is_known=True)}
    wanted = list(dict.fromkeys(conf.declared.known_devices))
    for name in wanted:
        if name not in known:
            raise exception.ConfigInvalid(
                option="[declared] known_devices",
                reason=f"{name!r} is none of {', '.join(sorted(known))}",
            )
    names = {each.name for each in own}
    chosen = [known[name] for name in wanted if name not in names]
    _check_apart(chosen)
    return own + chosen


def read_directory(
    directory: pathlib.Path, *, is_known: bool = False
) -> list[entry.Entry]:
    """Return the entries of all ``*.toml`` of a directory, by file name.

    :raises ConfigInvalid: as :func:`read` says
    """
    try:
        paths = sorted(
            path for path in directory.iterdir() if path.suffix == ".toml"
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        raise exception.ConfigInvalid(
            option=str(directory), reason=f"it cannot be read: {error}"
        ) from error
    found: dict[str, entry.Entry] = {}
    for each in (each for path in paths for each in _read(path, is_known)):
        other = found.setdefault(each.name, each)
        if other is not each:
            raise exception.ConfigInvalid(
                option=each.place,
                reason=f"{each.name} is the name of {other.place}, too",
            )
    return list(found.values())


def parse(
    text: str, path: str, *, is_known: bool = False
) -> Iterator[entry.Entry]:
    """Yield the entries of one file.

    :param path: of the file, for what is said of it
    :raises ConfigInvalid: it is not valid, with the line
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise exception.ConfigInvalid(
            option=path, reason=f"it is no TOML: {error}"
        ) from error
    for key in content:
        if key != "device":
            raise exception.ConfigInvalid(
                option=_place(text, path, None, (key,)),
                reason=f"{key} is no key of a file, which has [[device]] only",
            )
    items = content.get("device", [])
    if not isinstance(items, list):
        raise exception.ConfigInvalid(
            option=_place(text, path, None, ("device",)),
            reason="device is one table: write [[device]]",
        )
    for number, item in enumerate(items):
        place = _place(text, path, number, ())
        try:
            yield checking.entry_of(item, place, is_known=is_known)
        except checking.Wrong as wrong:
            key = ".".join(wrong.keys)
            reason = str(wrong)
            # One that is about the key itself names it.
            if key and not reason.startswith(f"{wrong.keys[-1]} "):
                reason = f"{key} {reason}"
            raise exception.ConfigInvalid(
                option=_place(text, path, number, wrong.keys), reason=reason
            ) from wrong


def _read(path: pathlib.Path, is_known: bool) -> Iterator[entry.Entry]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise exception.ConfigInvalid(
            option=str(path), reason=f"it cannot be read: {error}"
        ) from error
    yield from parse(text, str(path), is_known=is_known)


def _place(
    text: str, path: str, number: int | None, keys: Iterable[str]
) -> entry.Place:
    """Return where a device is in a file, or a key of it.

    The parser tells no lines. They are looked for, and left out where the
    file has the tables in another form than ``[[device]]``.
    """
    lines = text.splitlines()
    first, last = 0, len(lines)
    if number is not None:
        headers = [n for n, line in enumerate(lines) if _HEADER.match(line)]
        if number >= len(headers):
            return entry.Place(path, None)
        first = headers[number]
        last = (*headers, len(lines))[number + 1]
    here = None if number is None else first
    for key in keys:
        word = re.compile(rf"(?<![\w-])[\"']?{re.escape(key)}[\"']?\s*[=\].]")
        for line in range(first, last):
            if word.search(lines[line]):
                first = here = line
                break
    return entry.Place(path, None if here is None else here + 1)


def _check_apart(entries: list[entry.Entry]) -> None:
    """Refuse entries that mean the same functions.

    :raises ConfigInvalid: naming both places
    """
    for one, two in itertools.combinations(entries, 2):
        if one.match.meets(two.match):
            raise exception.ConfigInvalid(
                option=two.place,
                reason=f"{two.name} and {one} mean the same devices: tell "
                "their match apart by a key that both have",
            )
