"""Fetches bitstreams and firmware, checks them, keeps the last used.

Everything is under ``$state_path/agent/images``, readable by the agent only:
``<image id>_<hash>`` are whole, checked images; ``run-*`` are directories of
one use each, with the image under the name a vendor's tool wants.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import hashlib
import os
import pathlib
import shutil
import string
import tempfile
import threading
import time
from typing import Any
from typing import BinaryIO
from typing import Protocol

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.clients import bitstreams
from cyborg.common import exception

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

MIB = 1024 * 1024
# Left free on the disk for everybody else.
HEADROOM = 64 * MIB
# What Glance may be set to hash with, and the old checksum. Some others that
# Python knows have no fixed length, or are only there on some hosts.
HASHES = (
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_224",
    "sha3_256",
    "sha3_384",
    "sha3_512",
    "blake2b",
    "blake2s",
)


class Source(Protocol):
    """What :mod:`cyborg.clients.glance` offers."""

    def get_image(self, image_id: str) -> dict[str, Any]:
        """Return an image's record."""

    def download(self, image_id: str, fileobj: Any) -> Any:
        """Give an image's data to ``fileobj.write``, piece by piece."""


class _Sink:
    """The file a download goes to: counts, hashes, and stops what is wrong.

    :param make_room: called before each write with how many bytes come;
        raises ImageUnacceptable if the disk is to be left alone
    """

    def __init__(
        self,
        file: BinaryIO,
        image: dict[str, Any],
        deadline: float,
        make_room: Callable[[int], None],
    ) -> None:
        self._file = file
        self._image = image
        self._deadline = deadline
        self._make_room = make_room
        self._digest = _hasher(image)
        self.written = 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        size = self._image.get("size")
        if size is not None and self.written > size:
            raise _unacceptable(self._image, f"it has more than {size} bytes")
        if time.monotonic() > self._deadline:
            raise _unacceptable(self._image, "its download takes too long")
        self._make_room(len(data))
        if self._digest is not None:
            self._digest.update(data)
        return self._file.write(data)

    def check(self) -> None:
        """Raise ImageUnacceptable if this is not the image asked for."""
        size, value = self._image.get("size"), self._image.get("hash_value")
        if not self.written:
            raise _unacceptable(self._image, "it has no data")
        if size is not None and self.written != size:
            raise _unacceptable(
                self._image, f"{self.written} of {size} bytes came"
            )
        if self._digest is not None and self._digest.hexdigest() != (
            str(value).lower()
        ):
            raise _unacceptable(
                self._image, "its data do not have the hash of its record"
            )


def _unacceptable(
    image: dict[str, Any], reason: str
) -> exception.ImageUnacceptable:
    return exception.ImageUnacceptable(image=image["id"], reason=reason)


def _hasher(image: dict[str, Any]) -> Any:
    """Return a hash object, None for an image without a hash.

    :raises ImageUnacceptable: the algorithm is not known here
    """
    if not image.get("hash_value"):
        return None
    algorithm = str(image.get("hash_algo")).lower()
    if algorithm not in HASHES:
        raise _unacceptable(
            image,
            f"its hash is of the kind {image.get('hash_algo')}, and known "
            f"are {', '.join(HASHES)}",
        )
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError as error:
        # A host whose own policy forbids it.
        raise _unacceptable(image, str(error)) from error


