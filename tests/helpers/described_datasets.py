"""Small datasets to describe, and what is written about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from shardtools.dataset import ShardWriter, commit_dataset
from shardtools.dataset.opening import list_parts
from shardtools.describe import DescribeOptions, DescribeResult, describe
from shardtools.sample import Sample
from shardtools.storage import open_storage
from tests.helpers.pictures import jpeg

CLASSES = ("n01440764", "n01443537", "<b>|`x`\\")
SAID = DescribeOptions(
    name="Tiny photos",
    license="CC-BY-4.0",
    creator="A. Name",
    url="https://example.org/photos",
    cite_as="@misc{photos}",
    date_published="2026-01-02",
)


def sample(number: int, **changes: Any) -> Sample:
    """Sample `number`; every fifth failed."""
    failed = number % 5 == 4
    facts: dict[str, Any] = {
        "key": f"k{number:03d}",
        "image_bytes": None if failed else jpeg(number),
        "image_format": None if failed else "jpg",
        "width": None if failed else 48,
        "height": None if failed else 36,
        "mode": None if failed else "RGB",
        "wnid": CLASSES[number % 3],
        "class_index": number % 3,
        "label_source": "folder",
        "status": "undecodable" if failed else "ok",
        "reason": "cut off" if failed else None,
    }
    return Sample(**(facts | changes))


def make(root: Path | str, shards: dict[tuple[str, int], list[Sample]] | None = None, **commit: Any) -> Path | str:
    """A dataset of two training shards and one of validation, or of the given ones."""
    storage = open_storage(root)
    default = {("train", 0): range(6), ("train", 1): range(6, 10), ("val", 0): range(10, 13)}
    for (split, index), samples in (shards or {one: [*map(sample, many)] for one, many in default.items()}).items():
        with ShardWriter(storage, split=split, shard_index=index) as writer:
            for one in samples:
                writer.add(one)
            writer.commit()
    facts = {"kind": "real", "plan_id": "0123456789abcdef", "scale": 1} | commit
    commit_dataset(storage, part_paths=list_parts(storage), **facts)
    return root


def described(root: Path, options: DescribeOptions | None = None) -> tuple[DescribeResult, dict[str, bytes]]:
    result = describe(root, options)
    return result, {one.path: (root / one.path).read_bytes() for one in result.files}


def front_matter(card: bytes) -> dict[str, Any]:
    text = card.decode()
    assert text.startswith("---\n")
    found = yaml.safe_load(text[4:].partition("\n---\n")[0])
    assert isinstance(found, dict)
    return found
