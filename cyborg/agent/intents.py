"""What the agent is about to do to the host, written down before it does it.

``$state_path/agent/intents.json``::

    {"mdevs": {"<handle uuid>": {"address": "0000:af:00.0",
                                 "type": "nvidia-223",
                                 "wanted": true,
                                 "done": "<boot id>" or null}},
     "jobs": [{"uuid": "...", "device": "...", "image": "...",
               "sequence": 17 or null, "done": "<boot id>" or null}],
     "cleanings": {"<job uuid>": {
         "attempt": 0, "state": "running", "done" or "failed",
         "reason": "...", "is_final": false, "at": 1764590000.0,
         "step": "<begun>" or null,
         "steps": [{"name": "...", "destroys": "...", "seconds": 1.5,
                    "lasts": true, "boot": "<boot id>"}]}},
     "sequences": {"<handle uuid>, or device": [18, <seconds of 1970>]}}

``done`` is null from the moment before the host is touched until the moment
after. What is null when the agent starts was cut short. A boot id other than
the running kernel's means that the host has forgotten: mdevs are gone, an
FPGA may be empty.

A message may be long on its way. Each piece of work bears a number that
grows, and what is older than the last work on the same handle or card is
refused: whoever asked for it has asked for something else since.
"""

import pathlib
import threading
import time
from typing import Any

from cyborg.agent import store
from cyborg.common import exception

# Jobs remembered; a conductor repeats one within minutes or never.
JOBS_KEPT = 200
# Seconds for which the last number of a handle or card is known. No message
# is under way for so long; a database restored from a backup counts anew.
SEQUENCES_KEPT = 24 * 3600