class ImageStore:
    """Images on this host's disk.

    :param directory: made if need be; nobody else may write there
    """

    def __init__(self, directory: pathlib.Path, source: Source) -> None:
        self._directory = directory
        self._source = source
        # Guards the cache; a download does not hold it.
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}

    def prepare(self) -> None:
        """Make the directory; remove what earlier runs left half done."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.glob("run-*"):
            shutil.rmtree(path)

    def describe(self, image_id: str) -> dict[str, Any]:
        """Ask Glance what :meth:`checkout` has to know of an image."""
        return bitstreams.describe(self._source.get_image(image_id))

    def _confirm(self, image: dict[str, Any]) -> None:
        """Pass if Glance still has what the conductor chose.

        Conductors of before say no owner; they have looked themselves.
        """
        if "owner" in image:
            bitstreams.check_same(image, self._source.get_image(image["id"]))

    @contextlib.contextmanager
    def checkout(
        self, image: dict[str, Any], suffix: str, timeout: float
    ) -> Iterator[pathlib.Path]:
        """Yield the path of a checked image; it goes with the block.

        :param image: ``{"id", "owner", "size", "hash_algo", "hash_value"}``;
            size and hash may be None, and are not checked then
        :param suffix: what the file name has to end with
        :param timeout: seconds the download may take
        :raises ImageUnacceptable: it is not what ``image`` says, changed
            hands, or there is no room for it
        :raises ImageNotFound: and what else Glance may say
        """
        if not uuidutils.is_uuid_like(image["id"]):
            raise exception.InvalidUUID(uuid=image["id"])
        self._confirm(image)
        name = _cache_name(image)
        directory = None
        try:
            with self._one_at_a_time(name):
                try:
                    directory = pathlib.Path(
                        tempfile.mkdtemp(dir=self._directory, prefix="run-")
                    )
                    path = directory / f"{image['id']}{suffix}"
                    if not self._from_cache(name, image, path):
                        self._download(image, path, timeout)
                        self._to_cache(name, path)
                except OSError as error:
                    raise _unacceptable(image, str(error)) from error
            yield path
        finally:
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def _one_at_a_time(self, name: str | None) -> Iterator[None]:
        """Let the second who wants an image find it in the cache."""
        if name is None:
            yield
            return
        with self._lock:
            lock = self._fetching.setdefault(name, threading.Lock())
        with lock:
            yield

    def _download(
        self, image: dict[str, Any], path: pathlib.Path, timeout: float
    ) -> None:
        # Refused before it begins, where the size is known; others may fill
        # the disk meanwhile, and not every image has a size.
        self._make_room(image, image.get("size") or 0)
        LOG.info("Downloading image %s", image["id"])
        with open(
            os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb"
        ) as file:
            sink = _Sink(
                file,
                image,
                time.monotonic() + timeout,
                functools.partial(self._make_room, image),
            )
            try:
                self._source.download(image["id"], sink)
            except (exception.CyborgException, OSError):
                raise
            except Exception as error:
                LOG.exception("Downloading image %s failed", image["id"])
                raise _unacceptable(image, str(error)) from error
            sink.check()
            file.flush()
            os.fsync(file.fileno())

    # -- the cache

    def _from_cache(
        self, name: str | None, image: dict[str, Any], path: pathlib.Path
    ) -> bool:
        if name is None:
            return False
        cached = self._directory / name
        try:
            with self._lock:
                _link(cached, path)
                os.utime(cached)
        except FileNotFoundError:
            return False
        try:
            self._verify(image, path)
        except exception.ImageUnacceptable as error:
            # A disk that errs, or a tool that wrote to what it was given.
            LOG.warning("Fetching again: %s", error.faultstring)
            cached.unlink(missing_ok=True)
            path.unlink()
            return False
        return True

    @staticmethod
    def _verify(image: dict[str, Any], path: pathlib.Path) -> None:
        with open(path, "rb") as source, open(os.devnull, "wb") as nowhere:
            sink = _Sink(nowhere, image, float("inf"), lambda size: None)
            shutil.copyfileobj(source, sink, MIB)
        sink.check()

    def _to_cache(self, name: str | None, path: pathlib.Path) -> None:
        if name is None:
            return
        limit = CONF.agent.image_cache_size * MIB
        size = path.stat().st_size
        if size > limit:
            return
        with self._lock:
            self._shrink(limit - size)
            _link(path, self._directory / name)

    def _make_room(self, image: dict[str, Any], size: int) -> None:
        """Drop cached images until so many bytes of this one fit on the disk.

        :raises ImageUnacceptable: they do not
        """
        needed = size + HEADROOM
        if shutil.disk_usage(self._directory).free >= needed:
            return
        with self._lock:
            for cached in [*self._cached(), None]:
                free = shutil.disk_usage(self._directory).free
                if free >= needed:
                    return
                if cached is not None:
                    cached.unlink()
        raise _unacceptable(
            image, f"{needed} bytes are wanted on disk and {free} are free"
        )

    def _shrink(self, limit: int) -> None:
        """Drop the images not used for longest."""
        cached = self._cached()
        total = sum(path.stat().st_size for path in cached)
        for path in cached:
            if total <= limit:
                return
            total -= path.stat().st_size
            path.unlink()
            LOG.debug("Dropped %s from the image cache", path.name)

    def _cached(self) -> list[pathlib.Path]:
        """Return the cached images, the one not used for longest first."""
        return sorted(
            (path for path in self._directory.iterdir() if path.is_file()),
            key=lambda path: path.stat().st_mtime_ns,
        )


def _cache_name(image: dict[str, Any]) -> str | None:
    """Return the name of an image in the cache; None if it has no hash."""
    value = image.get("hash_value")
    if not value or not set(value) <= set(string.hexdigits):
        return None
    # Half of a SHA-512 tells images apart; all of it is compared on use.
    return f"{image['id']}_{value[:64]}"


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give a file one more name, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except FileExistsError:
        target.unlink()
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(0o600)
