"""A dry run's measurement: a few real denoising steps of the plan's own first images, thrown away.

Owns the extrapolation from few steps to all. The price of a real measurement is loading the model once.
"""

from __future__ import annotations

import dataclasses
import time

from shardtools.errors import RunError
from shardtools.execution import Ended, Message
from shardtools.generation.estimating import Estimate, estimate, remember_speed
from shardtools.generation.launch import run_ranks
from shardtools.generation.plan import Plan
from shardtools.generation.preparing import Job, Prepared
from shardtools.storage import scratch_folder

MEASURED_STEPS = 4


def measured_estimate(prepared: Prepared) -> Estimate:
    """The cost of the plan; times one batch a process where this machine has no speed for the settings yet.

    Raises:
        RunError: A process failed, for lack of memory say.
    """
    found = estimate(prepared)
    if found is None:
        _measure(prepared)
        found = estimate(prepared)
    if found is None:
        raise RunError(f"no speed was measured with {prepared.model.path}: see what gen-sd without --dry-run says")
    return found


def _measure(prepared: Prepared) -> None:
    """Time for n steps = time outside the denoiser + n times its time a step, all from a run of `MEASURED_STEPS`."""
    options = prepared.plan.options
    batch, steps = options.generator.batch_size, options.generator.num_inference_steps
    measured_steps = min(steps, MEASURED_STEPS)
    needed = batch * prepared.num_processes
    plan = Plan(
        dataclasses.replace(
            options,
            images_per_class=(-(-needed // len(options.classes)),) * len(options.classes),
            scale=1,
            samples_per_shard=batch,
            generator=dataclasses.replace(options.generator, num_inference_steps=measured_steps),
        )
    )
    ends: list[Ended] = []

    def note(message: Message) -> None:
        if isinstance(message, Ended):
            ends.append(message)

    with scratch_folder() as folder:
        job = Job(
            run_id=f"measure-{time.time_ns():x}",
            url=str(folder),
            plan=plan,
            plan_id=prepared.plan_file.plan_id,
            model_path=prepared.model.path,
            model_id=prepared.model.model_id,
            tasks=tuple(range(prepared.num_processes)),
            retry_failed=False,
        )
        tally = run_ranks(job, prepared.num_processes, note)
    seconds = max(end.seconds + end.details["denoiser_seconds"] * (steps / measured_steps - 1) for end in ends)
    remember_speed(prepared, images=tally.rows, num_bytes=tally.num_bytes, seconds=seconds)
