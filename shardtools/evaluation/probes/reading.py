"""The images of a probe with their features: what is trained on, what is tested on, and their classes by name.

Owns the join of manifest and features by key, and the rule that a class of one dataset is a class of another by its
name. Features stay on the disk until rows are taken. The price: keys and image digests of both sides are in memory,
about 100 bytes an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Bools, Float32s, Int64s, UInt64s, filled, from_int64
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.features import FeatureStore, check_same_encoder, open_features
from shardtools.features.checking import normalized
from shardtools.loader import NO_CLASS, SampleTable, read_all, read_split, read_view
from shardtools.options import default_of
from shardtools.quoting import shell_word
from shardtools.words import counted

ROWS_PER_BLOCK = 8192

TEST_SPLIT = "test"
"""What a split for testing is called, in published sets too; ImageNet's is "val"."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """Images with a class and a feature.

    Attributes:
        what: Names them: "train of photos".
        dataset_place: Of their dataset, the same however its address is written.
        store: Their features.
        keys: Arrow strings [N].
        key_hashes: uint64 [N].
        digests: sha256 of their bytes, uint8 [N, 32].
        labels: Class numbers as `Probed.classes` counts them, int64 [N].
        places: Their rows in `store`, int64 [N].
        l2: Whether features are divided by their length.
        notes: What was left out, a line each.
    """

    what: str
    dataset_place: str
    store: FeatureStore = field(repr=False)
    keys: pa.Array = field(repr=False)
    key_hashes: UInt64s = field(repr=False)
    digests: npt.NDArray[np.uint8] = field(repr=False)
    labels: Int64s
    places: Int64s = field(repr=False)
    l2: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int64s) -> Float32s:
        """Features of some of them as they are learnt from, float32 [M, D]."""
        found = np.empty((len(rows), self.store.shape[1]), np.float32)
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            taken = self.store.take(self.places[rows[block]])
            found[block] = normalized(taken.astype(np.float64)) if self.l2 else taken
        return found

    def check_features(self) -> int:
        """Looks at every feature once; returns the number of those that are all zeros.

        Raises:
            DatasetError: One is not finite.
        """
        num_zeros = 0
        for start in range(0, len(self), ROWS_PER_BLOCK):
            block = self.store.take(self.places[start : start + ROWS_PER_BLOCK])
            wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(wrong):
                key = self.keys[start + int(wrong[0])].as_py()
                raise DatasetError(
                    f"{self.store.where}: the feature of {key!r} is not finite: extract the features again with "
                    "replace (--replace)"
                )
            num_zeros += int((~block.any(axis=1)).sum())
        return num_zeros

    def only(self, kept: Bools) -> Images:
        """Some of them."""
        rows = np.flatnonzero(kept)
        return replace(
            self,
            keys=self.keys.take(from_int64(rows)),
            key_hashes=self.key_hashes[rows],
            digests=self.digests[rows],
            labels=self.labels[rows],
            places=self.places[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probed:
    """Both sides of a probe.

    Attributes:
        classes: Names, in the order of the outputs: wnids in the order of the alphabet, or class numbers.
        train: What may be learnt from.
        validates: Those of them that choose the settings, bool [N]; `None` where they are drawn.
        test: What is tested on.
    """

    classes: tuple[str, ...]
    train: Images
    validates: Bools | None
    test: Images


def read_probed(options: ProbeOptions) -> Probed:
    """Finds the images and their features.

    Raises:
        DatasetError: A dataset is not finished, there are no such features, or they are of another version of it; a
            class is tested on that is not trained on, or there are fewer than two.
        PlanMismatchError: The features of both sides are of different encoders.
        OptionError: There is no such split.
        QueryError: A view cannot run.
    """
    train_url, test_url = options.dataset, options.test_dataset or options.dataset
    store = open_features(train_url, options.features)
    test_store = store
    if options.test_dataset is not None:
        test_store = open_features(test_url, options.test_features or options.features)
        check_same_encoder(
            test_store.info.encoder, store.info.encoder, where=test_store.where, whose=f"those of {train_url}"
        )
    # Read once for both sides, which are often of one dataset.
    names_of = {url: None if options.labels_by == "index" else class_names(url) for url in {train_url, test_url}}
    train, names = _read(store, options.train_split, options.train_view, options, names_of[train_url])
    validates = None
    if options.val_split is not None:
        validation, validation_names = _read(store, options.val_split, None, options, names_of[train_url])
        validates = np.concatenate((np.zeros(len(train), np.bool_), np.ones(len(validation), np.bool_)))
        train, names = _joined(train, validation), [*names, *validation_names]
    test, test_names = _read(test_store, options.test_split, options.test_view, options, names_of[test_url])
    test = replace(test, notes=(*test.notes, *_other_test(test_url, options)))
    classes = tuple(sorted(set(names), key=_order if options.labels_by == "index" else str))
    _check_classes(classes, train, test, test_names)
    number = {name: place for place, name in enumerate(classes)}
    return Probed(
        classes=classes,
        train=replace(train, labels=np.array([number[name] for name in names], np.int64)),
        validates=validates,
        test=replace(test, labels=np.array([number[name] for name in test_names], np.int64)),
    )


def _other_test(url: str, options: ProbeOptions) -> tuple[str, ...]:
    """A line where the default is tested on and the dataset has a split that is for testing."""
    is_default = options.test_view is None and options.test_split == default_of(ProbeOptions, "test_split")
    if not is_default or TEST_SPLIT not in open_dataset(url).commit.splits:
        return ()
    return (f"tested on {_what(url, options.test_split)}, which has a split {TEST_SPLIT!r}, too (--test-split)",)


def _order(name: str) -> int:
    return int(name)


def read_applied(url: str, options: ProbeOptions, probed: Probed) -> Images:
    """The images of a dataset that is judged besides, of any classes.

    Returns:
        Their labels are outputs of the classifier, `NO_CLASS` where it has no such class.

    Raises:
        DatasetError: The dataset has no such features, or none of these images.
        PlanMismatchError: They are of another encoder.
    """
    store = open_features(url, options.test_features or options.features)
    encoder = probed.train.store.info.encoder
    check_same_encoder(store.info.encoder, encoder, where=store.where, whose=f"those of {options.dataset}")
    split = options.apply_split
    table = read_all([url]) if split is None else read_split([url], split)
    output = {name: number for number, name in enumerate(probed.classes)}
    names = {} if options.labels_by == "index" else class_names(url)
    numbers = np.asarray(table.class_index).tolist()
    labels = [output.get(names.get(number, str(number)), NO_CLASS) for number in numbers]
    return _images(url, _what(url, split), store, table, np.array(labels, np.int64), options, kept=None)


def _what(url: str, split: str | None) -> str:
    where = url.rstrip("/").rpartition("/")[2]
    return where if split is None else f"{split} of {where}"


def _read(
    store: FeatureStore, split: str, view: str | None, options: ProbeOptions, names: Mapping[int, str] | None
) -> tuple[Images, list[str]]:
    """Images of a split or a view, and the class of each: its name, or its number where names are `None`."""
    url = store.dataset
    what = _what(url, split) if view is None else f"a view of {_what(url, None)}"
    table = read_split([url], split) if view is None else read_view([url], view, overlays=options.overlays)
    has_class = np.asarray(table.class_index) != NO_CLASS
    if not has_class.any():
        raise DatasetError(f"{what}: expected images with a class, found none among {len(table)}: write it with labels")
    images = _images(url, what, store, table, np.asarray(table.class_index, np.int64), options, kept=has_class)
    # Their own numbers become those of the outputs when the classes of both sides are known.
    return images, _names(url, images.labels, names)


def _images(
    url: str,
    what: str,
    store: FeatureStore,
    table: SampleTable,
    labels: Int64s,
    options: ProbeOptions,
    *,
    kept: Bools | None,
) -> Images:
    """The rows of a table that have a feature, and are kept."""
    places = filled(pc.index_in(table.keys, value_set=store.keys), -1).astype(np.int64)
    has_feature = places >= 0
    kept = np.ones(len(table), np.bool_) if kept is None else kept
    rows = np.flatnonzero(kept & has_feature)
    if not len(rows):
        raise DatasetError(
            f"{store.where} has no feature of {what}: `shardtools features {shell_word(url)} --encoder ENCODER` makes "
            "those of all splits"
        )
    lost = ((int((~kept).sum()), "a class"), (int((kept & ~has_feature).sum()), "a feature"))
    return Images(
        what=what,
        dataset_place=open_dataset(url).storage.place,
        store=store,
        keys=table.keys.take(from_int64(rows)),
        key_hashes=np.asarray(table.key_hash)[rows],
        digests=np.asarray(table.sha256)[rows],
        labels=labels[rows],
        places=places[rows],
        l2=options.normalizes,
        notes=tuple(f"{what}: {counted(count, 'image')} without {whom} left out" for count, whom in lost if count),
    )


def _names(url: str, labels: Int64s, names: Mapping[int, str] | None) -> list[str]:
    """Name of each class number."""
    if names is None:
        return [str(number) for number in labels.tolist()]
    unnamed = next((number for number in labels.tolist() if not names.get(number)), None)
    if unnamed is not None:
        raise DatasetError(f"class {unnamed} of {url} has no name: give --labels-by index to go by numbers")
    return [names[number] for number in labels.tolist()]


def class_names(url: str) -> dict[int, str]:
    """Class number of a dataset -> its wnid or name, of those that have one.

    Raises:
        DatasetError: A number stands for two names.
    """
    from shardtools.sql import query

    rows = query(
        "select distinct class_index, wnid from samples where class_index is not null and wnid is not null "
        "order by all",
        [url],
    ).to_pylist()
    names: dict[int, str] = {}
    for row in rows:
        known = names.setdefault(row["class_index"], row["wnid"])
        if known != row["wnid"]:
            raise DatasetError(
                f"class {row['class_index']} of {url} is {known} and {row['wnid']}: give --labels-by index, or run "
                f"shardtools verify {shell_word(url)}"
            )
    return names


def _joined(one: Images, other: Images) -> Images:
    """Images of two splits of one dataset, the first ones first."""
    return replace(
        one,
        what=f"{one.what} and {other.what}",
        keys=pa.concat_arrays([one.keys, other.keys]),
        key_hashes=np.concatenate((one.key_hashes, other.key_hashes)),
        digests=np.concatenate((one.digests, other.digests)),
        places=np.concatenate((one.places, other.places)),
        notes=(*one.notes, *other.notes),
    )


def _check_classes(classes: Sequence[str], train: Images, test: Images, test_names: Sequence[str]) -> None:
    if len(classes) < 2:
        raise DatasetError(
            f"{train.what}: a classifier tells two classes apart or more, found {classes[0]} alone: give another split "
            "(--train-split)"
        )
    known = set(classes)
    unknown = [name for name in test_names if name not in known]
    if unknown:
        name = unknown[0]
        raise DatasetError(
            f"{test.what} has {counted(len(set(unknown)), 'class', 'classes')} that {train.what} has not, {name} the "
            f"first ({counted(unknown.count(name), 'image')}): choose what is tested on with --test-view, or go by "
            "--labels-by index where numbers are the same"
        )
