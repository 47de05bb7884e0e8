"""What the page's script is given: samples, suspects, pairs and outliers as compact JSON.

Owns the shape of that JSON, which `page/data.js` reads. Rows are arrays without names, and samples and classes are
numbers; the price of a third of the bytes is that both sides have to agree on places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shardtools.report.facts import DatasetFacts, class_names
from shardtools.report.outliers import OutlierKind
from shardtools.report.pairs import Pair, Pairs
from shardtools.report.reading import Missing, Tables
from shardtools.report.suspects import Suspects

_MAX_PROMPT_CHARACTERS = 300
_KEYS_PER_STATEMENT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the overlays gave, or why they did not."""

    suspects: Suspects | Missing
    pairs: Pairs | Missing
    outliers: tuple[OutlierKind, ...] | Missing


def wished_pictures(findings: Findings, pixels: int) -> list[tuple[str, int]]:
    """(key, longer side in pixels) of every sample on the page, the most wanted first; neighbours come last."""
    suspects = findings.suspects.shown if isinstance(findings.suspects, Suspects) else ()
    pairs = findings.pairs.shown if isinstance(findings.pairs, Pairs) else ()
    kinds = findings.outliers if isinstance(findings.outliers, tuple) else ()
    wishes = [(pair.copy_key, pixels) for pair in pairs]
    wishes += [(pair.key, pixels) for pair in pairs if pair.dataset is None]
    wishes += [(outlier.key, pixels) for kind in kinds for outlier in kind.shown]
    # The first wish for a key decides on its size, and all of these ask for the same.
    wishes = [(suspect.key, pixels) for suspect in suspects] + wishes
    small = max(round(pixels * 4 / 7), 32)
    return wishes + [(key, small) for suspect in suspects for key in suspect.neighbors]


def read_samples(tables: Tables, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Manifest rows by key; unknown keys (neighbours in another dataset) have none."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), _KEYS_PER_STATEMENT):
        rows = tables.rows(
            "select key, split, class_index, shard, member_offset, num_bytes, image_format, width, height, prompt "
            "from samples where key in (select unnest($keys::varchar[]))",
            keys=list(keys[start : start + _KEYS_PER_STATEMENT]),
        )
        found |= {row["key"]: row for row in rows}
    return found


class _Numbers:
    """Values -> their places in a list."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def of(self, value: str) -> int:
        return self.places.setdefault(value, len(self.places))


class _Samples(_Numbers):
    """Samples -> their places; those of other datasets are told apart by a mark that no key holds."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: dict[str, Pair] = {}

    def of_pair(self, pair: Pair) -> int:
        if pair.dataset is None:
            return self.of(pair.key)
        mark = f"{pair.dataset}\0{pair.key}"
        self.elsewhere[mark] = pair
        return self.of(mark)


def page_content(
    facts: DatasetFacts,
    findings: Findings,
    rows: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, int],
) -> dict[str, Any]:
    """The JSON of the page, without the pictures.

    Args:
        facts: For names of classes and the digest.
        findings: What is shown.
        rows: Key -> manifest row.
        numbers: Key -> its picture's place.
    """
    samples, splits = _Samples(), _Numbers()
    # In the order of the page's lists; a split that only another dataset has is added behind them, at first use.
    for split in facts.splits:
        splits.of(split)
    # These three number the samples as they meet them; the list of samples below is only right after all of them.
    suspects = _suspects(findings.suspects, samples)
    pairs = _pairs(findings.pairs, samples)
    outliers = _outliers(findings.outliers, samples)
    content = {
        "dataset": facts.url,
        "sha256": facts.sha256,
        "classes": _classes(facts, suspects.get("rows", ())),
        "suspects": suspects,
        "pairs": pairs,
        "outliers": outliers,
        "samples": [
            _elsewhere(samples.elsewhere[key], splits)
            if key in samples.elsewhere
            else _sample(key, rows.get(key), splits, numbers.get(key, -1))
            for key in samples.places
        ],
    }
    # Last, when all splits are known.
    return content | {"splits": list(splits.places)}


def _suspects(suspects: Suspects | Missing, samples: _Numbers) -> dict[str, Any]:
    if isinstance(suspects, Missing):
        return {"scores": [], "rows": []}
    return {
        "scores": list(suspects.score_names),
        "rows": [
            [
                samples.of(one.key),
                one.given,
                one.suggested,
                _short(one.probability),
                _short(one.noise_probability),
                [_short(score) for score in one.scores],
                [samples.of(key) for key in one.neighbors],
            ]
            for one in suspects.shown
        ],
    }


def _pairs(pairs: Pairs | Missing, samples: _Samples) -> list[list[Any]]:
    if isinstance(pairs, Missing):
        return []
    return [
        [samples.of_pair(one), samples.of(one.copy_key), _short(one.distance), one.kind, int(one.is_leak)]
        for one in pairs.shown
    ]


def _outliers(kinds: tuple[OutlierKind, ...] | Missing, samples: _Numbers) -> list[dict[str, Any]]:
    if isinstance(kinds, Missing):
        return []
    return [
        {
            "name": kind.name,
            "measure": kind.measure,
            "total": kind.num_all,
            "rows": [[samples.of(one.key), _short(one.value)] for one in kind.shown],
        }
        for kind in kinds
    ]


def _classes(facts: DatasetFacts, suspects: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """[label, name, wnid], with labels that only an audit knows."""
    known = {one.class_index: [one.class_index, one.name, one.wnid] for one in facts.classes}
    named = {label for row in suspects for label in row[1:3] if label is not None and label not in known}
    others = class_names(dict.fromkeys(sorted(named)))
    return [*known.values(), *([label, name, None] for label, name in others.items())]


def _sample(key: str, row: Mapping[str, Any] | None, splits: _Numbers, picture: int) -> list[Any]:
    if row is None:
        return [key, -1, None, None, None, -1, None]
    prompt = row["prompt"]
    return [
        key,
        splits.of(row["split"]),
        row["class_index"],
        row["width"],
        row["height"],
        picture,
        None if prompt is None else prompt[:_MAX_PROMPT_CHARACTERS],
    ]


def _elsewhere(pair: Pair, splits: _Numbers) -> list[Any]:
    split = -1 if pair.split is None else splits.of(pair.split)
    return [pair.key, split, None, None, None, -1, None, pair.dataset]


def _short(value: float | None) -> float | None:
    """Four significant digits: what a page shows, in a third of the bytes."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
