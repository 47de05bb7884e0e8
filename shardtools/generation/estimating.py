"""What a run would cost: images, shards, bytes and time, from a measured speed.

Owns the record of measured speeds. The price of measuring instead of guessing: the first dry run with a model on a
machine makes one batch, which loads the model.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from shardtools.documents import read_json
from shardtools.generation.model import cache_folder
from shardtools.generation.preparing import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The cost of a plan.

    Attributes:
        num_images: Rows of the plan.
        num_shards: Shards.
        num_classes: Classes.
        num_distinct_prompts: Prompts that are encoded.
        num_bytes: Expected size of all images, from the measured mean.
        seconds: Expected wall time on this machine.
        images_per_second: Measured, over all processes.
        num_processes: Processes that the time is for.
    """

    num_images: int
    num_shards: int
    num_classes: int
    num_distinct_prompts: int
    num_bytes: int
    seconds: float
    images_per_second: float
    num_processes: int


def estimate(prepared: Prepared) -> Estimate | None:
    """The cost of the plan by the speed that this machine reached last with the same settings; `None` without one."""
    plan = prepared.plan
    known = _known().get(_name(prepared))
    if known is None:
        return None
    return Estimate(
        num_images=plan.num_rows,
        num_shards=plan.num_shards,
        num_classes=len(plan.options.classes),
        num_distinct_prompts=plan.num_distinct_prompts(),
        num_bytes=round(plan.num_rows * known["bytes_per_image"]),
        seconds=plan.num_rows / known["images_per_second"],
        images_per_second=known["images_per_second"],
        num_processes=prepared.num_processes,
    )


def remember_speed(prepared: Prepared, *, images: int, num_bytes: int, seconds: float) -> None:
    """Notes the speed of a run for later estimates."""
    if seconds <= 0:
        return
    known = _known()
    known[_name(prepared)] = {"images_per_second": images / seconds, "bytes_per_image": num_bytes / images}
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=1))
    temporary.replace(path)


def _path() -> Path:
    return cache_folder() / "speeds.json"


def _known() -> dict[str, dict[str, float]]:
    try:
        found = read_json(_path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _name(prepared: Prepared) -> str:
    facts = {**asdict(prepared.plan.options.generator), "num_processes": prepared.num_processes}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
