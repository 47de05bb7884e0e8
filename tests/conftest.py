"""What every test runs under: one thread a process, no network, the same examples each time."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
from pathlib import Path

# Until all tests are imported: the garbage collector looks at every object of torch and a hundred files again and again
# and finds nothing, for two fifths of the CPU that this takes a process.
gc.disable()

# Before torch or numpy is imported, here or in a process that a test starts: threads that fight over two cores made a
# batch that takes half a second take forty.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Processes that tests start compile this package once, not each for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A test that asks a hub for a model must fail at once, with or without a network.
os.environ["HF_HUB_OFFLINE"] = "1"

# An optimizer of torch loads it, and its LLVM after that of OpenGL's software renderer is a segmentation fault: a test
# that trains would end the process in which another one has rendered. Builds of torch for the CPU alone have none.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from shardtools.cli import progress  # noqa: E402
from tests.helpers.s3_server import s3_environment, s3_server  # noqa: E402

__all__ = ["s3_environment", "s3_server"]

# What a command prints is compared to the letter, and a busy machine would make it add that it is not done yet.
progress.FIRST_SECONDS = 600.0

# No deadline: a busy machine is no bug. Derandomized: a test that passed passes again; look for new examples with
# `pytest --hypothesis-profile=search`.
settings.register_profile("default", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=2000, database=None)
settings.load_profile("default")

SLOW_FILES = (
    "pipelines/studies/test_imagenet_sd.py",
    "pipelines/train/test_processes.py",
    "generation/test_processes.py",
    "pipelines/train/test_options.py",
    "pipelines/test_embedded_generator.py",
    "generation/test_generation.py",
    "shards/test_streaming_peers.py",
)


def _below(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: run last, one of them would keep one process busy while the others wait."""
    items.sort(key=lambda item: SLOW_FILES.index(_below(item)) if _below(item) in SLOW_FILES else len(SLOW_FILES))


def pytest_collection_finish() -> None:
    """The collector wakes up, and leaves what was imported alone until the end, when libraries count what is left."""
    gc.freeze()
    atexit.register(gc.unfreeze)
    gc.enable()
