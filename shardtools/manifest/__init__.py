"""Manifest: one row of provenance a sample, in one Parquet part a shard."""

from shardtools.manifest.parts import (
    Part,
    PartOrigin,
    RowCollector,
    ShardFile,
    decode_part,
    digest,
    encode_part,
    rows_to_table,
)
from shardtools.manifest.schema import COLUMNS, FORMAT_VERSION, GENERATED_COLUMNS, PROVENANCE_COLUMNS, SCHEMA

__all__ = [
    "COLUMNS",
    "FORMAT_VERSION",
    "GENERATED_COLUMNS",
    "PROVENANCE_COLUMNS",
    "SCHEMA",
    "Part",
    "PartOrigin",
    "RowCollector",
    "ShardFile",
    "decode_part",
    "digest",
    "encode_part",
    "rows_to_table",
]
