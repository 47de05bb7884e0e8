"""Shape or texture: which of two cues a network follows (Geirhos et al. 2019, "ImageNet-trained CNNs are biased").

Owns the three decisions by which 1,000 outputs become one of 16 categories. They give different answers on a fifth of
the pictures, so a shape bias without the name of its decision is no figure. Pairs whose two cues agree say nothing of
a bias: they are left out, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError
from shardtools.evaluation.metrics.intervals import wilson_interval
from shardtools.evaluation.metrics.logits import checked_logits

DECISIONS: dict[str, str] = {
    "max": "the category of the largest of all logits that belong to one (seed 001)",
    "mean": "the category with the largest mean probability of its classes (the authors' README)",
    "sum": "the category with the largest summed probability, which favours those with many classes",
}
"""Name -> the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeBias:
    """Decisions on pictures whose shape is of one category and whose texture of another.

    Attributes:
        num_shape: Decisions for the shape's category.
        num_texture: For the texture's.
        num_other: For neither.
        num_agreeing: Pictures left out because both cues are of one category.
    """

    num_shape: int
    num_texture: int
    num_other: int
    num_agreeing: int = 0

    @property
    def bias(self) -> float | None:
        """Shape decisions of shape and texture decisions, 0 to 1; `None` where there is neither."""
        decided = self.num_shape + self.num_texture
        return self.num_shape / decided if decided else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's of the bias, of 95 %."""
        decided = self.num_shape + self.num_texture
        return wilson_interval(self.num_shape, decided) if decided else None

    @property
    def accuracy(self) -> float | None:
        """Decisions for the shape or the texture of all that count, 0 to 1."""
        total = self.num_shape + self.num_texture + self.num_other
        return (self.num_shape + self.num_texture) / total if total else None


def decide_category(logits: npt.ArrayLike, output_to_category: npt.ArrayLike, decision: str) -> npt.NDArray[np.int64]:
    """One category a picture.

    Args:
        logits: `[N, C]`.
        output_to_category: Category of each output, int `[C]`, from 0; -1 for outputs of none.
        decision: One of `DECISIONS`. Probabilities are a softmax; over which outputs changes no answer.

    Returns:
        Int64 `[N]`, the lowest of equals.

    Raises:
        OptionError: The decision is none of them, a logit is not finite, or outputs and categories do not fit.
    """
    if decision not in DECISIONS:
        raise OptionError(f"the decision is one of {', '.join(DECISIONS)}, found {decision!r}")
    found = checked_logits(logits)
    category = np.asarray(output_to_category)
    if category.shape != (found.shape[1],):
        raise OptionError(f"{found.shape[1]} outputs and categories of {category.size}: expected one an output")
    numbers = np.unique(category[category >= 0])
    if not np.array_equal(numbers, np.arange(numbers.size)) or numbers.size == 0:
        raise OptionError(f"categories {numbers.tolist()} have outputs: expected each from 0 on to have one at least")
    # By category one after another: 16 slices of at most a hundred columns.
    evidence = [_evidence(found[:, category == number], decision) for number in numbers]
    return np.asarray(np.argmax(evidence, axis=0), np.int64)


def shape_bias(decided: npt.ArrayLike, shape: npt.ArrayLike, texture: npt.ArrayLike) -> ShapeBias:
    """Counts decisions for the shape and for the texture.

    Args:
        decided: Category that a network chose, int `[N]`.
        shape: Of the picture's shape, int `[N]`.
        texture: Of its texture, int `[N]`.

    Raises:
        OptionError: They are not as many.
    """
    answers, shapes, textures = np.asarray(decided), np.asarray(shape), np.asarray(texture)
    if not answers.shape == shapes.shape == textures.shape:
        raise OptionError(f"{answers.size} decisions, {shapes.size} shapes, {textures.size} textures: expected as many")
    conflicts = shapes != textures
    for_shape = int(np.count_nonzero(conflicts & (answers == shapes)))
    for_texture = int(np.count_nonzero(conflicts & (answers == textures)))
    num_conflicts = int(np.count_nonzero(conflicts))
    return ShapeBias(
        num_shape=for_shape,
        num_texture=for_texture,
        num_other=num_conflicts - for_shape - for_texture,
        num_agreeing=answers.size - num_conflicts,
    )


def _evidence(logits: npt.NDArray[Any], decision: str) -> npt.NDArray[np.float64]:
    """What a decision compares, `[N]`, of the outputs of one category; a logarithm of probabilities less a constant."""
    highest = np.asarray(logits.max(axis=1), np.float64)
    if decision == "max":
        return highest
    summed = highest + np.log(np.exp(logits.astype(np.float64) - highest[:, None]).sum(axis=1))
    return np.asarray(summed - np.log(logits.shape[1])) if decision == "mean" else np.asarray(summed)
