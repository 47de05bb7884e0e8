"""Features out of files of other programs.

Owns what stands for their encoder: a name that the user gives, or the digest of the file. Features are compared where
that is equal, so the price of giving one name to two encoders is comparisons that mean nothing.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pyarrow as pa

from shardtools.errors import DatasetError
from shardtools.features.features_file import EncoderFacts, FeaturesInfo
from shardtools.features.rows_file import places_of, read_rows_file
from shardtools.features.writer import write_features


def import_features(
    dataset_url: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    name: str,
    encoder: str | None = None,
    out: str | os.PathLike[str] | None = None,
    replace: bool = False,
) -> FeaturesInfo:
    """Writes features that were made elsewhere.

    Args:
        dataset_url: The finished dataset.
        file: .npy or .parquet, as `read_rows_file` takes it, with a row for each image.
        name: Of the features in the dataset.
        encoder: What made them; features of two datasets are compared where it is the same. `None` takes the digest
            of the file: they are compared with no others.
        out: A folder for the features alone; `None` puts them into the dataset.
        replace: Whether features that are there are written anew.

    Raises:
        OptionError: The name, or the file's suffix, is not as it must be.
        SourceError: The file cannot be read.
        DatasetError: Keys are unknown, doubled or missing, or a feature is not finite.
        PlanMismatchError: Other features are there.
        NotFoundError: There is no such file.
    """
    from shardtools.loader import read_all

    table = read_rows_file(dataset_url, file)
    keys = read_all([dataset_url]).keys.cast(pa.large_string())
    places = places_of(keys, table)
    missing = np.flatnonzero(places < 0)
    if missing.size:
        raise DatasetError(
            f"{table.url}: expected a row for each of {len(keys)} images of {os.fspath(dataset_url)}, found none for "
            f"{missing.size}, first {keys[int(missing[0])].as_py()!r}: add them"
        )
    digest = table.sha256 if encoder is None else hashlib.sha256(encoder.encode()).hexdigest()
    facts = EncoderFacts(
        name=encoder or f"import:{digest[:8]}",
        weights_sha256=digest,
        feature_dim=table.values.shape[1],
        layer="imported",
        dtype="float16" if table.values.dtype == np.float16 else "float32",
    )
    return write_features(
        dataset_url, name, table.values[places], keys.to_pylist(), encoder=facts, out=out, replace=replace
    )
