"""Sources opened and read whole, for their tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import ShardtoolsError
from shardtools.sample import Sample
from shardtools.sources import Source, SourceOptions, open_source
from shardtools.taxonomy import load_classes


def opened(source: Path | str, index: Path, **options: Any) -> Source:
    index.mkdir(exist_ok=True)
    return open_source(SourceOptions(source=str(source), **options), index)


def opened_by(opening: Callable[..., Source], source: Path | str, index: Path, **options: Any) -> Source:
    """A source that one kind's own function opens, not the one that finds out the kind."""
    index.mkdir(exist_ok=True)
    found = SourceOptions(source=str(source), **options)
    return opening(found, load_classes(found.classes) if found.classes else None, index)


def everything(source: Source) -> dict[str, list[Sample]]:
    try:
        return {split: list(source.samples(split, 0, count)) for split, count in source.splits.items()}
    finally:
        source.close()


def by_key(source: Source) -> dict[str, Sample]:
    samples = [sample for of_split in everything(source).values() for sample in of_split]
    assert len({sample.key for sample in samples}) == len(samples)
    return {sample.key: sample for sample in samples}


def refused_by(opening: Callable[..., Source], *arguments: Any, **options: Any) -> str:
    """The one line that a source is refused with, on opening or on reading."""
    with pytest.raises(ShardtoolsError) as caught:
        everything(opening(*arguments, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


refused = functools.partial(refused_by, opened)
