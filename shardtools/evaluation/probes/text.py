"""What a probe found as a table for people: a line a number of shots, mean and deviation over seeds."""

from __future__ import annotations

from shardtools.evaluation.metrics import METRICS, printed_value
from shardtools.evaluation.probes.result import CLASS_MEAN, TOP1, ProbeResult, over_seeds


def text_table(result: ProbeResult) -> tuple[list[str], list[list[str]]]:
    """Titles of the columns, and the cells of each line."""
    means = over_seeds(result.results)
    header = ["learnt from", *(METRICS[metric].short for metric in (TOP1, CLASS_MEAN)), "seeds"]
    rows = []
    for one in means:
        if one.row.metric != TOP1:
            continue
        others = [other for other in means if (other.row.metric, other.row.split) == (CLASS_MEAN, one.row.split)]
        cells = [
            f"{printed_value(found.row.metric, found.row.value)} +- {100 * found.deviation:.2f}"
            for found in (one, *others)
        ]
        rows.append([_learnt_from(one.row.split), *cells, str(one.num_seeds)])
    return header, rows


def _learnt_from(split: str) -> str:
    return f"{split.removeprefix('shots/')} a class" if split else "all images"
