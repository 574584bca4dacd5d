"""What the agent is about to do to the host, written down before it does it.

``$state_path/agent/intents.json``::

    {"mdevs": {"<handle uuid>": {"address": "0000:af:00.0",
                                 "type": "nvidia-223",
                                 "wanted": true,
                                 "done": "<boot id>" or null}},
     "jobs": [{"uuid": "...", "device": "...", "image": "...",
               "done": "<boot id>" or null}]}

``done`` is null from the moment before the host is touched until the moment
after. What is null when the agent starts was cut short. A boot id other than
the running kernel's means that the host has forgotten: mdevs are gone, an
FPGA may be empty.
"""

import pathlib
import threading
from typing import Any

from cyborg.agent import store

# Jobs remembered; a conductor repeats one within minutes or never.
JOBS_KEPT = 200


def boot_id(root: pathlib.Path = pathlib.Path("/")) -> str:
    """Return the text that differs after every boot of the kernel."""
    path = root / "proc/sys/kernel/random/boot_id"
    return path.read_text(encoding="ascii").strip()


class IntentLog:
    """The file, and the questions it answers. Every change is on the disk
    when the method returns; an OSError means that it is not."""

    VERSION = 1

    def __init__(self, path: pathlib.Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._lock = threading.Lock()
        content = store.read(path)
        self._mdevs: dict[str, dict[str, Any]] = content.get("mdevs", {})
        self._jobs: list[dict[str, Any]] = content.get("jobs", [])

    def _save(
        self, mdevs: dict[str, dict[str, Any]], jobs: list[dict[str, Any]]
    ) -> None:
        store.write(
            self._path, {"version": self.VERSION, "mdevs": mdevs, "jobs": jobs}
        )
        # Only what is on the disk is believed.
        self._mdevs, self._jobs = mdevs, jobs

    # -- mdevs

    def mdev(self, uuid: str) -> dict[str, Any] | None:
        """Return what is known of an mdev."""
        with self._lock:
            return self._mdevs.get(uuid)

    def want_mdev(
        self, uuid: str, address: str, mdev_type: str, wanted: bool
    ) -> None:
        """Write that an mdev is about to be made, or removed."""
        entry = {
            "address": address,
            "type": mdev_type,
            "wanted": wanted,
            "done": None,
        }
        with self._lock:
            if self._mdevs.get(uuid) != entry:
                self._save({**self._mdevs, uuid: entry}, self._jobs)

    def mdev_done(self, uuid: str) -> None:
        """Write that the mdev is there, or forget one that is removed."""
        with self._lock:
            mdevs = dict(self._mdevs)
            if mdevs[uuid]["wanted"]:
                mdevs[uuid] = {**mdevs[uuid], "done": self._boot}
            else:
                del mdevs[uuid]
            self._save(mdevs, self._jobs)

    def is_made(self, uuid: str) -> bool:
        """Return whether the mdev was made since the host booted."""
        entry = self.mdev(uuid)
        return (
            entry is not None
            and entry["wanted"]
            and entry["done"] == self._boot
        )

    def unfinished_mdevs(self) -> list[str]:
        """Return the uuids of mdevs that are not as they are wanted."""
        with self._lock:
            return [
                uuid
                for uuid, entry in self._mdevs.items()
                if entry["done"] != self._boot
            ]

    # -- jobs

    def job_started(self, uuid: str, device: str, image: str) -> None:
        """Write that a card is about to be loaded with an image."""
        entry = {"uuid": uuid, "device": device, "image": image, "done": None}
        with self._lock:
            others = [job for job in self._jobs if job["uuid"] != uuid]
            self._save(self._mdevs, [*others, entry][-JOBS_KEPT:])

    def job_done(self, uuid: str) -> None:
        """Write that the card took the image."""
        with self._lock:
            jobs = [
                {**job, "done": self._boot} if job["uuid"] == uuid else job
                for job in self._jobs
            ]
            self._save(self._mdevs, jobs)

    def job_succeeded(self, uuid: str) -> bool:
        """Return whether the job was done and the host not booted since."""
        with self._lock:
            return any(
                job["uuid"] == uuid and job["done"] == self._boot
                for job in self._jobs
            )

    def superseded(self, uuid: str, device: str) -> bool:
        """Return whether another job came to the card after this one."""
        with self._lock:
            mine = [
                index
                for index, job in enumerate(self._jobs)
                if job["uuid"] == uuid
            ]
            return bool(mine) and any(
                job["device"] == device for job in self._jobs[mine[0] + 1 :]
            )

    def interrupted_jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that never came to an end."""
        with self._lock:
            return [dict(job) for job in self._jobs if job["done"] is None]
