"""Training runs in processes of their own that import torch once a test file, and can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar

from shardtools.execution import Failed, Message, run_forks, stop_on_sigterm
from shardtools.execution.channel import pack, unpack
from shardtools.overlays import open_overlay_at
from shardtools.sources import SourceOptions
from shardtools.training.messages import TrainingEnded
from shardtools.training.options import TrainOptions
from shardtools.training.recipe import Recipe
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

MessageT = TypeVar("MessageT", bound=Message)

NUM_IMAGES = 96
NUM_CLASSES = 3
STEPS_PER_EPOCH = 6
_PATIENCE_SECONDS = 120.0

RECIPE = Recipe(
    name="test",
    encoder="resnet-micro",
    head="ocm",
    projector_layers=1,
    projector_hidden=16,
    projector_bottleneck=8,
    memory_size=40,
    memory_momentum=0.9,
    image_size=16,
    num_local=1,
    local_size=16,
    eval_resize=16,
    epochs=2,
    batch_size=NUM_IMAGES // STEPS_PER_EPOCH,
    base_lr=0.1,
    lr_batch_size=16,
    warmup_epochs=0.5,
)


def write_drawings(out: str | Path, source: Path, *, first: int = 0, count: int = NUM_IMAGES) -> str:
    """A dataset of drawings in three classes, split "train"."""
    files = {f"train/class{number % NUM_CLASSES}/{number}.jpg": jpeg(number) for number in range(first, first + count)}
    write_in_process(
        WriteOptions(source=SourceOptions(source=str(write_files(source, files))), out=str(out), samples_per_shard=20)
    )
    return str(out)


def options(dataset: str, out: Path, *, recipe: Recipe = RECIPE, **changes: Any) -> TrainOptions:
    """A run on one thread; `changes` of `TrainOptions` or, with "recipe_" before the name, of its recipe."""
    of_recipe = {
        name.removeprefix("recipe_"): changes.pop(name) for name in list(changes) if name.startswith("recipe_")
    }
    wanted: dict[str, Any] = {"device": "cpu", "log_steps": 1, "threads": 1, "compute_threads": 1, "tensorboard": False}
    return TrainOptions(
        datasets=(dataset,), out=str(out), recipe=replace(recipe, **of_recipe), record=True, **{**wanted, **changes}
    )


class Run:
    """A run on its way, in processes of this machine."""

    def __init__(self, wanted: TrainOptions, num_processes: int = 1, *, memory_bytes: int | None = None) -> None:
        self.out = Path(wanted.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self._log = self.out / f"messages-{time.monotonic_ns()}"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["shardtools.pipelines.train.run", "shardtools.pipelines.train.job"])
        self.process: ForkServerProcess = context.Process(
            target=_run, args=(wanted, num_processes, str(self._log), dict(os.environ), memory_bytes)
        )
        self.process.start()

    def messages(self) -> list[Message]:
        """Those that were told in full."""
        return list(unpack(bytearray(self._log.read_bytes()))) if self._log.exists() else []

    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """Messages of one kind."""
        return [message for message in self.messages() if isinstance(message, kind)]

    def wait_for(self, is_there: Callable[[Run], bool]) -> None:
        """Waits until something was told."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_there(self):
            if not self.process.is_alive() and not is_there(self):
                raise AssertionError(f"the run ended before: {self.messages()}")
            if time.monotonic() > end:
                raise AssertionError(f"not told in {_PATIENCE_SECONDS} seconds: {self.messages()}")
            time.sleep(0.005)

    def kill(self) -> None:
        """As a power cut would: the ranks die with their parent."""
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """Asks it to end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> list[Message]:
        """Waits for it; its messages."""
        self.process.join(_PATIENCE_SECONDS)
        assert self.process.exitcode is not None
        return self.messages()

    def done(self) -> Run:
        """Waits for it to end well."""
        messages = self.end()
        assert [m.reason for m in messages if isinstance(m, TrainingEnded)] == ["done"], messages
        return self

    def error(self) -> Failed:
        """Waits for it to fail with one line."""
        errors = [message for message in self.end() if isinstance(message, Failed)]
        assert errors and self.process.exitcode == 1
        return errors[0]

    def checkpoints(self) -> list[int]:
        """Steps of those on the disk."""
        return [int(path.name.removeprefix("step-")) for path in sorted((self.out / "checkpoints").glob("step-*"))]

    def weights(self) -> bytes:
        """The file of the final weights."""
        return (self.out / "model.safetensors").read_bytes()

    def records(self, epoch: int, name: str = "records") -> list[dict[str, Any]]:
        """What was noted of the samples of an epoch."""
        rows: list[dict[str, Any]] = open_overlay_at(str(self.out / name)).read().to_pylist()
        return [row for row in rows if row["epoch"] == epoch]

    def losses(self) -> list[float]:
        """Of each step."""
        return [line["loss"] for line in self.metrics() if line["kind"] == "step"]

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics, without what a clock measured."""
        lines = [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in ("images_per_second", "data_wait")} for line in lines]


class Here(Run):
    """The same in this process, as one of one: without the seconds that a fork of torch takes."""

    def __init__(self, wanted: TrainOptions, *, stop_at: Callable[[Message], bool] = lambda message: False) -> None:
        """Trains to the end, or until the step after a message for which `stop_at` is true."""
        import torch
        from accelerate.state import AcceleratorState

        from shardtools.pipelines.train.run import Run as Training
        from shardtools.training.data import Share

        # Accelerate keeps the precision of the first run of a process.
        AcceleratorState._reset_state(reset_partial_state=True)
        torch.set_num_threads(1)
        self.out, self._messages, stop = Path(wanted.out), list[Message](), threading.Event()

        def hear(message: Message) -> None:
            self._messages.append(message)
            if stop_at(message):
                stop.set()

        run = Training(wanted, Share(), torch.device("cpu"), hear, stop)
        try:
            run.train()
        finally:
            run.close()

    def messages(self) -> list[Message]:
        return self._messages


def _run(
    wanted: TrainOptions, num_processes: int, log: str, environment: dict[str, str], memory_bytes: int | None
) -> None:
    """In a fork of the server that has imported torch."""
    import resource

    from shardtools.pipelines.train.job import run_fork

    if memory_bytes is not None:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes, held + memory_bytes))
    # The server that forks was started earlier, with what was set then.
    os.environ.update(environment)
    stop: threading.Event = stop_on_sigterm()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def report(message: Message) -> None:
        os.write(file, pack(message))

    sys.exit(run_forks(wanted, num_processes, run_fork, report, stop, 20.0))
