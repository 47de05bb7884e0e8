"""`croissant.json`: the dataset as Croissant 1.1 metadata (JSON-LD of MLCommons, http://mlcommons.org/croissant/1.1).

Owns which parts of the dataset become resources and records: the manifest's Parquet files are read column by column as
the record set `samples`, the classes are an enumeration that `samples` refers to. The price of naming every file with
its sha256 is some 300 bytes a shard, so tars beyond the first thousand are described by their names alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from shardtools.dataset import DatasetInfo
from shardtools.describe.facts import DatasetFacts
from shardtools.describe.options import DescribeOptions
from shardtools.manifest import COLUMNS

CROISSANT_FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
MAX_SHARD_OBJECTS = 1000
"""Shards that are listed one by one with their digests; `dataset.json` has those of any number."""

_MIME_TYPES = {
    "parquet": "application/x-parquet",
    "tar": "application/x-tar",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
}
_ANY_MIME_TYPE = "application/octet-stream"
_DATA_TYPES: dict[pa.DataType, str] = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int8(): "cr:Int8",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float64(): "cr:Float64",
    pa.list_(pa.int32()): "cr:Int32",
}
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_MANIFEST = "manifest"
_SHARDS = "shards"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.1's specification."""


def croissant(
    info: DatasetInfo, facts: DatasetFacts, options: DescribeOptions, *, name: str, description: str
) -> bytes:
    """The content of `croissant.json`.

    Args:
        info: The commit.
        facts: Counts over its rows.
        options: What the user says.
        name: Of the dataset.
        description: One paragraph.
    """
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": description,
        "version": options.version,
        **_optional(options),
        "keywords": sorted({"image classification", *(str(one) for one in facts.settings.get("source") or ())}),
        "distribution": [*_manifest_files(info), *_shard_files(info, facts)],
        "recordSet": [*_split_records(info), *_class_records(facts), _sample_records(info, facts)],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def license_address(text: str) -> str:
    """The address of a licence's text; an SPDX identifier gets SPDX's."""
    return f"https://spdx.org/licenses/{text}" if _SPDX.fullmatch(text) else text


def _optional(options: DescribeOptions) -> dict[str, Any]:
    found = {
        "license": None if options.license is None else license_address(options.license),
        "url": options.url,
        "creator": None if options.creator is None else {"@type": "sc:Organization", "name": options.creator},
        "datePublished": options.date_published,
        "citeAs": options.cite_as,
    }
    return {key: value for key, value in found.items() if value is not None}


def _manifest_files(info: DatasetInfo) -> Iterable[dict[str, Any]]:
    # Either has every row once; the compact files are fewer by far where there are many parts.
    entries = info.compact or info.parts
    for entry in entries:
        yield {
            "@type": "cr:FileObject",
            "@id": entry.path,
            "name": entry.path,
            "description": f"{entry.num_rows} rows of the manifest",
            "contentUrl": entry.path,
            "encodingFormat": _MIME_TYPES["parquet"],
            "sha256": entry.sha256,
        }
    yield {
        "@type": "cr:FileSet",
        "@id": _MANIFEST,
        "name": _MANIFEST,
        "description": "The manifest: one row an image, kept or not.",
        "encodingFormat": _MIME_TYPES["parquet"],
        # By name: a pattern would match parts of a run that has not finished.
        "includes": [entry.path for entry in entries],
    }


def _shard_files(info: DatasetInfo, facts: DatasetFacts) -> Iterable[dict[str, Any]]:
    for shard in info.shards[:MAX_SHARD_OBJECTS]:
        split, num_images = facts.shards.get(shard.path, ("", 0))
        yield {
            "@type": "cr:FileObject",
            "@id": shard.path,
            "name": shard.path,
            "description": f"{num_images} images of split {split}" if split else "no images",
            "contentUrl": shard.path,
            "contentSize": f"{shard.num_bytes} B",
            "encodingFormat": _MIME_TYPES.get(shard.path.rpartition(".")[2], _ANY_MIME_TYPE),
            "sha256": shard.sha256,
        }
    if len(info.shards) > MAX_SHARD_OBJECTS:
        suffixes = sorted({shard.path.rpartition(".")[2] for shard in info.shards})
        yield {
            "@type": "cr:FileSet",
            "@id": _SHARDS,
            "name": _SHARDS,
            "description": f"All {len(info.shards)} shards; dataset.json has the sha256 of each.",
            "encodingFormat": _MIME_TYPES.get(suffixes[0], _ANY_MIME_TYPE),
            "includes": [f"shards/*.{suffix}" for suffix in suffixes],
        }


def _split_records(info: DatasetInfo) -> Iterable[dict[str, Any]]:
    if info.splits:
        yield {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "description": "The splits.",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [_plain_field("splits/name", "sc:Text", "name of the split")],
            "data": [{"splits/name": split} for split in info.splits],
        }


def _class_records(facts: DatasetFacts) -> Iterable[dict[str, Any]]:
    if not facts.is_labeled_once or not facts.classes:
        return
    yield {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The labels that rows of the manifest have.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/class_index"},
        "field": [
            _plain_field("classes/class_index", "cr:Int32", COLUMNS["class_index"][1]),
            _plain_field("classes/wnid", "sc:Text", COLUMNS["wnid"][1]),
            _plain_field("classes/name", "sc:Text", "the class in words: the synset's lemmas where WordNet has it"),
        ],
        "data": [
            {"classes/class_index": one.class_index, "classes/wnid": one.wnid, "classes/name": one.name}
            for one in facts.classes
        ],
    }


def _plain_field(field_id: str, data_type: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": field_id,
        "name": field_id.rpartition("/")[2],
        "description": description,
        "dataType": data_type,
    }


def _sample_records(info: DatasetInfo, facts: DatasetFacts) -> dict[str, Any]:
    fields = []
    for column, (arrow_type, meaning) in COLUMNS.items():
        field = _plain_field(f"samples/{column}", _DATA_TYPES[arrow_type], meaning)
        field["source"] = {"fileSet": {"@id": _MANIFEST}, "extract": {"column": column}}
        if pa.types.is_list(arrow_type):
            field |= {"isArray": True, "arrayShape": "-1"}
        if column == "split" and info.splits:
            field["references"] = {"field": {"@id": "splits/name"}}
        if column == "class_index" and facts.is_labeled_once and facts.classes:
            field["references"] = {"field": {"@id": "classes/class_index"}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "One record an image: where its bytes lie, its label and where it comes from. Records whose "
        "status is not ok have no bytes.",
        "key": {"@id": "samples/key"},
        "field": fields,
    }
