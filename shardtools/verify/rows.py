"""From manifest rows back to what was asked of the generator: plan rows, seeds, attempts, settings.

Owns the reconstruction of what was generated together. An image is bit-identical only at the batch size, and on some
devices only at the place in the batch, that it was made at, so batches are put together again as they were; the price
is that a whole batch is generated for one image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from shardtools.generation.plan import GeneratorSettings, PlanRow

_PLAN_COLUMNS = tuple(field.name for field in fields(PlanRow))
_RECORDED_SETTINGS = (
    "model_digest",
    "guidance_scale",
    "num_inference_steps",
    "scheduler",
    "negative_prompt",
    "dtype",
    "batch_size",
    "threads_per_process",
    "width",
    "height",
)


def attempt_rows(rows: Sequence[Mapping[str, Any]], attempt: int) -> list[PlanRow]:
    """What was generated together in an attempt: every row in the first, then those that had failed until then.

    A row that failed and was made again later keeps only its latest seed. In an earlier attempt it holds its place in
    the batch, and what is generated for it there is not used.

    Args:
        rows: All rows of a part, in its order.
        attempt: 1 or more.
    """
    return [PlanRow(**{name: row[name] for name in _PLAN_COLUMNS}) for row in rows if (row["attempt"] or 1) >= attempt]


def recorded_settings(row: Mapping[str, Any], planned: GeneratorSettings) -> GeneratorSettings:
    """The settings that a row with an image records; the plan's for JPEG quality, safety, compilation and device."""
    return replace(planned, **{name: row[name] for name in _RECORDED_SETTINGS})


def attempt_of(shard: str) -> int:
    """The attempt whose images "shards/train-000012-attempt2.tar" holds: 2; 1 where the name has none."""
    match = re.search(r"-attempt(\d+)\.tar$", shard)
    return int(match[1]) if match else 1
