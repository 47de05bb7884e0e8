"""A step of a study: skipped once what it makes is there, else run and timed.

Owns `steps.jsonl`. Every step is a job of its own room that resumes by itself; the process of the study waits for it.
The price: steps follow one another, even where two would fit on the machine.
"""

from __future__ import annotations

import json
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shardtools.errors import RunError, ShardtoolsError

STEPS_FILE, LOG_FILE = "steps.jsonl", "errors.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step.

    Attributes:
        name: What it makes.
        is_done: Whether that is there.
        run: Makes it, or goes on with it.
    """

    name: str
    is_done: Callable[[], bool]
    run: Callable[[], object]


def run_step(folder: Path, step: Step, show: Callable[[str], None]) -> None:
    """Runs a step unless it is done, and notes what it took, CPU seconds of child processes included.

    Args:
        folder: Of the study.
        step: What is done.
        show: Called with lines about it.

    Raises:
        ShardtoolsError: The step failed.
        RunError: It failed as nobody expected; the trace is in a file.
    """
    if step.is_done():
        return
    show(step.name)
    before, started = _cpu_seconds(), time.monotonic()
    try:
        step.run()
    except ShardtoolsError:
        raise
    except Exception as error:
        path = folder / LOG_FILE
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{step.name}\n")
            traceback.print_exc(file=log)
        raise RunError(f"{step.name}: {type(error).__name__}: {error} (trace in {path}); what is done stays") from error
    line = {
        "step": step.name,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
    }
    with (folder / STEPS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    show(f"{step.name}: {line['seconds']} s, {line['cpu_seconds']} CPU seconds")


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
