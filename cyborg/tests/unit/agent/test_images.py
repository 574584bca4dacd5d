"""Images are checked before they are used, and the last used are kept."""

import hashlib
import pathlib
import shutil
from types import SimpleNamespace
from typing import Any

from oslo_utils import uuidutils
import pytest

from cyborg.agent import images
from cyborg.clients import bitstreams
from cyborg.common import exception

DATA = b"bitstream" * 1000


class Glance:
    """Images in memory; notes each download."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.error: Exception | None = None
        self.owner = "p1"

    def add(self, data: bytes = DATA) -> dict[str, Any]:
        """Store an image; return it as an agent is called with it."""
        image_id = uuidutils.generate_uuid()
        self.data[image_id] = data
        return bitstreams.describe(self.get_image(image_id))

    def get_image(self, image_id: str) -> dict[str, Any]:
        data = self.data[image_id]
        return {
            "id": image_id,
            "status": "active",
            "owner": self.owner,
            "size": len(data),
            "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
        }

    def download(self, image_id: str, fileobj: Any) -> None:
        self.downloads.append(image_id)
        data = self.data[image_id]
        fileobj.write(data[:100])
        if self.error is not None:
            raise self.error
        fileobj.write(data[100:])


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "images"


@pytest.fixture
def store(glance: Glance, directory: pathlib.Path) -> images.ImageStore:
    result = images.ImageStore(directory, glance)
    result.prepare()
    return result


def use(store: images.ImageStore, image: dict[str, Any]) -> bytes:
    with store.checkout(image, ".gbs", 60) as path:
        assert path.name == f"{image['id']}.gbs"
        assert path.stat().st_mode & 0o777 == 0o600
        return path.read_bytes()


def test_image_goes_with_its_use(
    glance: Glance, store: images.ImageStore, directory: pathlib.Path
) -> None:
    image = glance.add()
    assert use(store, image) == DATA
    assert directory.stat().st_mode & 0o777 == 0o700
    (cached,) = directory.iterdir()
    assert cached.name == f"{image['id']}_{image['hash_value'][:64]}"


def test_image_used_before_is_not_fetched_again(
    glance: Glance, store: images.ImageStore
) -> None:
    image = glance.add()
    assert [use(store, image), use(store, image)] == [DATA, DATA]
    assert glance.downloads == [image["id"]]


def test_same_image_with_other_data_is_another(
    glance: Glance, store: images.ImageStore
) -> None:
    image = glance.add()
    use(store, image)
    glance.data[image["id"]] = b"new"
    with pytest.raises(exception.ImageUnacceptable, match="its hash has"):
        use(store, image)
    renewed = bitstreams.describe(glance.get_image(image["id"]))
    assert use(store, renewed) == b"new"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hash_value": "0" * 128}, "hash"),
        ({"size": len(DATA) - 1}, "more than"),
        ({"size": len(DATA) + 1}, "bytes came"),
        ({"hash_algo": "crc7"}, "kind crc7, and known are md5, sha1"),
        # Without a length of its own it has no hexdigest() either.
        ({"hash_algo": "shake_128"}, "kind shake_128, and known are md5"),
        ({"hash_algo": None}, "kind None, and known are md5"),
    ],
)
def test_image_that_is_not_what_was_asked_for(
    glance: Glance,
    store: images.ImageStore,
    directory: pathlib.Path,
    changes: dict[str, Any],
    reason: str,
) -> None:
    image = {**glance.add(), **changes}
    # As Glance has it; what comes is something else.
    del image["owner"]
    with pytest.raises(exception.ImageUnacceptable, match=reason):
        use(store, image)
    assert list(directory.iterdir()) == []


def test_image_without_data(glance: Glance, store: images.ImageStore) -> None:
    with pytest.raises(exception.ImageUnacceptable, match="no data"):
        use(store, glance.add(b""))


def test_image_without_hash_is_used_and_not_kept(
    glance: Glance, store: images.ImageStore, directory: pathlib.Path
) -> None:
    image = {**glance.add(), "hash_value": None}
    del image["owner"]
    assert use(store, image) == DATA
    assert list(directory.iterdir()) == []


def test_id_cannot_name_another_place(store: images.ImageStore) -> None:
    image = {"id": "../../etc/passwd", "hash_value": None}
    with pytest.raises(exception.InvalidUUID):
        use(store, image)


def test_download_that_breaks_leaves_nothing(
    glance: Glance, store: images.ImageStore, directory: pathlib.Path
) -> None:
    image = glance.add()
    for error, raised in (
        (exception.ImageNotFound(image="x"), exception.ImageNotFound),
        (OSError("disk full"), exception.ImageUnacceptable),
        (RuntimeError("a bug"), exception.ImageUnacceptable),
    ):
        glance.error = error
        with pytest.raises(raised):
            use(store, image)
        assert list(directory.iterdir()) == []


def test_download_may_not_take_for_ever(
    glance: Glance, store: images.ImageStore
) -> None:
    with (
        pytest.raises(exception.ImageUnacceptable, match="too long"),
        store.checkout(glance.add(), "", -1),
    ):
        pass


@pytest.mark.parametrize("is_cached", [True, False])
def test_image_of_somebody_else_by_now(
    glance: Glance, store: images.ImageStore, is_cached: bool
) -> None:
    image = glance.add()
    if is_cached:
        use(store, image)
    glance.owner = "p2"
    with pytest.raises(exception.ImageUnacceptable, match="its owner has"):
        use(store, image)
    assert len(glance.downloads) == is_cached
    # A conductor of before does not say whose it was.
    del image["owner"]
    assert use(store, image) == DATA


def test_damaged_cache_is_fetched_again(
    glance: Glance, store: images.ImageStore, directory: pathlib.Path
) -> None:
    image = glance.add()
    use(store, image)
    (cached,) = directory.iterdir()
    cached.write_bytes(b"damaged" + DATA[7:])
    assert use(store, image) == DATA
    assert len(glance.downloads) == 2
    assert cached.read_bytes() == DATA


def test_least_used_image_makes_room(
    glance: Glance,
    store: images.ImageStore,
    directory: pathlib.Path,
    config: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "MIB", len(DATA))
    config.config(group="agent", image_cache_size=2)
    first, second, third = (
        glance.add(bytes([number]) * len(DATA)) for number in range(3)
    )
    for image in (first, second, first, third):
        use(store, image)
    kept = {path.name.partition("_")[0] for path in directory.iterdir()}
    assert kept == {first["id"], third["id"]}


def test_cache_can_be_switched_off(
    glance: Glance,
    store: images.ImageStore,
    directory: pathlib.Path,
    config: Any,
) -> None:
    config.config(group="agent", image_cache_size=0)
    use(store, glance.add())
    assert list(directory.iterdir()) == []


def test_full_disk_costs_the_cache_first(
    glance: Glance,
    store: images.ImageStore,
    directory: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(store, glance.add())

    def disk_usage(path: pathlib.Path) -> Any:
        # What is being downloaded is in a directory of its own.
        cached = any(entry.is_file() for entry in path.iterdir())
        return SimpleNamespace(free=0 if cached else 2**40)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert use(store, glance.add(b"other")) == b"other"
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(free=0)
    )
    with pytest.raises(exception.ImageUnacceptable, match="0 are free"):
        use(store, glance.add(b"third"))


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_disk_that_fills_up_ends_the_download(
    glance: Glance,
    store: images.ImageStore,
    directory: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
) -> None:
    image = {**glance.add(), "size": size}
    came = 0
    write = images._Sink.write

    def count(sink: images._Sink, data: bytes) -> int:
        nonlocal came
        came += write(sink, data)
        return len(data)

    # Others write to the disk, too, once this began.
    monkeypatch.setattr(images._Sink, "write", count)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: SimpleNamespace(free=0 if came else 2**40),
    )
    with pytest.raises(exception.ImageUnacceptable, match="0 are free"):
        use(store, image)
    assert came == 100
    assert list(directory.iterdir()) == []


def test_data_are_hashed_once(
    glance: Glance, store: images.ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    new = hashlib.new

    def note(name: str, **options: Any) -> Any:
        made.append(name)
        return new(name, **options)

    monkeypatch.setattr(hashlib, "new", note)
    use(store, glance.add())
    assert made == ["sha512"]


def test_what_a_dead_agent_left_is_removed(
    glance: Glance, store: images.ImageStore, directory: pathlib.Path
) -> None:
    use(store, glance.add())
    left = directory / "run-abc"
    left.mkdir()
    (left / "half.gbs").touch()
    store.prepare()
    assert not left.exists()
    assert len(list(directory.iterdir())) == 1


def test_image_that_is_not_active(glance: Glance) -> None:
    record = {**glance.get_image(glance.add()["id"]), "status": "queued"}
    with pytest.raises(exception.ImageUnacceptable, match="queued"):
        bitstreams.describe(record)


def test_old_image_has_a_checksum_only(glance: Glance) -> None:
    record = glance.get_image(glance.add()["id"])
    del record["os_hash_algo"], record["os_hash_value"]
    described = bitstreams.describe(record)
    assert described["hash_algo"] == "md5"
    assert described["hash_value"] == record["checksum"]
