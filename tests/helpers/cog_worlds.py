"""A small dataset of unseen concepts: two levels of three concepts, a planted feature an image."""

from __future__ import annotations

from pathlib import Path

from shardtools.evaluation.cog import Concept, Level
from tests.helpers.feature_datasets import clusters, make_labeled, with_features

# Leaves of ImageNet-21K that no class of ImageNet-1K has below or above it.
NEAR = ("n01514752", "n01534582", "n01667432")
FAR = ("n12759273", "n13555775", "n07925423")


def levels() -> tuple[Level, Level]:
    return tuple(  # type: ignore[return-value]
        Level(name=name, concepts=tuple(Concept(wnid=wnid) for wnid in wnids))
        for name, wnids in (("L1", NEAR), ("L2", FAR))
    )


def make_world(folder: Path, *, images: int = 10, noise: float = 0.3) -> str:
    """`images` a concept, with features "own" whose classes lie apart."""
    names = [*NEAR, *FAR]
    labels = [number % len(names) for number in range(images * len(names))]
    url = make_labeled(folder, labels, names=names)
    with_features(url, clusters(len(labels), 8, len(names), noise=noise))
    return url
