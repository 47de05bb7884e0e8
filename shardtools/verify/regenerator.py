"""A process with torch that generates batches on request, for repair and regenerate.

Owns that process and ends it with itself. One process, whatever the number of GPUs, because few shards are bad. The
price: repairing a hundred shards takes as long as one GPU takes.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from shardtools.dataset import PlanFile
from shardtools.errors import ModelError, RunError
from shardtools.generation import ResolvedModel, resolve_model
from shardtools.generation.plan import GeneratorSettings, PlanRow
from shardtools.generation.preparing import count_gpus
from shardtools.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class RegeneratorSetup:
    """What the process is told before the first batch.

    Attributes:
        model_path: Folder of the pipeline.
        model_id: Name that goes into the samples.
        plan_id: Likewise.
        prompt_template: Likewise.
        settings: How images are made.
    """

    model_path: Path
    model_id: str
    plan_id: str
    prompt_template: str
    settings: GeneratorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RegeneratorRequest:
    """One batch: at most `batch_size` rows with their seeds; a short one is padded with its last row.

    Attributes:
        rows: What to generate.
        attempt: Recorded in the samples.
    """

    rows: tuple[PlanRow, ...]
    attempt: int


class Regenerator:
    """Generates batches in a process of its own; use it as a context manager."""

    def __init__(self, setup: RegeneratorSetup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> Regenerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._errors is not None:
            self._errors.close()

    def generate(self, rows: Sequence[PlanRow], attempt: int = 1) -> list[Sample]:
        """Generates rows in consecutive batches, the last one padded, as `gen-sd` does.

        Args:
            rows: What to generate, each with the seed to use.
            attempt: Recorded in the samples.

        Returns:
            One sample a row; those that failed have no bytes.

        Raises:
            ModelError: The pipeline cannot be loaded.
            RunError: The process failed or was killed.
        """
        samples: list[Sample] = []
        for batch in batches(rows, self._setup.settings.batch_size):
            samples += self._ask(RegeneratorRequest(rows=tuple(batch), attempt=attempt))
        return samples

    def _ask(self, request: RegeneratorRequest) -> list[Sample]:
        try:
            if self._process is None:
                self._start()
            process = self._process
            assert process is not None and process.stdin is not None and process.stdout is not None
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            # One question, one answer: neither side can fill the other's pipe.
            answer: Any = pickle.load(process.stdout)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            raise RunError(f"the generating process ended: {self._last_words()}: run the same command again") from None
        if isinstance(answer, Exception):
            raise answer
        found: list[Sample] = answer
        return found

    def _start(self) -> None:
        threads = str(self._setup.settings.threads_per_process)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "shardtools.pipelines.generate.regenerate", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        assert self._process.stdin is not None
        pickle.dump(self._setup, self._process.stdin)

    def _last_words(self) -> str:
        assert self._process is not None and self._errors is not None
        code = self._process.wait()
        if code < 0:
            return f"killed by signal {-code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}: {lines[-1] if lines else 'no message'}"


def batches(rows: Sequence[PlanRow], batch_size: int) -> Iterator[Sequence[PlanRow]]:
    """Consecutive runs of `batch_size` rows, the last one shorter."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def find_model(plan: PlanFile, wanted: str | None, expected_digest: str) -> ResolvedModel:
    """The pipeline that made a dataset.

    Args:
        plan: The dataset's plan, whose notes name it.
        wanted: Folder or hub id; `None`: by that name.
        expected_digest: sha256 that the dataset records.

    Raises:
        ModelError: It is not here, or it is another one.
    """
    model_id = str(plan.notes.get("model_id"))
    try:
        model = resolve_model(wanted or model_id)
    except ModelError as error:
        if wanted is not None:
            raise
        raise ModelError(
            f"the images were made by model {model_id!r}, which is not found here ({error}): give its folder with "
            "--model"
        ) from None
    if model.digest != expected_digest:
        raise ModelError(
            f"the images were made by model {model_id!r} with digest {expected_digest}, found digest {model.digest} in "
            f"{model.path}: give the folder of the same weights with --model"
        )
    return model


def on_device(settings: GeneratorSettings, device: str) -> GeneratorSettings:
    """The settings for a device: the one asked for, or with "auto" the kind that the plan was made for.

    Raises:
        RunError: It is a GPU, and this machine has none.
    """
    kind = settings.device if device == "auto" else device
    if kind == "cuda" and not count_gpus():
        raise RunError(
            "the images were made on a GPU, this machine has none: go to one that has, or take --device cpu, which "
            "gives similar images and not the same bytes"
        )
    return replace(settings, device=kind)
