"""Overlays kept for a later version of their dataset.

Owns the one way to change what an overlay says it belongs to: its keys are looked up in the version at hand first. The
price: nobody checks that the facts still hold, which is for the one who accepts to know.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pyarrow as pa

from shardtools.dataset import open_dataset
from shardtools.manifest import digest
from shardtools.overlays.checking import KeyChecker
from shardtools.overlays.opening import open_overlay
from shardtools.overlays.overlay_file import KEY, OVERLAY_FILE, OverlayInfo
from shardtools.overlays.versions import fits


def accept_overlay(dataset_url: str | os.PathLike[str], name: str) -> OverlayInfo:
    """Makes an overlay one of the dataset's present version, if that has all of its keys.

    Args:
        dataset_url: A folder or s3:// address.
        name: As `open_overlay` takes it.

    Raises:
        DatasetError: There is no such overlay, it is damaged, or the dataset lacks keys of it.
    """
    dataset = open_dataset(dataset_url)
    overlay = open_overlay(dataset_url, name, any_version=True)
    if dataset.info is None or fits(overlay.info, dataset):
        return overlay.info
    # First whether all parts are there: accepting vouches for them.
    overlay.files()
    with KeyChecker(dataset, (KEY,)) as checker:
        for batch in overlay.batches([KEY]):
            checker.check_known(pa.Table.from_batches([batch]), where=f"overlay {overlay.info.name}")
    info = replace(overlay.info, dataset_sha256=digest(dataset.content), dataset_num_rows=dataset.info.num_rows)
    overlay.storage.write(overlay.folder + OVERLAY_FILE, info.to_json())
    return info
