"""The lease: keeps two runs from writing one dataset at once.

Owns the folder `lease/`, which is empty whenever no run writes. A run holds the dataset with the object of the highest
generation, `lease/000001.json`; taking over means publishing the next one, which storage grants to exactly one. The
price of needing only put-if-absent: a holder on another machine counts as dead when its heartbeat stands still for a
while, so a run that was frozen for longer finds its lease lost when it wakes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType

from shardtools.documents import build
from shardtools.errors import AlreadyExistsError, DatasetBusyError, NotFoundError, StorageError
from shardtools.storage import Storage, is_running, this_process

LEASE_FOLDER = "lease/"
_WATCH_STEPS = 20
_LONGEST_WATCH_STEP_SECONDS = 0.5
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """What a lease object says about the run that holds the dataset.

    Attributes:
        purpose: What it does, for messages.
        hostname: For messages.
        machine, pid, start_ticks: See `ProcessIdentity`.
        since: UTC time, for messages; no clock decides anything.
        token: Random, so that no two runs write the same object.
        heartbeat: Counts up while it lives.
        heartbeat_seconds: Seconds between two counts.
    """

    purpose: str
    hostname: str
    machine: str
    pid: int
    start_ticks: int | None
    since: str
    token: str
    heartbeat: int
    heartbeat_seconds: float

    def to_json(self) -> bytes:
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    def __str__(self) -> str:
        return f"{self.purpose} on {self.hostname}, pid {self.pid}, since {self.since}"


class Lease:
    """A dataset held by this process, from `acquire` to the end of the `with` block."""

    def __init__(self, storage: Storage, generation: int, holder: _Holder) -> None:
        self._storage = storage
        self._generation = generation
        self._holder = holder
        self._lost = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="shardtools-lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another run took the dataset over; the holder must stop writing."""
        return self._lost.is_set()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the dataset back; does nothing if it is lost, and leaves it to the next run if the storage is gone."""
        self._stopped.set()
        # A heartbeat that is under way would write the object again after its removal.
        self._thread.join()
        try:
            if not self._is_lost():
                _delete_up_to(self._storage, self._generation)
        except StorageError as error:
            _logger.warning("cannot give back %s: %s; the next run takes it over", self._storage.url, error)

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(self._holder.heartbeat_seconds):
            try:
                if self._is_lost():
                    self._lost.set()
                    return
                # Between the look and this write another run may take over. The old object then comes back, but the
                # highest generation holds the dataset, and its end clears all below.
                self._holder = replace(self._holder, heartbeat=self._holder.heartbeat + 1)
                self._storage.write(_path(self._generation), self._holder.to_json())
            except StorageError as error:
                # The work meets the same failure and decides; where it goes on, so does the heart.
                _logger.warning("cannot renew the lease of %s: %s", self._storage.url, error)

    def _is_lost(self) -> bool:
        if self._lost.is_set() or self._storage.exists(_path(self._generation + 1)):
            return True
        # Taken over and given back by others already: the next generation is gone again, and so is ours.
        mine = _read(self._storage, self._generation)
        return mine is None or mine.token != self._holder.token


def acquire(storage: Storage, *, purpose: str, takeover_seconds: float = 20.0, heartbeat_seconds: float = 5.0) -> Lease:
    """Hold the dataset in `storage` for this process; use the result in a `with` statement.

    Args:
        storage: The dataset's root.
        purpose: What the run does, for the message that another run gets ("gen-sd").
        takeover_seconds: How long the heartbeat of a holder on another machine must stand still.
        heartbeat_seconds: Seconds between two heartbeats of this run.

    Raises:
        DatasetBusyError: Another run holds it, or won the race for it.
        AccessError: The dataset's root cannot be written.
    """
    # An object is left where the last holder was killed, or still writes. It is never overwritten: whoever takes over
    # publishes the next generation, and put-if-absent gives that to one run only.
    generation = _highest_generation(storage)
    if generation > 0 and (current := _read(storage, generation)) is not None:
        _check_dead(storage, generation, current, takeover_seconds)
    generation += 1
    identity = this_process()
    holder = _Holder(
        purpose=purpose,
        hostname=identity.hostname,
        machine=identity.machine,
        pid=identity.pid,
        start_ticks=identity.start_ticks,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=secrets.token_hex(16),
        heartbeat=0,
        heartbeat_seconds=heartbeat_seconds,
    )
    try:
        storage.write(_path(generation), holder.to_json(), if_absent=True)
    except AlreadyExistsError:
        raise _busy(storage, _read(storage, generation)) from None
    # While this run looked, others may have taken the dataset over and cleared this generation away: the highest wins.
    highest = _highest_generation(storage)
    if highest > generation:
        storage.delete(_path(generation))
        raise _busy(storage, _read(storage, highest))
    # Only now: with no object in between, a third run would begin with generation 1 again.
    _delete_up_to(storage, generation - 1)
    return Lease(storage, generation, holder)


def _check_dead(storage: Storage, generation: int, holder: _Holder, takeover_seconds: float) -> None:
    """Return when the holder is dead or gone; raise `DatasetBusyError` when it lives."""
    if holder.machine == this_process().machine:
        # On the same machine the system knows, so nobody waits. With the start time, as numbers of processes come
        # again.
        if is_running(holder.pid, holder.start_ticks):
            raise _busy(storage, holder)
        return
    # Whatever this run's own settings, two heartbeats of the holder must fit into the wait.
    watch_seconds = max(takeover_seconds, 2 * holder.heartbeat_seconds)
    _logger.warning("%s is held by %s: watching for %.0f s whether it lives", storage.url, holder, watch_seconds)
    end = time.monotonic() + watch_seconds
    while time.monotonic() < end:
        time.sleep(min(watch_seconds / _WATCH_STEPS, _LONGEST_WATCH_STEP_SECONDS))
        now = _read(storage, generation)
        if now is None:
            return
        if now != holder:
            raise _busy(storage, now)


def _busy(storage: Storage, holder: _Holder | None) -> DatasetBusyError:
    who = "that started at the same moment" if holder is None else f"({holder})"
    return DatasetBusyError(
        f"{storage.url} is being written by another run {who}: wait for it, stop it, or choose another target"
    )


def _read(storage: Storage, generation: int) -> _Holder | None:
    """Return what the object of that generation says; `None` if there is none."""
    path = _path(generation)
    try:
        content = storage.read(path)
    except NotFoundError:
        return None
    try:
        return build(_Holder, json.loads(content))
    except ValueError:
        raise DatasetBusyError(
            f"{storage.object_url(path)} is no lease that this release can read: delete it if no run writes there"
        ) from None


def _highest_generation(storage: Storage) -> int:
    return max(_generations(storage), default=0)


def _delete_up_to(storage: Storage, generation: int) -> None:
    for found in _generations(storage):
        if found <= generation:
            storage.delete(_path(found))


def _generations(storage: Storage) -> list[int]:
    generations = []
    for stored in storage.list(LEASE_FOLDER):
        with contextlib.suppress(ValueError):
            generations.append(int(stored.path.removeprefix(LEASE_FOLDER).removesuffix(".json")))
    return generations


def _path(generation: int) -> str:
    return f"{LEASE_FOLDER}{generation:06d}.json"