class IntentLog:
    """The file, and the questions it answers.

    Every change is on the disk when the method returns; an OSError means
    that it is not.
    """

    VERSION = 1

    def __init__(self, path: pathlib.Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._lock = threading.Lock()
        content = store.read(path)
        self._mdevs: dict[str, dict[str, Any]] = content.get("mdevs", {})
        self._jobs: list[dict[str, Any]] = content.get("jobs", [])
        self._cleanings: dict[str, dict[str, Any]] = content.get(
            "cleanings", {}
        )
        self._sequences: dict[str, tuple[int, float]] = {
            subject: (entry[0], entry[1])
            for subject, entry in content.get("sequences", {}).items()
        }

    def _save(
        self,
        mdevs: dict[str, dict[str, Any]] | None = None,
        jobs: list[dict[str, Any]] | None = None,
        sequences: dict[str, tuple[int, float]] | None = None,
        cleanings: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        mdevs = self._mdevs if mdevs is None else mdevs
        jobs = self._jobs if jobs is None else jobs
        sequences = self._sequences if sequences is None else sequences
        cleanings = self._cleanings if cleanings is None else cleanings
        store.write(
            self._path,
            {
                "version": self.VERSION,
                "mdevs": mdevs,
                "jobs": jobs,
                "cleanings": cleanings,
                "sequences": sequences,
            },
        )
        # Only what is on the disk is believed.
        self._mdevs, self._jobs = mdevs, jobs
        self._sequences, self._cleanings = sequences, cleanings

    # -- order

    def check(self, subject: str, sequence: int | None) -> None:
        """Refuse what is older than the last work on a handle or card.

        :param sequence: None = from a conductor that does not number
        :raises Overtaken: later work came before it
        """
        with self._lock:
            self._check(subject, sequence)

    def _check(self, subject: str, sequence: int | None) -> None:
        latest, at = self._sequences.get(subject, (0, 0.0))
        if time.time() - at >= SEQUENCES_KEPT:
            return
        if sequence is not None and sequence < latest:
            raise exception.Overtaken(
                subject=subject, sequence=sequence, latest=latest
            )

    def fence(self, subject: str, sequence: int) -> None:
        """Refuse from now on what is older; harmless if all is newer."""
        with self._lock:
            sequences = self._with(subject, sequence)
            if sequences is not self._sequences:
                self._save(sequences=sequences)

    def _with(
        self, subject: str, sequence: int | None
    ) -> dict[str, tuple[int, float]]:
        """Return the numbers as they are once this work has come."""
        now = time.time()
        kept = {
            name: entry
            for name, entry in self._sequences.items()
            if now - entry[1] < SEQUENCES_KEPT
        }
        latest, _at = kept.get(subject, (0, 0.0))
        if sequence is None or sequence <= latest:
            return self._sequences
        return {**kept, subject: (sequence, now)}

    # -- mdevs

    def mdev(self, uuid: str) -> dict[str, Any] | None:
        """Return what is known of an mdev."""
        with self._lock:
            return self._mdevs.get(uuid)

    def want_mdev(
        self,
        uuid: str,
        address: str,
        mdev_type: str,
        wanted: bool,
        sequence: int | None = None,
    ) -> None:
        """Write that an mdev is about to be made, or removed.

        :raises Overtaken: later work on the handle came before it
        """
        entry: dict[str, Any] = {
            "address": address,
            "type": mdev_type,
            "wanted": wanted,
            "done": None,
        }
        with self._lock:
            self._check(uuid, sequence)
            known = self._mdevs.get(uuid)
            if wanted and self._is_made(known):
                entry = known or entry
            sequences = self._with(uuid, sequence)
            if known != entry or sequences is not self._sequences:
                self._save({**self._mdevs, uuid: entry}, sequences=sequences)

    def mdev_done(self, uuid: str) -> None:
        """Write that the mdev is there, or forget one that is removed."""
        with self._lock:
            mdevs = dict(self._mdevs)
            if mdevs[uuid]["wanted"]:
                mdevs[uuid] = {**mdevs[uuid], "done": self._boot}
            else:
                del mdevs[uuid]
            self._save(mdevs)

    def is_made(self, uuid: str) -> bool:
        """Return whether the mdev was made since the host booted."""
        return self._is_made(self.mdev(uuid))

    def _is_made(self, entry: dict[str, Any] | None) -> bool:
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

    def mdevs(self) -> set[str]:
        """Return the uuids of mdevs that may be there because of us."""
        with self._lock:
            return set(self._mdevs)

    def made_mdevs(self) -> list[str]:
        """Return the uuids of mdevs that are wanted, and were made."""
        with self._lock:
            return [
                uuid
                for uuid, entry in self._mdevs.items()
                if self._is_made(entry)
            ]

    # -- jobs

    def job_started(
        self,
        uuid: str,
        device: str,
        image: str,
        sequence: int | None = None,
    ) -> None:
        """Write that a card is about to be loaded with an image."""
        entry = {
            "uuid": uuid,
            "device": device,
            "image": image,
            "sequence": sequence,
            "done": None,
        }
        with self._lock:
            others = [job for job in self._jobs if job["uuid"] != uuid]
            self._save(jobs=[*others, entry][-JOBS_KEPT:])

    def job_done(self, uuid: str) -> None:
        """Write that the card took the image."""
        with self._lock:
            jobs, sequences = [], self._sequences
            for job in self._jobs:
                if job["uuid"] == uuid:
                    job = {**job, "done": self._boot}
                    sequences = self._with(job["device"], job.get("sequence"))
                jobs.append(job)
            self._save(jobs=jobs, sequences=sequences)

    def job_succeeded(self, uuid: str) -> bool:
        """Return whether the job was done and the host not booted since."""
        with self._lock:
            return any(
                job["uuid"] == uuid and job["done"] == self._boot
                for job in self._jobs
            )

    def interrupted_jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that never came to an end."""
        with self._lock:
            return [dict(job) for job in self._jobs if job["done"] is None]

    # -- cleanings

    def cleaning(self, uuid: str) -> dict[str, Any] | None:
        """Return how far the cleaning of a job is, None if none is known."""
        with self._lock:
            entry = self._cleanings.get(uuid)
            return None if entry is None else dict(entry)

    def cleaning_started(
        self, uuid: str, subject: str, attempt: int, sequence: int | None
    ) -> None:
        """Write that a cleaning begins, or begins again.

        What earlier attempts have done stays done, unless a reboot undid it.

        :raises Overtaken: later work on the subject came before it
        """
        with self._lock:
            self._check(subject, sequence)
            known = self._cleanings.get(uuid, {"steps": []})
            entry = {
                "attempt": attempt,
                "state": "running",
                "step": None,
                "steps": [
                    step
                    for step in known["steps"]
                    if step["lasts"] or step["boot"] == self._boot
                ],
                "at": time.time(),
            }
            self._save(
                sequences=self._with(subject, sequence),
                cleanings=self._kept_cleanings() | {uuid: entry},
            )

    def _kept_cleanings(self) -> dict[str, dict[str, Any]]:
        # A late message must find that it was done.
        now = time.time()
        return {
            uuid: entry
            for uuid, entry in self._cleanings.items()
            if now - entry["at"] < SEQUENCES_KEPT
        }

    def cleaning_step_started(self, uuid: str, name: str) -> None:
        """Write that a step is about to be done."""
        self._change_cleaning(uuid, step=name)

    def cleaning_step_done(
        self, uuid: str, name: str, destroys: str, seconds: float, lasts: bool
    ) -> None:
        """Write that a step was done."""
        with self._lock:
            steps = self._cleanings[uuid]["steps"]
        done = {
            "name": name,
            "destroys": destroys,
            "seconds": round(seconds, 3),
            "lasts": lasts,
            "boot": self._boot,
        }
        self._change_cleaning(uuid, step=None, steps=[*steps, done])

    def cleaning_ended(
        self, uuid: str, state: str, reason: str = "", is_final: bool = False
    ) -> None:
        """Write how a cleaning ended: ``done`` or ``failed``."""
        self._change_cleaning(
            uuid, state=state, reason=reason, is_final=is_final
        )

    def _change_cleaning(self, uuid: str, **values: Any) -> None:
        with self._lock:
            entry = {**self._cleanings[uuid], **values, "at": time.time()}
            self._save(cleanings={**self._cleanings, uuid: entry})
