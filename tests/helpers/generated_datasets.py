"""Datasets for tests, made by the real job in this process or by the real command in another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from shardtools.dataset import DatasetInfo
from shardtools.generation import GenerateOptions, begin, prepare
from shardtools.generation.launch import commit_if_whole
from shardtools.pipelines.generate.job import run_rank
from shardtools.storage import open_storage

STEPS = 2


def options(model: Path, out: Path | str, /, **changes: Any) -> GenerateOptions:
    """Options of a small run: the fashion classes, two images of each, two steps, batches of four."""
    values = {
        "out": str(out),
        "model": str(model),
        "classes": "fashion",
        "images_per_class": 2,
        "num_inference_steps": STEPS,
        "batch_size": 4,
    }
    return GenerateOptions(**{**values, **changes})


def generate_here(wanted: GenerateOptions) -> DatasetInfo:
    """Runs the whole job as one rank in this process: torch is imported once for all tests."""
    torch.set_num_threads(wanted.threads_per_process)
    prepared = prepare(wanted)
    storage = open_storage(wanted.out)
    job = begin(prepared, storage, retry_failed=wanted.retry_failed)
    run_rank(job, 0, 1, torch.device("cpu"), lambda message: None, threading.Event())
    info = commit_if_whole(prepared, storage)
    assert info is not None
    return info


def arguments(model: Path, out: Path | str, *further: str) -> list[str]:
    """The command line of the same small run."""
    return [
        *("gen-sd", "--model", str(model), "--out", str(out), "--classes", "fashion", "--images-per-class", "2"),
        *("--num-inference-steps", str(STEPS), "--batch-size", "4", *further),
    ]


def command(*words: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Starts `shardtools WORDS` in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "shardtools", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        cwd=cwd,
    )


def run(*words: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs `shardtools WORDS` to its end: exit code, standard output, standard error.

    Without what is only said on a machine so busy that a moment takes seconds.
    """
    process = command(*words, environment=environment, cwd=cwd)
    output, errors = process.communicate()
    said = [line for line in errors.splitlines(keepends=True) if not line.endswith((" so far\n", " left\n"))]
    return process.returncode, output, "".join(said)


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file that a dataset promises to be the same, by path: all but the event log."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("events/")}
