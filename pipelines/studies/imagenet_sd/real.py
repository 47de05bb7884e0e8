"""The photographs of the micro study: Fashion-MNIST, padded as the generator was taught it.

Owns the choice of photographs. The generator draws 32 x 32 pictures with the product in the middle 28 x 28, so the
photographs get the same black border; enlarging them instead would make every test product an eighth larger than those
trained on. The price: the study has its own copy of the test images.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s, UInt8s
from shardtools.errors import SourceError
from shardtools.pipelines.embedded_generator.data import load_split
from shardtools.pipelines.studies.imagenet_sd.cells import TEST, StudyOptions, dataset_folder, photographs
from shardtools.writing import write_samples

_CLASSES = "fashion"


def write_photographs(options: StudyOptions) -> None:
    """Writes the test photographs and, for each seed, those to train on; what is there stays.

    Raises:
        SourceError: A file is missing, is no idx file, or has too few images of a class.
    """
    if _is_missing(options, TEST):
        pixels, labels = _load(options.data, "test")
        per_class = options.test_per_class
        rows = np.arange(len(labels)) if per_class is None else pick_rows(labels, per_class, 0)
        _write(options, TEST, "test", pixels[rows], labels[rows])
    seeds = [seed for seed in range(options.seeds) if _is_missing(options, photographs(seed))]
    if seeds:
        pixels, labels = _load(options.data, "train")
        for seed in seeds:
            rows = pick_rows(labels, options.images_per_class, seed)
            _write(options, photographs(seed), "train", pixels[rows], labels[rows])


def _is_missing(options: StudyOptions, name: str) -> bool:
    return not (dataset_folder(options.out, name) / "dataset.json").exists()


def _write(options: StudyOptions, name: str, split: str, pixels: UInt8s, labels: Int64s) -> None:
    write_samples(
        pixels,
        labels,
        dataset_folder(options.out, name),
        split=split,
        classes=_CLASSES,
        label_source="idx",
        num_processes=options.processes,
    )


def _load(data: str, split: str) -> tuple[UInt8s, Int64s]:
    try:
        pixels, labels = load_split(Path(data), split)
    except (OSError, ValueError, struct.error) as error:
        raise SourceError(f"{data}: expected Fashion-MNIST's idx files, {' '.join(str(error).split())}") from None
    return np.rint(pixels * 255).astype(np.uint8), labels


def pick_rows(labels: Int64s, per_class: int, seed: int) -> npt.NDArray[np.int64]:
    """Numbers of `per_class` random images of each class, class after class in turn.

    Args:
        labels: int64 [N].
        per_class: At least 1.
        seed: Of the draw.

    Raises:
        SourceError: A class has fewer.
    """
    rng = np.random.default_rng((seed, len(labels)))
    picked = []
    for number in np.unique(labels):
        rows = np.flatnonzero(labels == number)
        if len(rows) < per_class:
            raise SourceError(f"class {number} has {len(rows)} images, expected at least {per_class}: ask for fewer")
        picked.append(rng.permutation(rows)[:per_class])
    return np.stack(picked, axis=1).ravel()
