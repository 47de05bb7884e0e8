"""Predictions for reading: the columns of the overlay as arrays, with the model and the dataset's own labels.

Owns the NumPy view. Rows whose image could not be read are in `unread` and in no array, so that no metric meets a null;
the price is that arrays may be shorter than the dataset, by `len(unread)`. All logits are read when they are asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Float32s, filled, to_rows
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.predictions.plan import MADE_BY, MADE_BY_PROBE, PredictionPlan
from shardtools.evaluation.predictions.rows import ALL_LOGITS, CORRUPTION, KEY, NO_LABEL, SEVERITY, TOP
from shardtools.evaluation.predictions.variants import CLEAN
from shardtools.overlays import Overlay, find_overlay, open_overlay, overlay_names
from shardtools.quoting import shell_word

_MAKERS = (MADE_BY, MADE_BY_PROBE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a model said of the images of a dataset, a row an image, or an image and a variant of it.

    Attributes:
        dataset: Address, as it was given.
        overlay: Where the rows are.
        plan: How they were made.
        keys: Of the samples, Arrow strings [N].
        labels: The given label as an output of the model, or `NO_LABEL`, int32 [N].
        classes: Likeliest outputs, likeliest first, int32 [N, M]; M is 5, or all outputs of a model with fewer.
        top_logits: Of those, float32 [N, M].
        probabilities: Of those, float32 [N, M].
        rank: Of the label among all outputs, 1 the likeliest, 0 where there is none; int32 [N].
        margin: Logit of the label minus the greatest other one, float32 [N]; NaN where there is no label.
        log_sum_exp: float32 [N].
        corruption: What was done to the pixels, "none" for nothing; str [N].
        severity: 1 to 5, 0 for nothing; int8 [N].
        dataset_labels: The given label in the dataset's own numbers, or `NO_LABEL`; int32 [N].
        dataset_classes: Class number of the dataset -> its wnid; those with a name.
        unread: Key and reason of each image that could not be read, once for each of its variants.
    """

    dataset: str
    overlay: Overlay = field(repr=False)
    plan: PredictionPlan = field(repr=False)
    keys: pa.Array = field(repr=False)
    labels: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    top_logits: Float32s
    probabilities: Float32s
    rank: npt.NDArray[np.int32]
    margin: Float32s
    log_sum_exp: Float32s
    corruption: npt.NDArray[np.str_]
    severity: npt.NDArray[np.int8]
    dataset_labels: npt.NDArray[np.int32]
    dataset_classes: dict[int, str]
    unread: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def model(self) -> ModelFacts:
        """What judged."""
        return self.plan.model

    @cached_property
    def logits(self) -> npt.NDArray[np.float16] | None:
        """All logits, [N, C]; `None` where they were not kept (`shardtools predict --logits all` keeps them)."""
        if not self.plan.keeps_all:
            return None
        found = np.empty((len(self), self.model.num_outputs), np.float16)
        start = 0
        for batch in self.overlay.batches([ALL_LOGITS]):
            rows = to_rows(batch.column(0), self.model.num_outputs)
            found[start : start + len(rows)] = rows
            start += len(rows)
        return found


def open_predictions(dataset_url: str | os.PathLike[str], name: str, *, any_version: bool = False) -> Predictions:
    """Opens predictions of a dataset.

    Args:
        dataset_url: A folder or s3:// address.
        name: Their name in the dataset; or, with a "/" in it, the folder where they lie.
        any_version: Whether those of another version of the dataset may be opened; keys must still be there.

    Raises:
        DatasetError: There are no such predictions, they are damaged, or of another version of the dataset.
        OptionError: No overlay can have that name.
    """
    url = os.fspath(dataset_url)
    if "/" not in name and find_overlay(open_dataset(url), name) is None:
        there = ", ".join(prediction_names(url)) or "none"
        raise DatasetError(
            f"{url} has no predictions {name!r}: it has {there}; `shardtools predict MODEL {shell_word(url)}` makes "
            "them"
        )
    overlay = open_overlay(url, name, any_version=any_version)
    if overlay.info.made_by not in _MAKERS:
        raise DatasetError(
            f"{overlay.url} was made by {overlay.info.made_by}, expected predictions: `shardtools predict` makes them"
        )
    plan = PredictionPlan.of_overlay(overlay.info, where=overlay.url)
    small = [column.name for column in overlay.info.columns if column.name != ALL_LOGITS]
    rows = overlay.read(small)
    unread_rows = rows.filter(pc.is_valid(rows["reason"])).select([KEY, "reason"])
    rows = rows.filter(pc.is_null(rows["reason"])).combine_chunks()
    width = min(TOP, plan.model.num_outputs)
    count = rows.num_rows
    own_labels, own_classes = _dataset_labels(url, rows[KEY])
    return Predictions(
        dataset=url,
        overlay=overlay,
        plan=plan,
        keys=rows[KEY].combine_chunks(),
        labels=filled(rows["label"], NO_LABEL),
        classes=to_rows(rows["classes"], width),
        top_logits=to_rows(rows["logits"], width),
        probabilities=to_rows(rows["probabilities"], width),
        rank=filled(rows["rank"], 0),
        margin=filled(rows["margin"], float("nan")),
        log_sum_exp=filled(rows["log_sum_exp"], float("nan")),
        corruption=np.asarray(rows[CORRUPTION].to_pylist(), str) if plan.has_variants else np.full(count, CLEAN),
        severity=filled(rows[SEVERITY], 0) if plan.has_variants else np.zeros(count, np.int8),
        dataset_labels=own_labels,
        dataset_classes=own_classes,
        unread=tuple((row[KEY], row["reason"]) for row in unread_rows.to_pylist()),
    )


def prediction_names(dataset_url: str | os.PathLike[str]) -> list[str]:
    """Names of the predictions in a dataset, also those of other versions of it."""
    dataset = open_dataset(dataset_url)
    found = {name: find_overlay(dataset, name) for name in overlay_names(dataset.storage)}
    return [name for name, overlay in found.items() if overlay is not None and overlay.info.made_by in _MAKERS]


def _dataset_labels(url: str, keys: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], dict[int, str]]:
    """The dataset's own label of each key, and the names of its classes."""
    from shardtools.sql import query

    samples = query("select key, class_index from samples", (url,))
    places = pc.index_in(keys, value_set=samples["key"])
    if places.null_count:
        missing = keys.filter(pc.is_null(places))[0].as_py()
        raise DatasetError(f"{url} has no key {missing!r}, which the predictions have: predict again with --replace")
    named = query(
        "select class_index, min(wnid) as wnid from samples where class_index is not null and wnid is not null "
        "group by class_index order by class_index",
        (url,),
    )
    classes = {int(row["class_index"]): str(row["wnid"]) for row in named.to_pylist()}
    return filled(samples["class_index"].take(places), NO_LABEL), classes
