"""Searches and fits linear classifiers on features by stochastic gradient descent.

    shardtools probe DATASET --features lite0                                    (starts the process itself)

Hardware: any; one GPU takes the whole of a search. Metric: trials a second.

Owns the process: one a GPU, or one, each with its own measurements, so that none waits for another. The price: the
last measurements may be of fewer processes than there are.
"""

from __future__ import annotations

import contextlib
import threading
import time

from shardtools.errors import StoppedError
from shardtools.evaluation.probes import ProbeJob, measure_cells, prepare, probe_storage, read_probed
from shardtools.execution import GRACE_SECONDS, Ended, EndReason, Progress, serve
from shardtools.pipelines.batches.planned import share
from shardtools.pipelines.probes.solver import WideSolver
from shardtools.pipelines.ranks import count_ranks, device_type, join_run


def run_fork(job: ProbeJob, num_ranks: int, report: Progress, stop: threading.Event) -> None:
    """A process's share of the measurements."""
    options = job.options
    world = join_run(device_type(options.device), options.threads, num_ranks, is_exact=False)
    numbers = share(range(len(job.keys)), world.rank, world.world_size)
    prepared = prepare(options, read_probed(options))
    solver = WideSolver(
        epochs=options.epochs,
        device=world.device,
        precision=options.precision,
        show=report,
        is_stopped=stop.is_set,
    )
    started = time.perf_counter()
    # What was told is there; the launcher says how to go on.
    with contextlib.suppress(StoppedError):
        measure_cells(options, prepared, [job.keys[one] for one in numbers], solver, probe_storage(options), report)
    ended: EndReason = "stopped" if stop.is_set() else "done"
    report(Ended(reason=ended, seconds=round(time.perf_counter() - started, 3)))
    world.leave()


def _count(job: ProbeJob, asked: int) -> int:
    return min(count_ranks(asked, job.options.device), len(job.keys))


if __name__ == "__main__":
    serve(run_fork, _count, grace_seconds=GRACE_SECONDS)
