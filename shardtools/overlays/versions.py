"""Which version of a dataset an overlay speaks of, and whether that is the one at hand.

Owns the refusal of an overlay of another version. The dataset's digest decides, not its keys: comparing 64 million
keys at each query would cost more than the query. The price: an append, which only adds keys, makes overlays stale
too, until `accept_overlay` has looked at their keys once.
"""

from __future__ import annotations

from shardtools.dataset import Dataset, DatasetInfo, commit_path
from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import digest
from shardtools.overlays.overlay_file import OverlayInfo

_SHOWN_DIGITS = 8


def fits(info: OverlayInfo, dataset: Dataset) -> bool:
    """Whether the overlay was written for this very version of the dataset."""
    return dataset.info is not None and info.dataset_sha256 == digest(dataset.content)


def check_fits(info: OverlayInfo, dataset: Dataset, *, where: str) -> None:
    """Refuses an overlay of another version of the dataset.

    Raises:
        DatasetError: The message says which version it was written for, and what to do.
    """
    if fits(info, dataset):
        return
    url, made_for = dataset.storage.url, info.dataset_sha256[:_SHOWN_DIGITS]
    if dataset.info is None:
        raise DatasetError(f"overlay {info.name} at {where} cannot be used: {url} is not finished: finish it first")
    now = digest(dataset.content)[:_SHOWN_DIGITS]
    found = (
        f"overlay {info.name} at {where} was written for commit {made_for} ({info.dataset_num_rows} rows) of its "
        f"dataset, {url} is at commit {now} ({dataset.info.num_rows} rows)"
    )
    earlier = _earlier_commit(dataset, info.dataset_sha256)
    accept = f"`shardtools overlay accept {url} {info.name}`"
    if earlier is None:
        raise DatasetError(
            f"{found}: write the overlay again, or, if its facts hold here too, have its keys checked with {accept}"
        )
    # For the advice alone: either what was there then is there unchanged, or rows were changed.
    if {(part.path, part.sha256) for part in earlier.parts} <= {
        (part.path, part.sha256) for part in dataset.info.parts
    }:
        raise DatasetError(
            f"{found}; appends since then only added keys: {accept} keeps the overlay, {url}@{made_for} is the dataset "
            "without them"
        )
    raise DatasetError(f"{found}; rows changed since then: write the overlay again, or read {url}@{made_for}")


def _earlier_commit(dataset: Dataset, sha256: str) -> DatasetInfo | None:
    """The commit of that digest, if this one came out of it by appends."""
    info = dataset.info
    while info is not None and info.parent is not None:
        path = commit_path(info.parent)
        try:
            content = dataset.storage.read(path)
        except NotFoundError:
            # The parent of a copy is another dataset's commit.
            return None
        earlier = DatasetInfo.from_json(content, where=dataset.storage.object_url(path))
        # The file's name holds the beginning of a digest only.
        if digest(content) != info.parent:
            return None
        if info.parent == sha256:
            return earlier
        info = earlier
    return None
