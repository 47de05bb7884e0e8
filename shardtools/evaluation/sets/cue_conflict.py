"""Cue conflict: a picture has the shape of one category and the texture of another; which one does the model say?

Owns how file names are read, the three ways from 207 classes to 16 categories, and which pictures count (Geirhos et al.
2019, section 2.3 and figure 4). The ways differ on a fifth of the pictures, so each result names its own:

    max   the category of the likeliest of the fine classes (seed 001: eminorhan/ood-benchmarks)
    mean  the category whose classes are likeliest on average: mean of softmax (the authors' own rule for networks)
    sum   the category whose classes are likeliest together: a large category wins more often

The price of 207 fine classes: all logits of a picture must have been kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Float32s, Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.sets.restricting import check_finite, outputs_of, softmax
from shardtools.words import counted

DECISIONS = ("max", "mean", "sum")

# At the end of a key or of a file's stem, after the folders that a key begins with: "airplane_airplane1-bicycle2".
_PAIR = re.compile(r"(?:^|[^A-Za-z0-9])(?P<shape>[A-Za-z]+)[0-9]+-(?P<texture>[A-Za-z]+)[0-9]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class CueCounts:
    """What a model said of the pictures of a cue-conflict set.

    Attributes:
        decision: One of `DECISIONS`.
        num_shape: Conflicts in which it said the shape's category.
        num_texture: Conflicts in which it said the texture's.
        num_conflicts: Pictures whose shape and texture are of two categories.
        num_agreeing: Pictures whose shape and texture agree; they are left out.
    """

    decision: str
    num_shape: int
    num_texture: int
    num_conflicts: int
    num_agreeing: int

    @property
    def share_correct(self) -> float:
        """Share of conflicts in which it said either of the two, 0 to 1; NaN without conflicts."""
        return (self.num_shape + self.num_texture) / self.num_conflicts if self.num_conflicts else float("nan")


def read_pair(name: str) -> tuple[str, str]:
    """Categories of shape and texture out of a key or file name: "airplane1-bicycle2.png" gives airplane and bicycle.

    Args:
        name: A key, or a path with or without its extension.

    Raises:
        DatasetError: It has no such form.
    """
    stem = name.rpartition("/")[2].rpartition(".")[0] or name.rpartition("/")[2]
    found = _PAIR.search(stem)
    if found is None:
        raise DatasetError(
            f"{name}: expected a name such as airplane1-bicycle2 (shape, number, texture, number): rename it, or give "
            "the dataset an overlay `cue_conflict` with the columns key, shape, texture"
        )
    return found["shape"], found["texture"]


def decide(
    logits: Float32s, model_classes: Sequence[str] | None, categories: Mapping[str, Sequence[str]], decision: str
) -> Int64s:
    """The category that a model sees in each picture, int64 [N], as a position in the order of `categories`.

    Args:
        logits: Of all outputs, [N, C], finite.
        model_classes: Wnid of each output.
        categories: Name -> wnids, none in two.
        decision: One of `DECISIONS`.

    Raises:
        OptionError: No such decision, or the model knows no class of a category.
        DatasetError: A logit is not finite.
    """
    if decision not in DECISIONS:
        raise OptionError(f"a decision is one of {', '.join(DECISIONS)}, found {decision!r}")
    columns = [_outputs_of(model_classes, name, wnids) for name, wnids in categories.items()]
    logits = np.asarray(logits, np.float32)
    check_finite(logits)
    if decision == "max":
        scores = np.stack([logits[:, column].max(axis=1) for column in columns], axis=1).astype(np.float64)
    else:
        probabilities = softmax(logits)
        join = np.mean if decision == "mean" else np.sum
        scores = np.stack([join(probabilities[:, column], axis=1) for column in columns], axis=1)
    return scores.argmax(axis=1).astype(np.int64)


def count_cues(shapes: Int64s, textures: Int64s, decided: Int64s, decision: str) -> CueCounts:
    """Counts the decisions for shape and for texture among the pictures whose two categories differ.

    Args:
        shapes: Category of each picture's shape, int64 [N].
        textures: Of its texture.
        decided: What the model said.
        decision: How the last came about.
    """
    conflicts = shapes != textures
    return CueCounts(
        decision=decision,
        num_shape=int((conflicts & (decided == shapes)).sum()),
        num_texture=int((conflicts & (decided == textures)).sum()),
        num_conflicts=int(conflicts.sum()),
        num_agreeing=int((~conflicts).sum()),
    )


def positions(names: Sequence[str], categories: Mapping[str, Sequence[str]], what: str) -> Int64s:
    """Categories by name as positions in the order of `categories`, int64 [N].

    Raises:
        DatasetError: One is none of them.
    """
    position = {name: number for number, name in enumerate(categories)}
    unknown = next((name for name in names if name not in position), None)
    if unknown is not None:
        raise DatasetError(
            f"{what} {unknown!r} is none of the {counted(len(position), 'category', 'categories')} ("
            f"{', '.join(position)}): rename it, or leave the picture out"
        )
    return np.array([position[name] for name in names], np.int64)


def _outputs_of(model_classes: Sequence[str] | None, name: str, wnids: Sequence[str]) -> Int64s:
    try:
        return outputs_of(model_classes, wnids)
    except OptionError as error:
        raise OptionError(f"category {name}: {error}") from None
