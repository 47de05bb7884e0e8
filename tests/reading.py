"""Sources opened and read whole, for their tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import ShardtoolsError
from shardtools.sample import Sample
from shardtools.sources import Source, SourceOptions, open_source


def opened(source: Path | str, index: Path, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    return open_source(SourceOptions(source=str(source), **options), index)


def everything(source: Source) -> dict[str, list[Sample]]:
    try:
        return {split: list(source.samples(split, 0, count)) for split, count in source.splits.items()}
    finally:
        source.close()


def by_key(source: Source) -> dict[str, Sample]:
    samples = [sample for of_split in everything(source).values() for sample in of_split]
    assert len({sample.key for sample in samples}) == len(samples)
    return {sample.key: sample for sample in samples}


def refused(source: Path | str, index: Path, **options: Any) -> str:
    """The one line that a source is refused with, on opening or on reading."""
    with pytest.raises(ShardtoolsError) as caught:
        everything(opened(source, index, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)
