"""One rank of a training run that may be killed at any moment: writes down what it got after each batch."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from shardtools.loader import Loader, LoaderState
from tests.helpers.loader_datasets import options


def run(dataset: str, changes: dict[str, Any], state: str | None, log: Path, pause_seconds: float) -> None:
    """Reads to the end of the epoch.

    Args:
        dataset: Its folder.
        changes: Of the loader's options.
        state: Where to go on.
        log: Gets a line a batch, on the disk before the next batch is taken.
        pause_seconds: What a training step takes.
    """
    with Loader(options(dataset, **changes)) as loader, log.open("wb", buffering=0) as stream:
        if state is not None:
            loader.load_state(LoaderState.from_json(state))
        for batch in loader.epoch(loader.state().epoch):
            once = len(batch.keys) - len(batch.repeated)
            images = [hashlib.sha256(image.tobytes()).hexdigest() for image in batch.images[:once]]
            line = {"keys": batch.keys[:once], "images": images, "state": loader.state().to_json()}
            stream.write(json.dumps(line).encode() + b"\n")
            os.fsync(stream.fileno())
            time.sleep(pause_seconds)


def read_log(log: Path) -> list[dict[str, Any]]:
    """The lines that were written in full."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]]
