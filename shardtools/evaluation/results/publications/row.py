"""A published figure as a row of results.

Owns what such rows have in common: a known metric, no seed, and the study that they belong to.
"""

from __future__ import annotations

from shardtools.evaluation.metrics import METRICS
from shardtools.evaluation.results.result import Result

STUDY = "ood"


def published_row(
    model: str,
    dataset: str,
    metric: str,
    value: float,
    *,
    source: str,
    study: str = STUDY,
    split: str = "",
    protocol: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Result:
    """A row; a metric that `METRICS` lacks is a mistake of ours."""
    assert metric in METRICS
    return Result(
        study=study,
        model=model,
        dataset=dataset,
        split=split,
        protocol=protocol,
        metric=metric,
        value=value,
        low=low,
        high=high,
        source=source,
    )
