"""The datasets of the study: what is pretrained on, four sets with a training, a validation and a test split each.

Owns the splits. What a test is about is never learnt from: objects are held out where the question is the object,
photographs where it is the place. Pictures are taken class by class up to a number a split, in an order that is drawn
once. The price: a set of one question and one of another may hold the same picture, as they are never used together.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s, UInt8s
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, RunError, SourceError
from shardtools.evaluation.variation import Split, World, open_world, read_twins, split_objects
from shardtools.pipelines.embedded_generator.data import load_split
from shardtools.pipelines.studies.transfer.plan import (
    CLOTHES,
    DIGITS,
    OBJECTS,
    PLACES,
    PRETRAINING,
    SEEN,
    UNSEEN,
    StudyOptions,
)
from shardtools.sample import Sample
from shardtools.sources import SourceOptions, open_source
from shardtools.storage import scratch_folder
from shardtools.writing import write_samples

SPLITS = ("train", "val", "test")
_FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
_PRETRAINING_TEST = 100
"""Images of a class that the accuracy in pretraining is measured on."""

_DIGIT_SCALE = 4
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Pictures of a set.

    Attributes:
        rows: Position in what they are taken from, split and label of each.
        classes: Names in the order of labels.
    """

    rows: list[tuple[int, str, int]]
    classes: Sequence[str]


def write_pretraining(options: StudyOptions) -> None:
    """Fashion-MNIST's classes `SEEN`: `per_class` training images, and test images that are the same for all.

    Raises:
        SourceError: A file is missing, or has too few images.
    """
    images, labels, splits = list[UInt8s](), list[int](), list[str]()
    for split, count in (("train", options.per_class), ("test", _PRETRAINING_TEST)):
        pixels, given = _fashion(options, split)
        for label, number in enumerate(SEEN):
            rows = _drawn(np.flatnonzero(given == number))[:count]
            images += list(pixels[rows])
            labels += [label] * len(rows)
            splits += [split] * len(rows)
    names = [_FASHION[number] for number in SEEN]
    write_samples(images, labels, options.dataset(PRETRAINING), split=splits, classes=names, num_processes=1)


def write_clothes(options: StudyOptions) -> None:
    """Fashion-MNIST's classes `UNSEEN`: learnt from its training images, tested on its test images.

    Raises:
        SourceError: A file is missing, or has too few images.
    """
    images, labels, splits = list[UInt8s](), list[int](), list[str]()
    for file, wanted in (
        ("train", (("train", options.train), ("val", options.val))),
        ("test", (("test", options.test),)),
    ):
        pixels, given = _fashion(options, file)
        for label, number in enumerate(UNSEEN):
            rows = _drawn(np.flatnonzero(given == number))
            for split, count in wanted:
                chosen, rows = rows[:count], rows[count:]
                images += list(pixels[chosen])
                labels += [label] * len(chosen)
                splits += [split] * len(chosen)
    names = [_FASHION[number] for number in UNSEEN]
    write_samples(images, labels, options.dataset(CLOTHES), split=splits, classes=names, num_processes=1)


