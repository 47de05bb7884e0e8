"""Calls whose results are wanted in order, run ahead of it in threads.

Owns the window. Results are yielded one by one and never more than `depth` wait, so memory stays bounded; the price is
that a slow call holds back those behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

REQUESTS_IN_FLIGHT = 16
"""Files or ranges that one process fetches ahead from an object store, where waiting costs more than reading."""

_T = TypeVar("_T")


def read_ahead(calls: Iterable[Callable[[], _T]], depth: int, *, num_threads: int | None = None) -> Iterator[_T]:
    """Results of the calls in their order.

    Args:
        calls: What to run; taken one by one.
        depth: Calls that run or wait ahead of the result that is wanted; 0 runs each when it is wanted.
        num_threads: Calls that run at a time; `None` for `depth`.
    """
    if depth == 0:
        for call in calls:
            yield call()
        return
    with ThreadPoolExecutor(num_threads or depth) as pool:
        running: deque[Future[_T]] = deque()
        try:
            for call in calls:
                running.append(pool.submit(call))
                if len(running) > depth:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
