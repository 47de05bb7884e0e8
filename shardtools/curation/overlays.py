"""Overlays of a new dataset: what was changed and why, the weights, and those of the parent that the user wants kept.

Owns what crosses from one dataset to the next. Every key of the parent stays a key, so any overlay's keys would fit;
whether its facts do is for the user to know (features hold, a list of wrong labels does not), so none is carried
without being named. The one exception are the weights, which are the dataset's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from shardtools.curation.edits import KeyLookup
from shardtools.curation.options import CHANGES_OVERLAY, WEIGHTS_OVERLAY
from shardtools.dataset import Dataset, open_dataset
from shardtools.errors import DatasetError
from shardtools.manifest import digest
from shardtools.overlays import OVERLAY_FILE, Overlay, check_fits, find_overlay, fits, overlay_names, write_overlay
from shardtools.sample import STATUS_OK
from shardtools.storage import Storage, copy_object

MADE_BY = "shardtools apply"
_WEIGHT = "weight"


def find_carried(dataset: Dataset, names: Sequence[str]) -> list[Overlay]:
    """The overlays to carry, all of them there and of this version of the dataset.

    Raises:
        DatasetError: One is not.
    """
    found = []
    for name in names:
        overlay = find_overlay(dataset, name)
        if overlay is None:
            there = ", ".join(overlay_names(dataset.storage)) or "none"
            raise DatasetError(f"--carry-overlay {name}: {dataset.storage.url} has no such overlay, it has {there}")
        check_fits(overlay.info, dataset, where=overlay.url)
        overlay.files()
        found.append(overlay)
    return found


def carry(overlays: Iterable[Overlay], out: str) -> None:
    """Copies overlays to the dataset at `out`, as overlays of its present version; one that is there stays."""
    child = open_dataset(out)
    for overlay in overlays:
        if find_overlay(child, overlay.info.name) is not None:
            continue
        for part in overlay.info.parts:
            copy_object(overlay.storage, overlay.folder + part.path, child.storage, num_bytes=part.num_bytes)
        info = replace(overlay.info, dataset_sha256=digest(child.content))
        child.storage.write(overlay.folder + OVERLAY_FILE, info.to_json())


def write_changes(out: str, batches: Iterable[pa.Table], settings: Mapping[str, Any]) -> None:
    """Writes the overlay `changes`, unless it is there."""
    if find_overlay(open_dataset(out), CHANGES_OVERLAY) is None:
        write_overlay(out, CHANGES_OVERLAY, batches, made_by=MADE_BY, settings=settings)


def write_weights(out: str, parent: Dataset, batches: Iterable[pa.Table]) -> None:
    """Writes the overlay `weights`, unless it is there: one row an image, 1 where nobody gave a weight.

    Args:
        out: The new dataset.
        parent: The old one, whose weights stay where `batches` gives no others.
        batches: `key` and `weight`, which may be null.
    """
    child = open_dataset(out)
    if find_overlay(child, WEIGHTS_OVERLAY) is not None:
        return
    before = find_overlay(parent, WEIGHTS_OVERLAY)
    tables = []
    if before is not None and before.info.made_by == MADE_BY and fits(before.info, parent):
        tables.append(before.read(["key", _WEIGHT]))
    given = [table.select(["key", _WEIGHT]) for table in batches]
    tables += [table.filter(table[_WEIGHT].is_valid()) for table in given]
    known = pa.concat_tables(tables) if tables else None
    if known is None or known.num_rows == 0:
        return
    write_overlay(out, WEIGHTS_OVERLAY, _weights(child, known), made_by=MADE_BY, settings={})


def _weights(child: Dataset, known: pa.Table) -> Iterator[pa.Table]:
    # A key's last weight counts: what was given now stands behind what was there.
    lookup = KeyLookup(known["key"])
    weights = known[_WEIGHT].to_numpy()
    for table in child.tables():
        keys = table.filter(pa.compute.equal(table["status"], STATUS_OK))["key"]
        rows = lookup.find(keys.to_pylist())
        found = np.where(rows >= 0, weights[rows], 1.0)
        yield pa.table({"key": keys, _WEIGHT: pa.array(found, pa.float64())})


def left_behind(parent: Dataset, child: Storage) -> tuple[str, ...]:
    """Names of the parent's overlays that the child does not have."""
    there = set(overlay_names(child))
    return tuple(name for name in overlay_names(parent.storage) if name not in there)
