"""Writing features: parts in any order by any number of processes, seen from the commit on.

Owns the order of writes: the plan, then for each part its numbers and after them its keys, `features.json` last. A part
without its file of keys does not exist, so a run that was killed goes on with the parts that lack one. The price: the
part in hand is made again, a 64th of the work at most.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.arrays import from_texts
from shardtools.dataset import Dataset, open_dataset
from shardtools.documents import build, read_json
from shardtools.errors import AlreadyExistsError, DatasetError, NotFoundError, OptionError, PlanMismatchError
from shardtools.features.features_file import (
    FEATURES_FILE,
    PLAN_FILE,
    EncoderFacts,
    FeaturePart,
    FeaturePlan,
    FeaturesInfo,
    Skipped,
    features_folder,
    keys_path,
    part_number,
    part_path,
    rows_per_part,
)
from shardtools.manifest import digest
from shardtools.storage import Storage, open_storage

_PART_FACTS = b"shardtools.part"


def features_storage(dataset: Dataset, name: str, out: str | os.PathLike[str] | None = None) -> Storage:
    """The place of a dataset's features: their own folder in it, or `out`.

    Raises:
        OptionError: Features cannot have that name.
    """
    folder = features_folder(name)
    return open_storage(dataset.storage.object_url(folder) if out is None else out)


class FeatureWriter:
    """Writes the parts of one plan; several processes may each have one."""

    def __init__(self, storage: Storage, plan: FeaturePlan) -> None:
        """Stores the plan, or compares it with the one that is there.

        Args:
            storage: Of the features' own folder.
            plan: What is written.

        Raises:
            PlanMismatchError: The folder holds features of another plan.
            AccessError: The folder cannot be written.
        """
        self._storage, self.plan = storage, plan
        content = plan.to_json()
        try:
            # Of several processes the first one writes it; all others, and a run that goes on, must want the same.
            storage.write(PLAN_FILE, content, if_absent=True)
        except AlreadyExistsError:
            found = storage.read(PLAN_FILE)
            if found != content:
                where = storage.object_url(PLAN_FILE)
                FeaturePlan.from_json(found, where=where).check(plan, where=storage.url)

    def add(
        self, number: int, keys: Sequence[str], features: npt.NDArray[Any], skipped: Sequence[Skipped] = ()
    ) -> None:
        """Writes a part.

        Args:
            number: 0-based.
            keys: Of the rows, n of them.
            features: [n, D] of any floating type; they become the plan's.
            skipped: Images of the part that have no row.

        Raises:
            DatasetError: Rows are missing, or a feature is not finite, or not in the plan's type.
            NoSpaceError: The disk is full.
        """
        encoder = self.plan.encoder
        asked = len(self.plan.rows_of(number))
        if features.shape != (len(keys), encoder.feature_dim) or len(keys) + len(skipped) != asked:
            raise DatasetError(
                f"part {number} of features {self.plan.name}: expected {asked} rows of {encoder.feature_dim}, found "
                f"{features.shape} for {len(keys)} keys and {len(skipped)} skipped"
            )
        content = encoded(self.plan, keys, features)
        part = FeaturePart(
            path=part_path(number),
            num_rows=len(keys),
            num_bytes=len(content),
            sha256=digest(content),
            keys_path=keys_path(number),
            skipped=tuple(skipped),
        )
        # Numbers first. The keys carry the part's facts and make it exist: killed between the two, it is made again.
        self._storage.write(part.path, content)
        table = pa.table({"key": from_texts(keys)})
        table = table.replace_schema_metadata({_PART_FACTS: json.dumps(asdict(part))})
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        self._storage.write(part.keys_path, sink.getvalue())


def encoded(plan: FeaturePlan, keys: Sequence[str], features: npt.NDArray[Any]) -> bytes:
    """The file of a part's numbers, in the plan's type.

    Raises:
        DatasetError: A number is not finite, or the type cannot hold it.
    """
    # What is too large for the type becomes infinite, which the check tells from what was infinite before.
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(features, plan.encoder.dtype)
    if not np.isfinite(stored).all():
        row, column = np.argwhere(~np.isfinite(stored))[0].tolist()
        found, dtype = features[row, column], plan.encoder.dtype
        why = (
            f"which {dtype} cannot hold: take l2 (--l2) or float32 (--dtype float32)"
            if np.isfinite(found)
            else "expected finite numbers: are the weights damaged, or the precision too low? Take --precision fp32"
        )
        raise DatasetError(f"the feature of {keys[row]!r} has {found} in dimension {column}, {why}")
    sink = io.BytesIO()
    np.save(sink, stored, allow_pickle=False)
    return sink.getvalue()


def parts_done(storage: Storage) -> frozenset[int]:
    """Numbers of the parts that are written."""
    numbers = (part_number(stored.path) for stored in storage.list())
    return frozenset(number for number in numbers if number is not None)


def commit_features(storage: Storage, *, source: Mapping[str, Any] | None = None) -> FeaturesInfo | None:
    """Makes the parts one table of features, if all are there.

    Args:
        storage: Of the features' own folder.
        source: What the encoder was loaded from.

    Returns:
        The commit; `None` while parts are missing.

    Raises:
        DatasetError: A part's numbers are gone, or no run has begun.
    """
    try:
        plan = FeaturePlan.from_json(storage.read(PLAN_FILE), where=storage.object_url(PLAN_FILE))
    except NotFoundError:
        raise DatasetError(f"{storage.url} has no {PLAN_FILE}: extract the features again") from None
    sizes = {stored.path: stored.num_bytes for stored in storage.list()}
    parts = []
    for number in range(plan.num_parts):
        # Not all there, so no commit: another process is still at work, or the run was stopped.
        if keys_path(number) not in sizes:
            return None
        part = _read_part(storage, keys_path(number))
        if sizes.get(part.path) != part.num_bytes:
            raise DatasetError(
                f"{storage.object_url(part.path)}: expected {part.num_bytes} bytes, found {sizes.get(part.path)}: "
                f"remove {part.keys_path} beside it and run the same command again"
            )
        parts.append(part)
    info = FeaturesInfo(plan=plan, parts=tuple(parts), source=dict(source or {}))
    if info.num_rows == 0:
        raise DatasetError(f"none of {plan.num_rows} images gave a feature ({info.skipped[0].reason}): run verify")
    storage.write(FEATURES_FILE, info.to_json())
    return info


def clear_features(storage: Storage) -> None:
    """Removes features from their folder, the commit first; files of other programs stay."""
    # The commit goes first, then the plan: after a kill in between, the parts that are left are no features, and no run
    # goes on with them.
    paths = [stored.path for stored in storage.list()]
    for path in sorted(paths, key=lambda path: (path != FEATURES_FILE, path != PLAN_FILE, path)):
        if path in (FEATURES_FILE, PLAN_FILE) or (path.startswith("part-") and path.endswith((".npy", ".parquet"))):
            storage.delete(path)


def write_features(
    dataset_url: str | os.PathLike[str],
    name: str,
    features: npt.NDArray[Any],
    keys: Sequence[str],
    *,
    encoder: EncoderFacts,
    out: str | os.PathLike[str] | None = None,
    replace: bool = False,
) -> FeaturesInfo:
    """Writes features that were made elsewhere.

    Args:
        dataset_url: The finished dataset.
        name: As an overlay's.
        features: [N, D], of any floating type.
        keys: Of the rows: all images of the dataset, in the order of its manifest.
        encoder: What made them.
        out: A folder for the features alone; `None` puts them into the dataset.
        replace: Whether features that are there are written anew.

    Raises:
        OptionError: The name or the shape is not as it must be.
        DatasetError: Keys are unknown, missing or in another order, or a feature is not finite.
        PlanMismatchError: Other features are there, or the same with other numbers.
    """
    dataset = open_dataset(dataset_url)
    if features.ndim != 2 or len(features) != len(keys) or not len(keys):
        raise OptionError(f"features are [N, D] with a key for each row, found {features.shape} and {len(keys)} keys")
    _check_keys(dataset_url, keys)
    storage = features_storage(dataset, name, out)
    plan = make_plan(dataset, name, encoder, num_rows=len(keys), batch_size=64)
    parts = [slice(rows.start, rows.stop) for rows in map(plan.rows_of, range(plan.num_parts))]
    if features.shape[1] != encoder.feature_dim:
        raise OptionError(f"expected features of {encoder.feature_dim} dimensions, found {features.shape[1]}")
    # Before anything is touched: what cannot be written must not cost what is there.
    for part in parts:
        encoded(plan, keys[part], features[part])
    if replace:
        clear_features(storage)
    writer = FeatureWriter(storage, plan)
    done, is_committed = parts_done(storage), storage.exists(FEATURES_FILE)
    for number, part in enumerate(parts):
        if number in done and _read_part(storage, keys_path(number)).sha256 == digest(
            encoded(plan, keys[part], features[part])
        ):
            continue
        if number in done and is_committed:
            raise PlanMismatchError(
                f"{storage.url} holds features {name} with other numbers (part {number}, rows {part.start} to "
                f"{part.stop - 1}): write them anew with replace=True, or give another name"
            )
        # Of a writing that was killed: the keys make a part exist, so they go first.
        storage.delete(keys_path(number))
        writer.add(number, keys[part], features[part])
    info = commit_features(storage)
    if info is None:
        raise DatasetError(f"{storage.url} lost parts while it was written: does another run write there?")
    return info


def make_plan(
    dataset: Dataset, name: str, encoder: EncoderFacts, *, num_rows: int, batch_size: int, split: str | None = None
) -> FeaturePlan:
    """The plan of a table of features; arguments as `FeaturePlan` names them."""
    return FeaturePlan(
        name=name,
        encoder=encoder,
        dataset_sha256=digest(dataset.content),
        dataset_num_rows=dataset.commit.num_rows,
        split=split,
        num_rows=num_rows,
        batch_size=batch_size,
        rows_per_part=rows_per_part(num_rows, batch_size),
    )


def _check_keys(dataset_url: str | os.PathLike[str], keys: Sequence[str]) -> None:
    from shardtools.loader import read_all

    known = read_all([dataset_url]).keys
    given = from_texts(keys).cast(pa.large_string())
    if given.equals(known):
        return
    place = next((n for n, (one, two) in enumerate(zip(keys, known, strict=False)) if one != two.as_py()), len(known))
    found = repr(keys[place]) if place < len(keys) else "nothing"
    expected = repr(known[place].as_py()) if place < len(known) else "nothing"
    raise DatasetError(
        f"expected the {len(known)} keys of {os.fspath(dataset_url)} that have an image, in the manifest's order, "
        f"found {len(keys)} keys, at row {place} {found} in place of {expected}: sort them as `read_all` does"
    )


def _read_part(storage: Storage, path: str) -> FeaturePart:
    try:
        metadata = pq.read_schema(io.BytesIO(storage.read(path))).metadata
        return build(FeaturePart, read_json(metadata[_PART_FACTS]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        raise DatasetError(
            f"{storage.object_url(path)} is no intact file of keys: remove it and run the same command again"
        ) from None
