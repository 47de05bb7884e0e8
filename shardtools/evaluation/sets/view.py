"""What a model said of a test set, with what the manifest says of its pictures.

Owns the join of predictions and manifest, by key, and the check that no file was resized twice. The price of arrays:
all rows of one set are in memory, with all logits 2 bytes a class and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from shardtools.arrays import Float64s, Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions import CLEAN, Predictions
from shardtools.evaluation.sets.test_sets import TestSet
from shardtools.quoting import shell_word
from shardtools.sql import query

_FROM_MANIFEST = "select key, wnid, source_path, corruption, severity, frame, width, height from samples"


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
                f"with `shardtools predict {shell_word(self.model.name)} {shell_word(self.dataset)} --logits all "
                "--replace`"
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


def view_of(predictions: Predictions, test_set: TestSet, *, force: bool = False) -> SetView:
    """Joins predictions with the manifest.

    Args:
        predictions: As they were opened.
        test_set: Whether its files may be resized.
        force: Whether a second resize is let through.

    Raises:
        DatasetError: The predictions have no row, or a key that the dataset does not have.
        OptionError: The files have the size at which they are to be judged, and were resized all the same.
    """
    if not len(predictions):
        raise DatasetError(f"{predictions.overlay.url} has no picture that could be read: `shardtools verify` says why")
    samples = query(_FROM_MANIFEST, (predictions.dataset,))
    places = pc.index_in(predictions.keys, value_set=samples["key"])
    if places.null_count:
        raise DatasetError(
            f"{predictions.overlay.url} has keys that the dataset does not have: predict again (--replace)"
        )
    rows = samples.take(places)
    if test_set.is_native and not predictions.plan.has_variants and not force:
        sizes = set(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True))
        _check_native(predictions, test_set, sizes)
    keys = predictions.keys.to_pylist()
    corruption = ["" if one in (None, CLEAN) else one for one in rows["corruption"].to_pylist()]
    severity = rows["severity"].fill_null(0).to_numpy().astype(np.int64)
    if predictions.plan.has_variants:
        corruption = ["" if one == CLEAN else str(one) for one in predictions.corruption]
        severity = predictions.severity.astype(np.int64)
    return SetView(
        dataset=predictions.dataset,
        source=predictions.overlay.url,
        model=predictions.model,
        keys=keys,
        wnids=rows["wnid"].to_pylist(),
        paths=[path or key for path, key in zip(rows["source_path"].to_pylist(), keys, strict=True)],
        labels=predictions.labels.astype(np.int64),
        classes=predictions.classes.astype(np.int64),
        confidence=predictions.probabilities[:, 0].astype(np.float64),
        rank=predictions.rank.astype(np.int64),
        logits=predictions.logits,
        corruption=corruption,
        severity=severity,
        frame=rows["frame"].fill_null(-1).to_numpy().astype(np.int64),
        num_unread=len(predictions.unread),
    )


def _check_native(predictions: Predictions, test_set: TestSet, sizes: set[tuple[int, int]]) -> None:
    """Refuses files of one square size that went through another resize than the one to the model's own size."""
    model = predictions.model
    if len(sizes) != 1:
        return
    ((width, height),) = sizes
    # Without a margin to cut off the picture is only brought to the model's own size, as the sets' authors do.
    if width != height or width > model.resize or model.crop != "center" or model.resize == model.image_size:
        return
    raise OptionError(
        f"{test_set.name}: the files of {predictions.dataset} are {width} x {height} already and {model.name} resized "
        f"them to {model.resize} and cut {model.image_size} out: that alone moves published figures by 1.5 points: "
        f"predict with --crop resize, or give --force"
    )