def write_digits(options: StudyOptions) -> None:
    """The digits that come with scikit-learn, each pixel a square of four by four.

    Raises:
        RunError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise RunError("the digits are scikit-learn's, found none: pip install scikit-learn") from None

    found = load_digits()
    # 0 to 16, as they were counted from 32 x 32 scans.
    pixels = np.rint(found.images / 16 * 255).astype(np.uint8).repeat(_DIGIT_SCALE, 1).repeat(_DIGIT_SCALE, 2)
    rows = []
    for digit in range(10):
        rows += _cut(_drawn(np.flatnonzero(found.target == digit)).tolist(), digit, options)
    choice = _Choice(rows=rows, classes=[f"digit-{digit}" for digit in range(10)])
    write_samples(
        [pixels[row] for row, _, _ in choice.rows],
        [label for _, _, label in choice.rows],
        options.dataset(DIGITS),
        split=[split for _, split, _ in choice.rows],
        classes=choice.classes,
        num_processes=1,
    )


def write_rendered_sets(options: StudyOptions, world: str, meshes: str) -> None:
    """Two sets of one rendered world: what stands there, and what is behind it.

    Args:
        options: The study's.
        world: Folder of the world, whose pictures have every photograph behind every object.
        meshes: The catalogue of its objects, which knows near-duplicates.

    Raises:
        DatasetError: A class has too few objects, or a type too few photographs.
    """
    with scratch_folder() as folder:
        source = open_source(SourceOptions(source=world), folder)
        [split] = open_dataset(world).commit.splits
        samples = [one for one in source.samples(split, 0, source.splits[split]) if one.image_bytes is not None]
        source.close()
    found = open_world((world,))
    fifth = max(1, options.objects // 5)
    twins = read_twins(meshes, found)
    folds = split_objects(found, held_out=fifth, num_folds=2, seed=_SEED, twins=twins)
    _write_rendered(options, OBJECTS, samples, by_objects(samples, object_parts(found, folds), options))
    _write_rendered(options, PLACES, samples, by_places(samples, options))


def object_parts(world: World, split: Split) -> dict[str, str]:
    """Split of each object, as "wnid/object": the first fold is tested on, the second chooses, the rest is learnt from.

    A near-duplicate of an object that is held out is in no split, unless it is held out with it.
    """
    is_trained = split.trained(0) & split.trained(1)
    parts = {}
    for place, one in enumerate(world.objects):
        name = f"{one.wnid}/{one.object_id}"
        if split.fold_of[place] in (0, 1):
            parts[name] = "test" if split.fold_of[place] == 0 else "val"
        elif is_trained[place]:
            parts[name] = "train"
    return parts


def by_objects(samples: Sequence[Sample], parts: Mapping[str, str], options: StudyOptions) -> _Choice:
    """Pictures by class, split by `object_parts`."""
    names = [f"{one.wnid}/{one.provenance['object_id']}" for one in samples]
    return _dealt([str(one.wnid) for one in samples], [parts.get(name) for name in names], options)


def by_places(samples: Sequence[Sample], options: StudyOptions) -> _Choice:
    """Pictures by the type of their photograph; of its photographs the last fifth is tested on, that before chooses."""
    types = [str(one.provenance["background_type"]) for one in samples]
    photos = [str(one.provenance["background"]) for one in samples]
    parts: dict[str, str] = {}
    for kind in sorted(set(types)):
        own = sorted({photo for photo, other in zip(photos, types, strict=True) if other == kind})
        if len(own) < len(SPLITS):
            raise DatasetError(f"{kind} has {len(own)} photographs, expected {len(SPLITS)}: one for each split")
        own = [own[place] for place in _drawn(np.arange(len(own))).tolist()]
        fifth = max(1, len(own) // 5)
        parts |= dict.fromkeys(own, "train") | dict.fromkeys(own[-2 * fifth :], "val")
        parts |= dict.fromkeys(own[-fifth:], "test")
    return _dealt(types, [parts[photo] for photo in photos], options)


def _dealt(classes: Sequence[str], parts: Sequence[str | None], options: StudyOptions) -> _Choice:
    """Rows of each class and split, as many as are wanted."""
    names = sorted(set(classes))
    rows = []
    for label, name in enumerate(names):
        for split in SPLITS:
            dealt = enumerate(zip(classes, parts, strict=True))
            found = np.array([row for row, own in dealt if own == (name, split)])
            rows += [(row, split, label) for row in _drawn(found)[: getattr(options, split)].tolist()]
    return _Choice(rows=rows, classes=names)


def _write_rendered(options: StudyOptions, name: str, samples: Sequence[Sample], choice: _Choice) -> None:
    if (Path(options.dataset(name)) / "dataset.json").exists():
        return
    images = [samples[row].image_bytes or b"" for row, _, _ in choice.rows]
    write_samples(
        images,
        [label for _, _, label in choice.rows],
        options.dataset(name),
        split=[split for _, split, _ in choice.rows],
        classes=choice.classes,
        origin="rendered",
        num_processes=1,
    )


def _cut(rows: Sequence[int], label: int, options: StudyOptions) -> list[tuple[int, str, int]]:
    """Rows of a class: those to learn from and to choose by, and of the others at most as many as are wanted to test.

    Raises:
        SourceError: None is left to test.
    """
    left = len(rows) - options.train - options.val
    if left < 1:
        raise SourceError(f"class {label} has {len(rows)} images, expected {len(rows) - left + 1}: give fewer of train")
    found, start = [], 0
    for split, count in (("test", min(options.test, left)), ("val", options.val), ("train", options.train)):
        found += [(row, split, label) for row in rows[start : start + count]]
        start += count
    return found


def _drawn(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """In an order that depends on their number alone."""
    return np.asarray(np.random.default_rng((_SEED, len(rows))).permutation(rows))


def _fashion(options: StudyOptions, split: str) -> tuple[UInt8s, Int64s]:
    try:
        pixels, labels = load_split(Path(options.data), split)
    except (OSError, ValueError, struct.error) as error:
        raise SourceError(
            f"{options.data}: expected Fashion-MNIST's idx files, {' '.join(str(error).split())}"
        ) from None
    return np.rint(pixels * 255).astype(np.uint8), labels
