"""From predictions and the manifest to what is judged.

Owns the join, by key, and the check that no file was resized twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError
from shardtools.evaluation.predictions import CLEAN, Predictions
from shardtools.evaluation.resizing import check_resize
from shardtools.evaluation.sets.cue_conflict import CUE_OVERLAY, read_pair
from shardtools.evaluation.sets.test_sets import TestSet
from shardtools.evaluation.sets.view import SetView
from shardtools.overlays import find_overlay, open_overlay
from shardtools.sql import query

_FROM_MANIFEST = "select key, wnid, source_path, corruption, severity, frame, width, height from samples"


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
    if test_set.is_native and not predictions.plan.has_variants:
        sizes = Counter(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True))
        where = f"{test_set.name} ({predictions.dataset})"
        check_resize(predictions.model, sizes, where=where, asked=True, force=force)
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
        cues=_cues(predictions, keys) if test_set.kind == "cues" else None,
        num_unread=len(predictions.unread),
    )


def check_not_corrupted(dataset: str) -> None:
    """Refuses to corrupt pictures on the way that were written corrupted: what comes of it is of no published kind.

    Raises:
        DatasetError: There is one.
    """
    found = query(
        "select key, corruption from samples where corruption <> $clean limit 1", (dataset,), {"clean": CLEAN}
    )
    for row in found.to_pylist():
        raise DatasetError(
            f"{dataset}: {row['key']!r} is corrupted already ({row['corruption']}): leave --on-the-fly out, or give "
            "the pictures as they were"
        )


def _cues(predictions: Predictions, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Shape and texture of each picture: as the overlay beside it says, or else its name."""
    if find_overlay(open_dataset(predictions.dataset), CUE_OVERLAY) is None:
        return [read_pair(key) for key in keys]
    table = open_overlay(predictions.dataset, CUE_OVERLAY).read(["key", "shape", "texture"])
    pairs = {row["key"]: (str(row["shape"]), str(row["texture"])) for row in table.to_pylist()}
    lost = next((key for key in keys if key not in pairs), None)
    if lost is not None:
        raise DatasetError(f"overlay {CUE_OVERLAY} of {predictions.dataset} has no row of {lost!r}: write it again")
    return [pairs[key] for key in keys]
