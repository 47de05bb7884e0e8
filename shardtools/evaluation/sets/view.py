"""What a model said of a test set, with what the manifest says of its pictures.

Owns the join of predictions and manifest, by key, and the check that no file was resized twice. The price of arrays:
all rows of one set are in memory, with all logits 2 bytes a class and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from shardtools.arrays import Float64s, Int64s
from shardtools.errors import DatasetError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.quoting import shell_word


@dataclass(frozen=True, kw_only=True, eq=False)
class SetView:
    """Predictions of a model for a test set, a row a picture (or a picture and a corruption of it).

    Attributes:
        dataset: Address, as it was given.
        source: Where the predictions are.
        model: What judged.
        keys: Of the pictures, N.
        wnids: Name of each one's class in the dataset; `None` where it has none.
        paths: Where each lay in its source; the key where that is not known.
        labels: The given label as an output of the model, -1 for none; int64 [N].
        classes: Likeliest outputs, likeliest first, int64 [N, M].
        confidence: Probability of the likeliest, softmax over all outputs, float64 [N].
        rank: Of the label among all outputs, 1 the likeliest, 0 where there is none; int64 [N].
        logits: All, floating [N, C]; `None` where they were not kept.
        corruption: What was done to each picture, "" for nothing.
        severity: 1 to 5, 0 for none; int64 [N].
        frame: Position in its sequence, -1 for none; int64 [N].
        cues: Categories of shape and texture of each picture, in a set of such; else `None`.
        num_unread: Pictures that could not be read; they are in no row.
    """

    dataset: str
    source: str
    model: ModelFacts
    keys: Sequence[str] = field(repr=False)
    wnids: Sequence[str | None] = field(repr=False)
    paths: Sequence[str] = field(repr=False)
    labels: Int64s
    classes: Int64s
    confidence: Float64s
    rank: Int64s
    logits: npt.NDArray[Any] | None
    corruption: Sequence[str] = field(repr=False)
    severity: Int64s
    frame: Int64s
    cues: Sequence[tuple[str, str]] | None = field(default=None, repr=False)
    num_unread: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def all_logits(self) -> npt.NDArray[Any]:
        """All logits.

        Raises:
            DatasetError: They were not kept.
        """
        if self.logits is None:
            raise DatasetError(
                f"{self.source} has the five likeliest classes alone, and this set needs all logits: predict again "
                f"with the same options and --logits all --replace --name {shell_word(self.source.rpartition('/')[2])}"
            )
        return self.logits

    @property
    def preprocessing(self) -> str:
        """In words, for the protocol of a figure."""
        model = self.model
        first = (
            f"resize {model.resize} and crop {model.image_size}" if model.crop == "center" else f"{model.image_size}"
        )
        more = "" if model.enlarge is None else f", enlarged to {model.enlarge}"
        return f"{first} {model.interpolation}{more}"
