"""Work done ahead in a thread: what it makes goes to one caller, who may leave at any time.

Owns the thread's end. It ends with its work, with the caller, and with the interpreter, so it need not be a daemon,
which the interpreter would stop in the middle of native code. The price: it looks for the main thread's end ten times a
second while it waits for the caller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from shardtools.errors import StorageError, resource_error

_LOOK_SECONDS = 0.1

_T = TypeVar("_T")


class Ahead(Generic[_T]):
    """An iterator over what a generator yields in a thread of its own.

    Attributes:
        is_closed: Whether `close` was called.
    """

    def __init__(self, make: Callable[[], Generator[_T]], *, capacity: int, name: str) -> None:
        """Starts the thread.

        Args:
            make: Called in the thread; its generator is closed there when the caller leaves.
            capacity: Results that may wait for the caller before the generator has to; at least 1.
            name: Of the thread.
        """
        self._make = make
        self._capacity = capacity
        self._results: deque[_T] = deque()
        self._error: BaseException | None = None
        self._is_over = False
        self.is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise resource_error(error) or error from None

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        """The next result.

        Raises:
            StorageError: `close` was called before the end.
            RunError: The system gives no more threads.
        """
        with self._changed:
            while not (self._results or self._is_over or self.is_closed):
                self._changed.wait()
            if self.is_closed:
                raise StorageError("the loader was closed, or began another epoch, before this one was over")
            if self._results:
                result = self._results.popleft()
                self._changed.notify_all()
                return result
        self._thread.join()
        if self._error is None:
            raise StopIteration
        # Once; after that the iterator is over.
        error, self._error = self._error, None
        # A `MemoryError` stays one: callers answer it with smaller batches.
        raise error if isinstance(error, MemoryError) else resource_error(error) or error

    def close(self, *, interrupt: Callable[[], None], patience_seconds: float) -> None:
        """Ends the thread and waits for it.

        Args:
            interrupt: Called where the thread does not end by itself, to end what it waits for.
            patience_seconds: How long it may take before that.
        """
        with self._changed:
            self.is_closed = True
            self._results.clear()
            self._changed.notify_all()
        # A thread that waits to hand over wakes up now. One that waits for a store does not.
        self._thread.join(patience_seconds)
        if self._thread.is_alive():
            interrupt()
            self._thread.join()

    def _work(self) -> None:
        try:
            with closing(self._make()) as results:
                for result in results:
                    if not self._put(result):
                        break
                    # While the next one is made, only the caller holds this one.
                    del result
        # Everything: an error that stayed in this thread would leave the caller waiting for ever.
        except BaseException as error:
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _put(self, result: _T) -> bool:
        """Hands over and waits for room; false where nobody wants more."""
        with self._changed:
            self._results.append(result)
            self._changed.notify_all()
            # Handed over already; what waits for room is the making of the next one.
            while len(self._results) >= self._capacity and not self.is_closed:
                self._changed.wait(_LOOK_SECONDS)
                if not threading.main_thread().is_alive():
                    return False
            return not self.is_closed
